"""Images that names in tables mean, and lists of images."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from ..core import InputError, MissingInputError, Parameter
from ..core.formats import IMAGE, SLIDE_SUFFIXES, read_csv, visible
from .dataset import IMAGE_SUFFIXES, Dataset
from .findings import Finding, Level

_SUFFIXES = IMAGE_SUFFIXES | SLIDE_SUFFIXES
"""Suffixes of pictures and whole slides, by which names in tables may differ from those of images."""

_ADDED = re.compile(
    r"(?<![^/])[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}[-_]|(?<![^/])[0-9a-f]{8}(-|__)|_[a-z]{3,4}\.rf\.[0-9a-f]{32}$",
    re.IGNORECASE,
)
"""Text that Label Studio and others write before the name of an image, and Roboflow behind it."""


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
        raise InputError(
            "{} {}: lists no image; name one below the header", Parameter(option), path
        )
    return listed


def only_listed(dataset: Dataset, path: Path) -> Dataset:
    """Return the dataset with only the images that a CSV lists.

    Raises
    ------
    InputError
        See `read_image_list`; or a listed image is not in the dataset.
    """
    listed = read_image_list(path, option="only")
    names, findings = match_names(
        sorted(listed), (record.image_id for record in dataset.records), where=str(path)
    )
    absent = sorted(listed - names.keys())
    if absent:
        text = "{only} {}: {} of its {} images are missing, first {}; correct these names, or remove the rows"
        raise InputError(text, path, len(absent), len(listed), absent[0])
    images = {*names.values()}
    records = tuple(record for record in dataset.records if record.image_id in images)
    return replace(dataset, records=records, findings=(*dataset.findings, *findings))


def match_names(
    rows: Iterable[str], images: Iterable[str], *, where: str
) -> tuple[dict[str, str], list[Finding]]:
    r"""Return the image that each name of a table means: with or without folders and suffix, if only one fits.

    Unicode forms, characters that nobody sees, ``\`` in place of ``/``, case, and what annotation programs add do not
    matter, either.

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
        A note on names that are not those of the images, and a warning if their folder is another one.
    """
    rows = list(dict.fromkeys(rows))
    images = set(images)
    names = {row: row for row in rows if row in images}
    pairs = _nearest_images([row for row in rows if row not in names], images - names.keys())
    times = Counter(pair[:-1] for pair in pairs)
    used_images = set()
    elsewhere = []
    folders_agree = any("/" in row for row in names)
    for differing_folders, lost, form, image, row in pairs:
        # if other rows name folders rightly, an image of another folder is not meant
        if image in used_images or (differing_folders and folders_agree):
            continue
        used_images.add(image)
        if times[differing_folders, lost, form, image] == 1:
            names[row] = image
            folders = [_plain(name).count("/") for name in (row, image)]
            folders_agree |= not differing_folders and min(folders) > 0
            if differing_folders and folders[0] == folders[1]:
                elsewhere.append(row)
    return names, _renamed(rows, names, elsewhere, where)


def _nearest_images(
    rows: Iterable[str], images: Iterable[str]
) -> list[tuple[int, int, int, str, str]]:
    """Return the only image whose path shares the longest end with that of a row, and the row, closest pairs first.

    Before both stand the numbers of outer folders left out of both and of the row, and the form that was compared.
    """
    images_of: dict[tuple[int, str], dict[str, int]] = {}
    for image in images:
        for lost, form, end in _ends(image):
            for of_row in _COMPARED[form]:
                images_of.setdefault((of_row, end), {})[image] = lost
    pairs = []
    for row in rows:
        fitting = ((lost, form, images_of.get((form, end))) for lost, form, end in _ends(row))
        lost, form, nearest = next((fit for fit in fitting if fit[2]), (0, 0, None))
        if nearest and len(nearest) == 1:
            [(image, other)] = nearest.items()
            pairs.append((min(lost, other), lost, form, image, row))
    return sorted(pairs)


def _ends(name: str) -> Iterator[tuple[int, int, str]]:
    """Yield the number of outer folders left out, the form of the name, and the end of the path, longest ends first."""
    forms = [form.split("/") for form in _forms(name)]
    for lost in range(max(map(len, forms))):
        for form, parts in enumerate(forms):
            if lost < len(parts):
                yield lost, form, "/".join(parts[lost:])


def _renamed(
    rows: Sequence[str], names: Mapping[str, str], elsewhere: Sequence[str], where: str
) -> list[Finding]:
    """Return a note on rows that name the image otherwise, or a warning of those that name another folder."""
    other = elsewhere or [row for row in rows if _plain(names.get(row, row)) != _plain(row)]
    if not other:
        return []
    level: Level = "note"
    text = f"{len(other)} of {len(rows)} rows name the image with another folder, suffix or case"
    if elsewhere:
        level = "warning"
        text = f"{len(other)} of {len(rows)} rows name an image of another folder; check that it is meant"
    return [Finding(level, where, f"{text}, such as {other[0]} for {names[other[0]]}")]


def _plain(name: str) -> str:
    return re.sub(r"\\|\?d=|%5C|%2F", "/", visible(unicodedata.normalize("NFC", name)))


_OME = re.compile(r"(?<=.)\.ome$", re.IGNORECASE)


def _bare(name: str) -> str:
    """Return a name without the suffix of a picture or slide, of which ``.ome`` is a part, as in QuPath."""
    suffix = PurePosixPath(name).suffix
    if suffix.casefold() in _SUFFIXES:
        name = name.removesuffix(suffix)
    return _OME.sub("", name)


def _forms(name: str) -> tuple[str, ...]:
    """Return a name as it is, without suffix, as annotation programs write it, and without what they add to it."""
    plain = _plain(name)
    as_typed = _bare(unquote(plain.partition("?")[0])).casefold().replace(" ", "_")
    as_typed = re.sub(r"[](),&'[]", "", as_typed)
    return plain, _bare(plain), as_typed, _ADDED.sub("", as_typed)


_COMPARED = ((0,), (1,), (2, 3), (2,))
"""The forms of images with which each form of a row is compared. What programs add counts on one side: two uploads
differ."""
