"""Tables of labels for images that they name, but do not list the files of: embeddings, or images in a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..core import InputError, MissingInputError, few
from ..formats import GROUP, IMAGE, LABEL, MPP, read_csv
from .dataset import IMAGE_SUFFIXES
from .findings import Finding
from .groups import join_groups

_SUFFIXES = IMAGE_SUFFIXES | {".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".svslide", ".czi"}
"""Suffixes that one of table and file may lack, including those of whole slides."""

_EXPECTED = "image_id,label[,group]; slide_id will do for image_id, diagnosis for label, and patient for group"


@dataclass(frozen=True)
class LabelTable:
    """Labels and groups of images.

    Attributes
    ----------
    path : Path
    labels, groups : dict of str to str
        Image id to label or group; empty if unknown.
    columns : dict of str to dict of str to str
        Further columns: name to a mapping from image id to value.
    lines : dict of str to int
        Image id to its line.
    mpp : str
        The column of micrometres per pixel; empty if there is none.
    findings : tuple of Finding
        How the table was read, and names of groups that were joined.
    """

    path: Path
    labels: Mapping[str, str]
    groups: Mapping[str, str]
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    mpp: str = ""
    findings: tuple[Finding, ...] = ()

    def named_as(self, images: Collection[str]) -> LabelTable:
        """Return the table with the names of images in place of names with another folder or suffix, if unambiguous.

        Parameters
        ----------
        images : collection of str
            Names of images, such as ``a`` or ``train/a.png`` for ``a.svs``. TRIDENT, CLAM and STAMP name embeddings
            after the slide file without its suffix.
        """
        names = {row: row for row in self.labels if row in images}
        for short in (_bare, _last, lambda name: _bare(_last(name))):
            left = _alone((image for image in images if image not in names.values()), short)
            rows = _alone((row for row in self.labels if row not in names), short)
            names |= {rows[key]: left[key] for key in rows.keys() & left.keys()}
        if not (renamed := [row for row, image in names.items() if row != image]):
            return self
        message = (
            f"{len(renamed)} of {len(self.labels)} rows name the image with another folder or suffix, such as "
            f"{renamed[0]} for {names[renamed[0]]}"
        )

        def named(cells: Mapping[str, str]) -> dict[str, str]:
            return {names.get(row, row): cell for row, cell in cells.items()}

        columns = {name: named(cells) for name, cells in self.columns.items()}
        lines = {names.get(row, row): line for row, line in self.lines.items()}
        findings = (*self.findings, Finding("note", str(self.path), message))
        return LabelTable(self.path, named(self.labels), named(self.groups), columns, lines, self.mpp, findings)


def _bare(name: str) -> str:
    """Return a name without the suffix of a picture or slide."""
    path = PurePosixPath(name.replace("\\", "/"))
    return str(path.with_suffix("") if path.suffix.casefold() in _SUFFIXES else path)


def _last(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name


def _alone(names: Iterable[str], short: Callable[[str], str]) -> dict[str, str]:
    """Return a dict from short name to name, without those that several names share."""
    keys = {name: short(name) for name in names}
    counts = Counter(keys.values())
    return {key: name for name, key in keys.items() if counts[key] == 1}


def read_labels(
    path: Path, *, image: str | None = None, label: str | None = None, group: str | None = None
) -> LabelTable:
    """Read a table of labels, see `read_csv`.

    Parameters
    ----------
    path : Path
        A CSV file with columns for the image id (``image_id``, or ``slide_id`` as in CLAM), the label and, if any, the
        group; see `bchisto.formats.columns`.
    image, label, group : str, optional
        Names of these columns in the table.

    Raises
    ------
    InputError
        There is no such file or column, an id is empty or repeated, or there are no rows.
    """
    if not path.is_file():
        raise MissingInputError("{labels} {}: no such table; it has the columns {}", path, _EXPECTED)
    named = {IMAGE: image, LABEL: label, GROUP: group}
    needed = [named[role] or role for role in (IMAGE, LABEL)] + ([group] if group else [])
    table = read_csv(path, needed=needed, expected=_EXPECTED)
    chosen = {role: table.named(name) or "" for role, name in named.items() if name}
    for role in (IMAGE, LABEL, GROUP, MPP):
        if role not in chosen:
            chosen[role] = table.choose(role, without=[*chosen.values()])
    findings = [Finding(level, str(path), text) for level, text in table.remarks(chosen)]
    if table.overlong:
        raise InputError(f"{path}: line {table.overlong[0]} has more cells than the header; put a cell that holds a "
                         "comma in quotes")  # fmt: skip
    names, joined = join_groups((row.get(chosen[GROUP]) or None for _, row in table.rows), where=str(path))
    lines: dict[str, int] = {}
    labels: dict[str, str] = {}
    groups: dict[str, str] = {}
    columns: dict[str, dict[str, str]] = {}
    for number, row in table.rows:
        name = row[chosen[IMAGE]]
        if not name or name in lines:
            why = f"{name} is already in line {lines[name]}" if name else f"an empty {table.columns[chosen[IMAGE]]}"
            raise InputError(f"{path}: line {number}: {why}; remove the row")
        lines[name] = number
        labels[name], groups[name] = row[chosen[LABEL]], names.get(row.get(chosen[GROUP], "")) or ""
        for column, cell in row.items():
            if cell and column not in (chosen[IMAGE], chosen[LABEL]):
                columns.setdefault(column, {})[name] = cell
    if not labels:
        raise InputError(f"{path}: the table has no rows ({few(table.columns.values())})")
    return LabelTable(path, labels, groups, columns, lines, chosen[MPP], (*findings, *joined))
