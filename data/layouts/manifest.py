"""A layout of the user's own: a manifest, as CSV."""

from __future__ import annotations

import itertools
from pathlib import Path

from ...core import InputError, Message, Parameter
from ...formats import (
    GROUP,
    IMAGE,
    LABEL,
    MPP,
    PART,
    PATH,
    CsvTable,
    Role,
    column_key,
    is_missing,
    limits,
    may_hold_patients,
    number_of,
    plausible_mpp,
    read_csv,
)
from ..dataset import ImageRecord
from ..facts import GIVEN, part_of
from ..findings import Finding
from ..from_path import PathRule
from .spec import LayoutSpec


def read_manifest(
    path: Path,
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    group_from: str | None = None,
    label_from: str | None = None,
) -> tuple[list[ImageRecord], list[Finding]]:
    r"""Read a manifest with a header ``path,label,group[,image_id][,mpp]``; only ``path`` is required.

    Relative paths are taken from the folder of the manifest; one written with ``\`` is found, too. An empty label,
    group or mpp (micrometres per pixel) means unknown. Columns may have other names, see `bchisto.formats.columns`;
    blanks around a cell do not count.

    Parameters
    ----------
    path : Path
        A table, see `read_csv`.
    path_column, label_column, group_column : str, optional
        Other names of the columns.
    group_from, label_from : str, optional
        Where in the path group and label stand, in the place of a column, see `PathRule`.

    Returns
    -------
    list of ImageRecord, list of Finding

    Raises
    ------
    InputError
        No table, no header, a column that is not there, two columns of one name, or no rows; a rule that is none.
    """
    rules: dict[str, PathRule] = {}
    for what, rule, column in (("group", group_from, group_column), ("label", label_from, label_column)):
        if rule is not None and column is not None:
            raise InputError(
                "{} and {} both give the {}; keep one of them",
                Parameter(f"{what}_from"), Parameter(f"{what}_column"), what,
            )  # fmt: skip
        if rule is not None:
            rules[what] = PathRule.of(rule, name=f"{what}_from")
    named = {"path": path_column, "label": label_column, "group": group_column}
    chosen = {what: name for what, name in named.items() if name is not None}
    table = read_csv(
        path,
        needed=(*(() if path_column else (PATH,)), *map(column_key, chosen.values())),
        expected=Message(
            "path,label,group[,image_id][,mpp]",
            remedies=[Message("name others by {path_column}, {label_column} and {group_column}")],
        ),
    )
    findings = [Finding("note", path.name, note) for note in table.notes]
    columns = {what: table.named(name) or "" for what, name in chosen.items()} | dict.fromkeys(rules, "")
    columns["image_id"] = table.named(IMAGE.name) or ""
    for role in (PATH, LABEL, GROUP, MPP):
        if role.name not in columns:
            columns[role.name] = _column(table, role, columns, findings)
    findings.extend(_unused(table, columns, {*rules, *chosen}))
    kept = {columns[what] for what in ("path", "label", "image_id", "mpp")}
    rows: list[tuple[int, str, dict[str, str]]] = []
    for number, row in table.rows:
        name = _settled(path.parent, row[columns["path"]])
        problem = _missing(path.parent / name) if name else "an empty path; remove the row"
        spacing = row.get(columns["mpp"]) or ""
        if problem is None and not is_missing(spacing) and plausible_mpp(number_of(spacing)) is None:
            problem = (
                f"mpp {spacing[:40]}: give micrometres per pixel, {limits.LEAST_MPP:g} to {limits.MOST_MPP:g}, or none"
            )
        if problem is not None:
            findings.append(Finding("error", f"{path.name}:{number}", problem))
            continue
        rows.append((number, name, row))
    values = {what: rule.find(Path(name).as_posix() for _, name, _ in rows) for what, rule in rules.items()}
    records: list[ImageRecord] = []
    for number, name, row in rows:
        written = Path(name).as_posix()
        label, group = (
            values[what][written] if what in rules else row.get(columns[what]) or None for what in ("label", "group")
        )
        image = row.get(columns["image_id"]) or written
        further = tuple((key, cell) for key, cell in row.items() if cell and key not in kept)
        mpp = plausible_mpp(number_of(row.get(columns["mpp"])))
        records.append(
            ImageRecord(image, path.parent / name, label, group, mpp=mpp, source="csv", columns=further, line=number)
        )
    for number in table.overlong:
        message = "more cells than the header has columns; put a cell that holds a comma in quotes"
        findings.append(Finding("error", f"{path.name}:{number}", message))
    if not records and not any(finding.level == "error" for finding in findings):
        raise InputError(f"{path}: the manifest has no rows")
    for what, given in rules.items():
        findings.extend(given.findings(path, values[what], what))
    unknown = [record.image_id for record in records if is_missing(record.group)]
    if "group" not in rules and unknown and len(unknown) < len(records):
        message = (
            f"{len(unknown)} of {len(records)} images name no group (first {unknown[0]}), so folds cannot keep "
            "patients whole; fill it in, with a name of its own for the only image of a patient"
        )
        findings.append(Finding("warning", path.name, message))
    return records, findings


def _settled(folder: Path, name: str) -> str:
    r"""Return a path as it is found here: one written on Windows has ``\`` between its folders."""
    turned = name.replace("\\", "/")
    return turned if turned != name and _missing(folder / name) and not _missing(folder / turned) else name


def _missing(file: Path) -> str | None:
    try:
        return None if file.is_file() else f"there is no file {file}"
    except OSError as error:
        return f"{file} cannot be read ({error.strerror or error})"


def _column(table: CsvTable, role: Role, columns: dict[str, str], findings: list[Finding]) -> str:
    """Return the column that holds something, and say which it is if it is not called plainly."""
    column = table.choose(
        role,
        cure=Message("name the one that does with {}", Parameter(f"{role.name}_column")),
        without=[*columns.values()],
    )
    if not column:
        return ""
    message = f"the {role.means} is taken from the column {table.columns[column]}"
    others = [name for tier in role.matching(table.columns) for name in tier if name not in (column, *columns.values())]
    if others and role is GROUP:
        message += f"; not used: {', '.join(table.columns[other] for other in others)}"
        findings.append(Finding("warning", table.path.name, message))
    elif not role.is_plain(column):
        findings.append(Finding("note", table.path.name, message))
    return column


def _unused(table: CsvTable, columns: dict[str, str], given: set[str]) -> list[Finding]:
    """Name columns that are not used, and those that may hold what is looked for in vain.

    `told` are those of label and group that the user says the place of.
    """
    groups = {name for tier in GROUP.matching(table.columns) for name in tier}
    used = {*columns.values(), *(() if "group" in given else groups)}
    findings = []
    for column in itertools.chain.from_iterable(PART.matching(table.columns)):
        cells = {cell for _, row in table.rows if (cell := row[column])}
        if column not in used and cells and all(map(part_of, cells)):
            used.add(column)
            message = Message(
                "the column {} names the parts of a split", column, remedies=[Message("{folds:{}} keeps them", GIVEN)]
            )
            findings.append(Finding("note", table.path.name, message))
    unused = [written for key, written in table.columns.items() if key not in used]
    if not unused:
        return findings
    if not columns["group"] and "group" not in given and (may := may_hold_patients(unused)):
        message = Message(
            "the column {} may hold the patients, and is not used",
            may[0],
            remedies=[Message("if it does, name it with {group_column}")],
        )
        findings.append(Finding("warning", table.path.name, message, labels_only=True))
    listed = f"columns that are not used: {', '.join(unused)}"
    if not columns["label"] and "label" not in given:
        message = Message(
            "no column is named label, so no image has one; {}",
            listed,
            remedies=[Message("name the label column with {label_column}")],
        )
        return [*findings, Finding("warning", table.path.name, message, labels_only=True)]
    names = [
        columns[what] or what for what in ("path", "label", "group", "image_id") if columns[what] or what not in given
    ]
    listed += f" (used are {', '.join(names[:-1])} and {names[-1]}, and those that a protocol names)"
    return [*findings, Finding("note", table.path.name, listed)]


LAYOUT = LayoutSpec(
    name="csv",
    read=read_manifest,
    options=frozenset({"path_column", "label_column", "group_column", "group_from", "label_from"}),
    manifest=True,
    fallback=True,
)
