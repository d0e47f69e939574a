"""Lists of images: CSV files with a column ``image_id``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..core import InputError, MissingInputError, Parameter
from ..formats import IMAGE, read_csv, visible
from .dataset import Dataset


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
    records = tuple(r for r in dataset.records if r.image_id in listed or visible(r.image_id) in listed)
    absent = sorted(listed.difference(*((r.image_id, visible(r.image_id)) for r in records)))
    if absent:
        raise InputError(
            "{only} {}: {} of its {} images are missing, first {}; correct these names, or remove the rows",
            path, len(absent), len(listed), absent[0],
        )  # fmt: skip
    return replace(dataset, records=records)
