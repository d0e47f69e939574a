"""A layout for the user's own images: a manifest, which is a table of paths and labels."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core import InputError, Message, Parameter
from ...core.formats import GROUP, IMAGE, LABEL, MPP, PART, PATH, CsvTable, Role, column_key, is_missing, read_csv
from ..dataset import GIVEN, ImageRecord, part_of
from ..findings import Finding
from ..names import PathRule, match_names
from ..walk import list_images
from .paths import absent_files, locate, spacing_of, unmatched
from .registry import LayoutSpec


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
    (micrometres per pixel) means unknown. Columns may have other names, see `bchisto.core.formats.columns`. Blanks
    around cells do not matter.

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
    columns = {what: table.named(name) or "" for what, name in chosen.items()} | dict.fromkeys(rules, "")
    recognised: dict[Role, str] = {}
    for role in (PATH, LABEL, GROUP, MPP):
        if role.name not in columns:
            cure = Message("name the one that does with {}", Parameter(f"{role.name}_column"))
            columns[role.name] = recognised[role] = table.choose(role, cure=cure, without=[*columns.values()])
    own = table.named(IMAGE.name)
    columns["image_id"] = "" if own is None or own == columns["path"] or images else own
    lost = table.check({role: columns[role.name] for role in (PATH, IMAGE, LABEL, GROUP, MPP)})
    remarks = table.remarks(recognised, without=[*columns.values()], cure=Message("name it with {group_column}"))
    findings = [Finding(level, path.name, text, labels_only=level == "warning") for level, text in (*remarks, *lost)]
    findings.extend(_unused(table, columns, {*rules, *chosen}))
    used = {columns[what] for what in ("path", "label", "image_id", "mpp")}
    files = None if images is None else list_images(images, findings)
    paths = [row[columns["path"]] for _, row in table.rows]
    means, others = match_names(paths, files or (), where=path.name)
    findings.extend(others)
    folder = images or path.parent
    rows: list[tuple[int, str, dict[str, str], float | None]] = []
    absent: list[tuple[str, str, str]] = []
    for (number, row), written in zip(table.rows, paths, strict=True):
        where = f"{path.name}:{number}"
        name, why = locate(folder, written) if files is None else (means.get(written, ""), "")
        mpp, problem = spacing_of(row.get(columns["mpp"]) or "")
        if written and not name:
            absent.append((where, written, why))
        elif problem or not written:
            findings.append(Finding("error", where, problem if written else "an empty path; remove the row"))
        else:
            rows.append((number, name, row, mpp))
    if files is None:
        findings.extend(absent_files(path, absent, table.columns[columns["path"]]))
    else:
        rest = sorted(files.keys() - means.values())
        findings.extend(unmatched(path, [name for _, name, _ in absent], rest, len(files)))
        rows += [(0, name, {}, None) for name in rest]
    searched = {what: table.named(chosen[what]) if what in chosen else None for what in rules}

    def text_of(what: str, name: str, row: dict[str, str]) -> str:
        column = searched[what]
        return row.get(column, "") if column else Path(name).as_posix()

    values = {what: rule.find(text_of(what, name, row) for _, name, row, _ in rows) for what, rule in rules.items()}
    records: list[ImageRecord] = []
    for number, name, row, mpp in rows:
        label, group = (
            values[what][text_of(what, name, row)] if what in rules else row.get(columns[what]) or None
            for what in ("label", "group")
        )
        image = row.get(columns["image_id"]) or Path(name).as_posix()
        further = tuple((key, cell) for key, cell in row.items() if cell and key not in used)
        records.append(
            ImageRecord(image, folder / name, label, group, mpp=mpp, source="csv", columns=further, line=number)
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


def _unused(table: CsvTable, columns: dict[str, str], given: set[str]) -> list[Finding]:
    """Return findings on columns that are not used.

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
    listed = f"columns that are not used: {', '.join(unused)}"
    if unused and (columns["label"] or "label" in given):
        findings.append(Finding("note", table.path.name, listed))
    elif unused:
        remedy = Message("name the label column with {label_column}")
        message = Message("no column is named label, so no image has one; {}", listed, remedies=[remedy])
        findings.append(Finding("warning", table.path.name, message, labels_only=True))
    return findings


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
