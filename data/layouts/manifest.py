"""A layout for the user's own images: a manifest, which is a table of paths, perhaps of another machine, and labels."""

from __future__ import annotations

import contextlib
import functools
import itertools
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ...core import InputError, Message, Parameter, counted, few, system_reason
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
    has_column,
    is_missing,
    limits,
    may_hold_patients,
    plausible_mpp,
    read_csv,
    row_in,
)
from ..dataset import ImageRecord
from ..findings import Finding, Findings, Level
from ..names import match_names
from ..path_rules import PathRule
from ..walk import list_images
from .folder import path_rules
from .registry import LayoutReading, LayoutSpec


class _Row(NamedTuple):
    """A row of a manifest that can be used, or an image of the folder beside it that has no row.

    Attributes
    ----------
    line : int
        0 without a row.
    cells : mapping of str to str
        By column key.
    name : str
        The path as it leads to the image from the folder of the table, or in the one beside it.
    path : Path
    mpp : float or None
    """

    line: int
    cells: Mapping[str, str]
    name: str
    path: Path
    mpp: float | None


def read_manifest(
    path: Path,
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    group_from: str | None = None,
    label_from: str | None = None,
    images: Path | None = None,
) -> LayoutReading:
    r"""Read a manifest with a header ``path,label,group[,image_id][,mpp]``; only ``path`` is required.

    Paths are relative to the folder of the manifest, of a data frame to the working folder, and may be written with
    ``\``. An empty label, group or mpp (micrometres per pixel) means unknown. Columns may have other names, see
    `bchisto.core.formats.columns`. Blanks around cells do not matter.

    Parameters
    ----------
    path : Path
        A table, see `read_csv`.
    path_column, label_column, group_column : str, optional
        Names of these columns in the table; that of groups may be two with ``+``, such as ``site+patient``.
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
    rules = path_rules(group_from=group_from, label_from=label_from)
    options = {"path": path_column, "label": label_column, "group": group_column}
    named_columns = {role: name for role, name in options.items() if name is not None}
    table = _read_table(path, named_columns, images)
    if not table.rows:
        raise InputError(f"{path}: the manifest has no rows; add one for each image")
    columns, recognised = _choose_columns(table, named_columns, rules, beside=images is not None)
    findings = Findings(_column_findings(table, columns, recognised, {*rules, *named_columns}))
    rows = _rows(table, columns, images, findings)
    findings += _length_findings(table)
    values = {
        role: _values(rows, role, rules.get(role), table, columns[role] or options[role], findings)
        for role in ("group", "label")
    }
    used = {columns[role] for role in ("path", "label", "image_id", "mpp")}
    records = [
        ImageRecord(
            row.cells.get(columns["image_id"]) or Path(row.name).as_posix(),
            row.path,
            label,
            group,
            mpp=row.mpp,
            source="csv",
            columns=tuple(
                (key, cell) for key, cell in row.cells.items() if cell and key not in used
            ),
            line=row.line,
        )
        for row, label, group in zip(rows, values["label"], values["group"], strict=True)
    ]
    without = [record.image_id for record in records if is_missing(record.group)]
    if "group" not in rules and 0 < len(without) < len(records):
        message = (
            f"{len(without)} of {len(records)} images name no patient (first {without[0]}), "
            "so each counts as a patient of its own; fill it in"
        )
        findings.warning(path.name, message)
    return records, findings


def _values(
    rows: Sequence[_Row],
    role: str,
    rule: PathRule | None,
    table: CsvTable,
    column: str | None,
    findings: Findings,
) -> list[str | None]:
    """Return the cells of a column, or what a rule finds in them, or in the paths without a column."""
    key = table.named(column or "") or ""
    texts = [row.cells.get(key, "") for row in rows]
    if rule is None:
        return [text or None for text in texts]
    if not key:
        texts = [Path(row.name).as_posix() for row in rows]
    parts = rule.applied(texts, root=table.path, what=role, findings=findings)
    return [parts[text] for text in texts]


def _length_findings(table: CsvTable) -> Findings:
    """Return what rows of too many cells say, and a last one of too few."""
    findings = Findings()
    if table.rows[1:] and table.short == (table.rows[-1][0],):
        cut = "fewer cells than the rows before; is the file cut?"
        findings.warning(row_in(table.path, table.short[0]), cut)
    for line in table.overlong:
        overlong = "more cells than the header has columns; put a cell that holds a comma in quotes"
        findings.error(row_in(table.path, line), overlong)
    return findings


def _read_table(path: Path, named_columns: Mapping[str, str], images: Path | None) -> CsvTable:
    columns = dict(named_columns)
    together = columns.pop("group", "").split("+")
    needed: list[Role | str] = [column_key(name) for name in (*columns.values(), *together) if name]
    if not named_columns.get("path"):
        needed.insert(0, PATH)
    header = (
        "path,label,group[,image_id][,mpp]; others by {path_column}, {label_column}, {group_column}"
    )
    cure = functools.partial(_naming, path, named_columns, images)
    table = read_csv(path, needed=needed, expected=Message(header), cure=cure)
    keys = [*filter(None, map(table.named, together))]
    if len(keys) > 1:
        # patients that each site counts anew
        joined = "+".join(keys)
        table.columns[joined] = joined
        for _, row in table.rows:
            cells = [row[key] for key in keys]
            row[joined] = ""
            if not any(map(is_missing, cells)):
                row[joined] = "-".join(cells)
    return table


def _naming(
    path: Path, named_columns: Mapping[str, str], images: Path | None, rows: Sequence[Sequence[str]]
) -> Message:
    """Return which roles have no column of a known name, and the command that names their likely columns.

    These are known by their names, else by what their cells are like.

    Parameters
    ----------
    path : Path
    named_columns : mapping
        Role to the column that the user named.
    images : Path or None
        A folder of images beside the table.
    rows : sequence of (sequence of str)
        The likely header, and rows below.
    """
    cells = {title: below for title, *below in itertools.zip_longest(*rows, fillvalue="") if title}
    guesses = {
        PATH: [title for title in cells if all(Path(cell).suffix for cell in cells[title])],
        GROUP: may_hold_patients(cells),
        LABEL: sorted(cells, key=lambda title: len({*cells[title]})),
    }
    words = {"images": str(images or path)}
    if images is not None:
        words["labels"] = str(path)
    missing = []
    for role, titles in guesses.items():
        known = [named_columns.get(role.name, "")]
        if not has_column([*cells], known[0]):
            known = [*itertools.chain(*role.matching(cells))]
        if not known:
            missing.append(role.name.replace("group", "patient"))
        free = [title for title in (*known, *titles) if title not in words.values()]
        if free:
            words[f"{role.name}-column"] = free[0]
    options = [f"--{name} {shlex.quote(word)}" for name, word in words.items()]
    text = "no column is known as {}; if these are right, `bchisto data check {}`"
    return Message(text, ", ".join(missing), " ".join(options))


def _choose_columns(
    table: CsvTable,
    named_columns: Mapping[str, str],
    rules: Collection[str],
    *,
    beside: bool,
) -> tuple[dict[str, str], dict[Role, str]]:
    """Return the column of each role, and those that were recognised by their names; empty without one.

    What a rule finds has no column, and images beside the table are named by their files. A table without a column of
    paths is refused, and so are columns that a spreadsheet spoiled.
    """
    columns = {role: table.named(name) or "" for role, name in named_columns.items()}
    columns |= dict.fromkeys(rules, "")
    recognised = {}
    for role in (PATH, LABEL, GROUP, MPP):
        if role.name not in columns:
            cure = Message("name the one that does with {}", Parameter(f"{role.name}_column"))
            column = table.choose(role, cure=cure, without=[*columns.values()])
            columns[role.name] = recognised[role] = column
    if not columns["path"]:
        text = (
            "{}: its only column of paths is also named as label or group; name another column, or name that of the "
            "paths with {path_column}"
        )
        raise InputError(text, table.path)
    columns[IMAGE.name] = table.named(IMAGE.name) or ""
    if beside or columns[IMAGE.name] == columns[PATH.name]:
        columns[IMAGE.name] = ""
    table.check({role: columns[role.name] for role in (PATH, IMAGE, LABEL, GROUP, MPP)})
    return columns, recognised


def _column_findings(
    table: CsvTable,
    columns: Mapping[str, str],
    recognised: Mapping[Role, str],
    given: set[str],
) -> list[Finding]:
    """Return remarks on columns that were recognised by their names, and on those that tell no model anything.

    Parameters
    ----------
    table : CsvTable
    columns : mapping
        Name of each role to its column; empty without one.
    recognised : mapping
        Role to the column that was recognised by its name; empty without one.
    given : set of str
        Those of ``label`` and ``group`` for which the user named a column or a rule.
    """
    cure = Message("name it with {group_column}")
    remarks = table.remarks(recognised, without=[*columns.values()], cure=cure)
    where = table.path.name
    findings = [
        Finding(level, where, text, labels_only=level == "warning") for level, text in remarks
    ]
    # folds keep a split, which may also be by sites; other columns of groups are in the remarks if one was recognised
    roles = (PART,) if "group" in given else (PART, GROUP)
    used = {
        *columns.values(),
        *columns["group"].split("+"),
        *(name for role in roles for tier in role.matching(table.columns) for name in tier),
    }
    unused = [title for key, title in table.columns.items() if key not in used]
    if not unused:
        return findings
    listed = ", ".join(unused)
    if columns["label"] or "label" in given:
        return [*findings, Finding("note", where, f"columns that no model is given: {listed}")]
    remedy = Message("name the label column with {label_column}")
    text = "no column is named label, so no image has one; other columns: {}"
    message = Message(text, listed, remedies=[remedy])
    return [*findings, Finding("warning", where, message, labels_only=True)]


def _rows(
    table: CsvTable,
    columns: Mapping[str, str],
    images: Path | None,
    findings: Findings,
) -> list[_Row]:
    """Return the rows of a table that can be used; of a table beside a folder also one for each further image."""
    paths = [cells[columns["path"]] for _, cells in table.rows]
    folder = images or table.path.parent
    files: dict[str, Path] = {}
    if images is not None:
        files = list_images(folder, findings)
        names, notes = match_names(paths, files, where=table.path.name)
        findings += notes
    else:
        names = _located(table.path, paths, folder, findings)
    rows = []
    absent = []
    for (line, cells), path in zip(table.rows, paths, strict=True):
        mpp, problem = spacing_of(cells.get(columns["mpp"], ""))
        if not path:
            problem = "an empty path; remove the row"
        if path and path not in names:
            absent.append((line, path))
        elif problem:
            findings.error(row_in(table.path, line), problem)
        else:
            rows.append(_Row(line, cells, names[path], folder / names[path], mpp))
    if images is not None:
        without_row = sorted(files.keys() - names.values())
        rows.extend(_Row(0, {}, name, files[name], None) for name in without_row)
        findings += unmatched(table.path, [path for _, path in absent], without_row, len(files))
        return rows
    cure = Message("a table beside a folder of images is read by {images:FOLDER} with {labels}")
    for line, path in absent:
        # one kind for all of them: often the whole folder is elsewhere
        kind = Message("there are no such files, first {}", absent[0][1], remedies=[cure])
        findings.error(row_in(table.path, line), locate(folder, path)[1], kind=kind)
    return rows


def _located(table: Path, paths: Sequence[str], folder: Path, findings: Findings) -> dict[str, str]:
    """Return each path of a table that leads to a file, as it leads there, perhaps below another folder."""
    names = {path: locate(folder, path)[0] for path in paths}
    if not all(names.values()):
        files: dict[str, Path] = {}
        with contextlib.suppress(InputError):
            files = list_images(folder, [])
        # of those that lead to a file outside of the folder, none is to be matched
        rows = {name or path: path for path, name in names.items() if not name or name in files}
        image_of, notes = match_names(rows, files, where=table.name)
        findings += notes
        names |= {rows[row]: name for row, name in image_of.items()}
    return {path: name for path, name in names.items() if name}


def locate(folder: Path, name: str) -> tuple[str, str]:
    r"""Return a path as it leads to a file, with ``/`` for ``\`` if need be, or nothing and why."""
    try:
        for text in (name, name.replace("\\", "/")):
            if (folder / text).is_file():
                return text, ""
    except OSError as error:
        return "", f"{folder / name} cannot be read ({system_reason(error)})"
    return "", f"there is no file {folder / name}"


def unmatched(table: Path, rows: Sequence[str], images: Sequence[str], count: int) -> list[Finding]:
    """Return warnings of rows that name none of the images of a folder, and of images without a row; errors if most do.

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
            f"{table}: none of its rows, such as {few(rows[:1]) or 'empty ones'}, names one of the {count} images, "
            f"such as {images[0]}; name them by file, with or without suffix"
        )
    matched = count - len(images)
    level: Level = "warning"
    if matched < min(len(images), len(rows)):
        level = "error"
    texts = {
        f"{len(images)} of {count} images have no row of their own in {table.name}, so no label": images,
        f"{counted(len(rows), 'row')} of {table.name}: no image, or several, of such a name; not read": rows,
    }
    return [Finding(level, few(names), text) for text, names in texts.items() if names]


def spacing_of(cell: str) -> tuple[float | None, str]:
    """Return the micrometres per pixel that a cell gives, None if unknown, and what is wrong with it, or nothing."""
    if is_missing(cell):
        return None, ""
    try:
        mpp = plausible_mpp(decimal_of(cell))
    except ValueError:
        mpp = None
    if mpp:
        return mpp, ""
    bounds = f"{limits.LEAST_MPP:g} to {limits.MOST_MPP:g}"
    return mpp, f"mpp {cell[:40]}: give micrometres per pixel, {bounds} such as 0.42, or none"


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
