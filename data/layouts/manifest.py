"""A layout of the user's own: a manifest, as CSV."""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError
from ..csvtable import CsvTable, column_key, read_csv
from ..dataset import ImageRecord
from ..findings import Finding
from ..from_path import PathRule
from ..particulars import GIVEN, PART_COLUMNS, part_of
from .spec import LayoutSpec

GROUP_COLUMNS = ("group", "patient", "patient_id", "case", "slide", "slide_id")
"""Columns of a manifest that may hold the group; the first that is there is taken, patients before slides."""


def read_manifest(
    path: Path,
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    group_from: str | None = None,
    label_from: str | None = None,
) -> tuple[list[ImageRecord], list[Finding]]:
    r"""Read a manifest with a header ``path,label,group[,image_id]``; only ``path`` is required.

    Relative paths are taken from the folder of the manifest; one written with ``\`` is found, too. An empty label or
    group means unknown. The group may also stand in a column ``patient``, ``patient_id``, ``case``, ``slide`` or
    ``slide_id``. Case and blanks of a column's name, and blanks around a cell, do not count.

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
            raise InputError(f"`{what}_from` and `{what}_column` both say where the {what} stands; give one of them")
        if rule is not None:
            rules[what] = PathRule.of(rule, name=f"{what}_from")
    named = {"path": path_column, "label": label_column, "group": group_column}
    chosen = {"path": "path"} | {what: column_key(name) for what, name in named.items() if name is not None}
    table = read_csv(
        path,
        needed=tuple(chosen.values()),
        expected="path,label,group[,image_id], or other names by `path_column`, `label_column` and `group_column`",
    )
    findings = [Finding("note", path.name, note) for note in table.notes]
    columns = {"label": "label", "image_id": "image_id", **chosen, **dict.fromkeys(rules, "")}
    if "group" not in columns:
        columns["group"] = _group_column(table, findings)
    findings.extend(_unused(table, columns))
    kept = {columns[what] for what in ("path", "label", "image_id")}
    rows: list[tuple[str, dict[str, str]]] = []
    for number, row in table.rows:
        name = _settled(path.parent, row[columns["path"]])
        problem = _missing(path.parent / name) if name else "an empty path; remove the row"
        if problem is not None:
            findings.append(Finding("error", f"{path.name}:{number}", problem))
            continue
        rows.append((name, row))
    found = {what: rule.find(Path(name).as_posix() for name, _ in rows) for what, rule in rules.items()}
    records: list[ImageRecord] = []
    for name, row in rows:
        written = Path(name).as_posix()
        label, group = (
            found[what][written] if what in rules else row.get(columns[what]) or None for what in ("label", "group")
        )
        image = row.get("image_id") or written
        further = tuple((key, cell) for key, cell in row.items() if cell and key not in kept)
        records.append(ImageRecord(image, path.parent / name, label, group, source="csv", columns=further))
    for number in table.overlong:
        message = "more cells than the header has columns; put a cell that holds a comma in quotes"
        findings.append(Finding("error", f"{path.name}:{number}", message))
    if not records and not any(finding.level == "error" for finding in findings):
        raise InputError(f"{path}: the manifest has no rows")
    for what, given in rules.items():
        findings.extend(given.findings(path, found[what], what))
    unknown = [record.image_id for record in records if record.group is None]
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


def _group_column(table: CsvTable, findings: list[Finding]) -> str:
    """Return the column that holds the group, and say which it is where others may be meant."""
    group, *others = [column for column in GROUP_COLUMNS if column in table.columns] or ["group"]
    message = f"the group is taken from the column {table.columns.get(group)}"
    if others:
        message += f"; not used: {', '.join(table.columns[other] for other in others)}"
        findings.append(Finding("warning", table.path.name, message))
    elif group != "group":
        findings.append(Finding("note", table.path.name, message))
    return group


def _unused(table: CsvTable, columns: dict[str, str]) -> list[Finding]:
    """Name columns that are not used; those that may hold a group are named before where that is looked for."""
    used = {*columns.values(), *(GROUP_COLUMNS if columns["group"] in GROUP_COLUMNS else ())}
    findings = []
    for column in PART_COLUMNS:
        cells = {cell for _, row in table.rows if (cell := row.get(column))}
        if column not in used and cells and all(map(part_of, cells)):
            used.add(column)
            message = f'the column {column} names the parts of a split; `folds="{GIVEN}"` keeps them'
            findings.append(Finding("note", table.path.name, message))
    unused = [said for key, said in table.columns.items() if key not in used]
    if unused:
        names = [name for what in ("path", "label", "group", "image_id") if (name := columns[what])]
        message = (
            f"columns that are not used: {', '.join(unused)} (used are {', '.join(names[:-1])} and {names[-1]}, and "
        )
        findings.append(Finding("note", table.path.name, message + "those that a protocol names)"))
    return findings


LAYOUT = LayoutSpec(
    name="csv",
    read=read_manifest,
    options=frozenset({"path_column", "label_column", "group_column", "group_from", "label_from"}),
    manifest=True,
    fallback=True,
)
