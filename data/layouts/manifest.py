"""A layout for the user's own images: a manifest, which is a table of paths, perhaps of another machine, and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...core import InputError, Message, Parameter, few
from ...core.formats import (
    GROUP,
    IMAGE,
    LABEL,
    MPP,
    PART,
    PATH,
    CsvTable,
    Role,
    column_key,
    decimal_of,
    is_missing,
    limits,
    plausible_mpp,
    read_csv,
)
from ..dataset import ImageRecord
from ..findings import Finding
from ..names import PathRule, match_names
from ..walk import list_images
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
    texts = {"group": group_from, "label": label_from}
    rules = {
        name: PathRule.of(rule, name=f"{name}_from")
        for name, rule in texts.items()
        if rule is not None
    }
    named = {"path": path_column, "label": label_column, "group": group_column}
    chosen = {what: name for what, name in named.items() if name is not None}
    table = read_csv(
        path,
        needed=(*(() if path_column else (PATH,)), *map(column_key, chosen.values())),
        expected=Message(
            "path,label,group[,image_id][,mpp]; others by {path_column}, {label_column}, {group_column}"
        ),
    )
    columns = {what: table.named(name) or "" for what, name in chosen.items()} | dict.fromkeys(
        rules, ""
    )
    recognised: dict[Role, str] = {}
    for role in (PATH, LABEL, GROUP, MPP):
        if role.name not in columns:
            cure = Message("name the one that does with {}", Parameter(f"{role.name}_column"))
            columns[role.name] = recognised[role] = table.choose(
                role, cure=cure, without=[*columns.values()]
            )
    own = table.named(IMAGE.name)
    columns["image_id"] = "" if own is None or own == columns["path"] or images else own
    table.check({role: columns[role.name] for role in (PATH, IMAGE, LABEL, GROUP, MPP)})
    remarks = table.remarks(
        recognised, without=[*columns.values()], cure=Message("name it with {group_column}")
    )
    findings = [
        Finding(level, path.name, text, labels_only=level == "warning") for level, text in remarks
    ]
    findings.extend(_unused(table, columns, {*rules, *chosen}))
    used = {columns[what] for what in ("path", "label", "image_id", "mpp")}
    files = None if images is None else list_images(images, findings)
    entries = [(number, row, row[columns["path"]]) for number, row in table.rows]
    means, others = match_names(
        (written for _, _, written in entries), files or (), where=path.name
    )
    rest = sorted((files or {}).keys() - means.values())
    means |= dict(zip(rest, rest, strict=True))
    findings.extend(others)
    folder = images or path.parent
    values: dict[str, dict[str, str | None]] = {what: {} for what in rules}
    columns |= {what: table.named(chosen.get(what, "")) or "" for what in rules}

    def value_of(what: str, name: str, row: dict[str, str]) -> str | None:
        """Return the label or group of a row, by a rule or from its column."""
        if what not in rules:
            return row.get(columns[what]) or None
        text = row.get(columns[what], "") if columns[what] else Path(name).as_posix()
        values[what] |= rules[what].find([text])
        return values[what][text]

    records: list[ImageRecord] = []
    absent: list[tuple[str, str, str]] = []
    for number, row, written in (*entries, *((0, dict[str, str](), name) for name in rest)):
        where = f"{path.name}:{number}"
        name, why = locate(folder, written) if files is None else (means.get(written, ""), "")
        mpp, problem = spacing_of(row.get(columns["mpp"]) or "")
        if written and not name:
            absent.append((where, written, why))
        elif problem or not written:
            findings.append(
                Finding("error", where, problem if written else "an empty path; remove the row")
            )
        else:
            label, group = (value_of(what, name, row) for what in ("label", "group"))
            image = row.get(columns["image_id"]) or Path(name).as_posix()
            further = tuple((key, cell) for key, cell in row.items() if cell and key not in used)
            records.append(
                ImageRecord(
                    image,
                    folder / name,
                    label,
                    group,
                    mpp=mpp,
                    source="csv",
                    columns=further,
                    line=number,
                )
            )
    if files is None:
        cure = Message("a table beside a folder of images is read by {images:FOLDER} with {labels}")
        for where, _, why in absent:
            kind = Message("there are no such files, first {}", absent[0][1], remedies=[cure])
            findings.append(Finding("error", where, why, kind=kind))
    else:
        findings.extend(unmatched(path, [name for _, name, _ in absent], rest, len(files)))
    for number in table.overlong:
        message = "more cells than the header has columns; put a cell that holds a comma in quotes"
        findings.append(Finding("error", f"{path.name}:{number}", message))
    if not records and not any(finding.level == "error" for finding in findings):
        raise InputError(f"{path}: the manifest has no rows")
    for what, given in rules.items():
        findings.extend(given.findings(path, values[what], what))
    unknown = [record.image_id for record in records if is_missing(record.group)]
    if "group" not in rules and unknown and len(unknown) < len(records):
        message = f"{len(unknown)} of {len(records)} images name no group (first {unknown[0]}), so folds cannot keep"
        findings.append(Finding("warning", path.name, f"{message} patients whole; fill it in"))
    return records, findings


def _unused(table: CsvTable, columns: dict[str, str], given: set[str]) -> list[Finding]:
    """Return a finding on columns that are not used.

    Parameters
    ----------
    given : set of str
        Those of ``label`` and ``group`` for which the user named a column or a rule.
    """
    roles = (PART,) if "group" in given else (PART, GROUP)  # a split is kept by folds
    used = {
        *columns.values(),
        *(name for role in roles for tier in role.matching(table.columns) for name in tier),
    }
    unused = [written for key, written in table.columns.items() if key not in used]
    listed = f"columns that are not used: {', '.join(unused)}"
    if not unused:
        return []
    if columns["label"] or "label" in given:
        return [Finding("note", table.path.name, listed)]
    remedy = Message("name the label column with {label_column}")
    message = Message(
        "no column is named label, so no image has one; {}", listed, remedies=[remedy]
    )
    return [Finding("warning", table.path.name, message, labels_only=True)]


def locate(folder: Path, name: str) -> tuple[str, str]:
    r"""Return a path as it leads to a file, with ``/`` for ``\`` if need be, or nothing and why."""
    try:
        file = next(
            (text for text in (name, name.replace("\\", "/")) if (folder / text).is_file()), ""
        )
    except OSError as error:
        return "", f"{folder / name} cannot be read ({error.strerror or error})"
    return file, "" if file else f"there is no file {folder / name}"


def unmatched(table: Path, rows: Sequence[str], images: Sequence[str], count: int) -> list[Finding]:
    """Return warnings of rows that name none of the images of a folder, and of images without a row.

    Parameters
    ----------
    table : Path
    rows, images : sequence of str
        Names without a counterpart.
    count : int
        Number of images in the folder.

    Raises
    ------
    InputError
        No row names an image.
    """
    if count and len(images) == count:
        raise InputError(
            f"{table}: none of its rows, such as {few(rows[:1])}, names one of the {count} images, such as "
            f"{images[0]}; name them by file, with or without suffix"
        )
    texts = {
        f"{len(images)} of {count} images have no row of their own in {table.name}, so no label": images,
        f"{len(rows)} rows of {table.name} name no image, or not only one; nothing is read from them": rows,
    }
    return [Finding("warning", few(names), text) for text, names in texts.items() if names]


def spacing_of(cell: str) -> tuple[float | None, str]:
    """Return the micrometres per pixel that a cell gives, None if unknown, and what is wrong with it, or nothing."""
    if is_missing(cell):
        return None, ""
    try:
        mpp = plausible_mpp(decimal_of(cell))
    except ValueError:
        mpp = None
    bounds = f"{limits.LEAST_MPP:g} to {limits.MOST_MPP:g}"
    return (
        mpp,
        ""
        if mpp
        else f"mpp {cell[:40]}: give micrometres per pixel, {bounds} such as 0.42, or none",
    )


LAYOUT = LayoutSpec(
    name="csv",
    read=read_manifest,
    options=frozenset({"path_column", "label_column", "group_column", "group_from", "label_from"}),
    manifest=True,
    fallback=True,
)

BESIDE = replace(
    LAYOUT,
    name="folder",
    read=lambda root, *, labels, **options: read_manifest(labels, images=root, **options),
    options=LAYOUT.options | {"labels"},
    manifest=False,
)
"""The layout ``folder`` with a table of labels."""
