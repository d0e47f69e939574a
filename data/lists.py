"""Lists of images: CSV files with a column ``image_id``, and images by the names that tables give them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

from ..core import InputError, MissingInputError, Parameter
from ..core.formats import IMAGE, read_csv, visible
from .dataset import IMAGE_SUFFIXES, Dataset
from .findings import Finding

_SUFFIXES = IMAGE_SUFFIXES | {".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".svslide", ".czi"}
"""Suffixes of pictures and whole slides, by which names in tables may differ from those of images."""


def read_image_list(path: Path, *, option: str) -> frozenset[str]:
    """Return the images that a CSV lists in its column ``image_id``.

    Parameters
    ----------
    path : Path
        UTF-8, with a header; further columns are ignored.
    option : str
        The parameter that named the file, for messages.

    Raises
    ------
    InputError
        There is no such file or column, or the list is empty.
    """
    if not path.is_file():
        raise MissingInputError("{} {}: no such file", Parameter(option), path)
    table = read_csv(path, needed=(IMAGE,), expected="image_id")
    ids = table.choose(IMAGE)
    table.log_columns({IMAGE: ids})
    listed = frozenset(row[ids] for _, row in table.rows)
    if not listed:
        raise InputError("{} {}: lists no image; name one below the header", Parameter(option), path)
    return listed


def only_listed(dataset: Dataset, path: Path) -> Dataset:
    """Return the dataset with only the images that a CSV lists.

    Raises
    ------
    InputError
        See `read_image_list`; or a listed image is not in the dataset.
    """
    listed = read_image_list(path, option="only")
    names, findings = match_names(sorted(listed), (record.image_id for record in dataset.records), where=str(path))
    if absent := sorted(listed - names.keys()):
        raise InputError(
            "{only} {}: {} of its {} images are missing, first {}; correct these names, or remove the rows",
            path, len(absent), len(listed), absent[0],
        )  # fmt: skip
    chosen = {*names.values()}
    records = tuple(record for record in dataset.records if record.image_id in chosen)
    return replace(dataset, records=records, findings=(*dataset.findings, *findings))


def match_names(rows: Iterable[str], images: Iterable[str], *, where: str) -> tuple[dict[str, str], list[Finding]]:
    r"""Return the image that each name of a table means: with or without folder and suffix, if only one fits.

    Unicode forms, characters that nobody sees, and ``\`` in place of ``/`` do not matter.

    Parameters
    ----------
    rows : iterable of str
        Names in a table, such as ``a.svs``.
    images : iterable of str
        Names of images, such as ``a`` or ``train/a.png``.
    where : str
        The table, for the finding.

    Returns
    -------
    dict of str to str
        Name in the table to name of the image; without names that fit no image, or several.
    list of Finding
        A note on names that are not those of the images.
    """
    rows, images = list(dict.fromkeys(rows)), set(images)
    names = {row: row for row in rows if row in images}
    for short in (_plain, _bare, _last, lambda name: _bare(_last(name))):
        left = _alone(images.difference(names.values()), short)
        names |= {row: left[key] for key, row in _alone(set(rows) - names.keys(), short).items() if key in left}
    other = [row for row in rows if _plain(names.get(row, row)) != _plain(row)]
    message = f"{len(other)} of {len(rows)} rows name the image with another folder or suffix"
    return names, [Finding("note", where, f"{message}, such as {row} for {names[row]}") for row in other[:1]]


def _plain(name: str) -> str:
    return visible(unicodedata.normalize("NFC", name)).replace("\\", "/")


def _bare(name: str) -> str:
    """Return a name without the suffix of a picture or slide."""
    stem, dot, suffix = _plain(name).rpartition(".")
    return stem if f"{dot}{suffix}".casefold() in _SUFFIXES and stem else _plain(name)


def _last(name: str) -> str:
    return _plain(name).rpartition("/")[2]


def _alone(names: Collection[str], short: Callable[[str], str]) -> dict[str, str]:
    """Return a dict from short name to name, without those that several names share."""
    counts = Counter(map(short, names))
    return {short(name): name for name in names if counts[short(name)] == 1}
