"""A layout for the user's own images: a manifest, which is a table of paths and labels."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    may_hold_patients,
    read_csv,
)
from ..dataset import ImageRecord
from ..facts import GIVEN, part_of
from ..findings import Finding
from ..from_path import PathRule
from ..lists import match_names
from ..walk import list_images
from .paths import absent_files, missing, settled, spacing_of, unmatched
from .spec import LayoutSpec


def read_manifest(
    path: Path,
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    group_from: str | None = None,
    label_from: str | None = None,
    images: Path | None = None,
) -> tuple[list[ImageRecord], list[Finding]]:
    r"""Read a manifest with a header ``path,label,group[,image_id][,mpp]``; only ``path`` is required.

    Paths are relative to the folder of the manifest, and may be written with ``\``. An empty label, group or mpp
    (micrometres per pixel) means unknown. Columns may have other names, see `bchisto.formats.columns`. Blanks around
    cells do not matter.

    Parameters
    ----------
    path : Path
        A table, see `read_csv`.
    path_column, label_column, group_column : str, optional
        Names of these columns in the table.
    group_from, label_from : str, optional
        Rules that find group and label in the path, or in the column if that is named, too, see `PathRule`.

    images : Path, optional
        A folder of images beside the table. The table then names images in it, see `match_names`, and images without a
        row have no label. Warnings count these, and rows without an image.

    Returns
    -------
    list of ImageRecord, list of Finding

    Raises
    ------
    InputError
        The file is not a table, a column is missing, two columns have the same name, there are no rows, or a rule is
        invalid.
    """
    rules: dict[str, PathRule] = {}
    for what, rule in (("group", group_from), ("label", label_from)):
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
    if "label" not in {*rules, *chosen}:
        table = table.labelled()
    findings = [Finding("note", path.name, note) for note in table.notes]
    columns = {what: table.named(name) or "" for what, name in chosen.items()} | dict.fromkeys(rules, "")
    for role in (PATH, LABEL, GROUP, MPP):
        if role.name not in columns:
            columns[role.name] = _column(table, role, columns, findings)
    own = table.named(IMAGE.name)
    columns["image_id"] = "" if own is None or own == columns["path"] or images else own
    findings.extend(
        Finding("warning", path.name, warning)
        for warning in table.check({role: columns[role.name] for role in (PATH, IMAGE, LABEL, GROUP, MPP)})
    )
    findings.extend(_unused(table, columns, {*rules, *chosen}))
    used = {columns[what] for what in ("path", "label", "image_id", "mpp")}
    files = None if images is None else list_images(images, findings)
    paths = [row[columns["path"]] for _, row in table.rows]
    means, others = match_names(paths, files or (), where=path.name)
    findings.extend(others)
    folder, rows, spacings, absent = images or path.parent, [], [], []
    for (number, row), written in zip(table.rows, paths, strict=True):
        where = f"{path.name}:{number}"
        name = settled(folder, written) if files is None else means.get(written, "")
        mpp, problem = spacing_of(row.get(columns["mpp"]) or "")
        if not written:
            problem = "an empty path; remove the row"
        elif not name or missing(folder / name) is not None:
            absent.append((where, written))
            continue
        if problem:
            findings.append(Finding("error", where, problem))
            continue
        rows.append((number, name, row))
        spacings.append(mpp)
    if files is None:
        findings.extend(absent_files(folder, absent, table.columns[columns["path"]]))
    else:
        rest = sorted(files.keys() - means.values())
        findings.extend(unmatched(path, [name for _, name in absent], rest, len(files)))
        rows += [(0, name, {}) for name in rest]
        spacings += [None] * len(rest)
    searched = {what: table.named(chosen[what]) if what in chosen else None for what in rules}
    texts = {
        what: [row.get(of, "") if of else Path(name).as_posix() for _, name, row in rows]
        for what, of in searched.items()
    }
    values = {what: rule.find(texts[what]) for what, rule in rules.items()}
    records: list[ImageRecord] = []
    for place, (number, name, row) in enumerate(rows):
        label, group = (
            values[what][texts[what][place]] if what in rules else row.get(columns[what]) or None
            for what in ("label", "group")
        )
        image = row.get(columns["image_id"]) or Path(name).as_posix()
        further = tuple((key, cell) for key, cell in row.items() if cell and key not in used)
        file, mpp = folder / name, spacings[place]
        records.append(ImageRecord(image, file, label, group, mpp=mpp, source="csv", columns=further, line=number))
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


def _column(table: CsvTable, role: Role, columns: dict[str, str], findings: list[Finding]) -> str:
    """Return the column with a role, and add a finding if it does not have the standard name; empty if none."""
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
    """Return findings on columns that are not used, and on those that may contain missing labels or patients.

    Parameters
    ----------
    given : set of str
        Those of ``label`` and ``group`` for which the user named a column or a rule.
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
    if not columns["group"] and "group" not in given and (candidates := may_hold_patients(unused)):
        message = Message(
            "the column {} may hold the patients, and is not used",
            candidates[0],
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
    listed += f" (used are {', '.join(names[:-1])} and {names[-1]}, and those that a fold list names)"
    return [*findings, Finding("note", table.path.name, listed)]


def images_beside(root: Path, *, labels: Path, **options: Any) -> tuple[list[ImageRecord], list[Finding]]:
    """Read a folder of images whose labels are in a table, see `read_manifest`."""
    return read_manifest(labels, images=root, **options)


LAYOUT = LayoutSpec(
    name="csv",
    read=read_manifest,
    options=frozenset({"path_column", "label_column", "group_column", "group_from", "label_from"}),
    manifest=True,
    fallback=True,
)

BESIDE = replace(LAYOUT, name="folder", read=images_beside, options=LAYOUT.options | {"labels"}, manifest=False)
"""The layout ``folder`` with a table of labels."""
