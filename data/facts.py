"""What is known of images beside label and group: how many, which failed, further columns, copies, parts of a split."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..core import InputError
from ..formats import PART, column_key, read_json
from ..jobs import write_json
from .dataset import Dataset

FACTS_FILE = "dataset.json"
"""The file that keeps them, beside descriptor stores and in the folder of networks."""

NO_FLOW: Mapping[str, int | None] = dict.fromkeys(("found", "refused", "duplicates", "failed", "used"))
"""The flow of images where nothing of it is known."""

GIVEN = "folder"
"""Name of the protocol that keeps the split in which images came."""

_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval", "holdout"),
}
"""Names of the parts, in lower case."""


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of images beside label and group.

    Attributes
    ----------
    flow : mapping of str to (int or None)
        Images that were ``found``, ``refused`` by their headers, ``duplicates`` by content, and ``failed`` while they
        were read; None where unknown. ``unlabelled`` where images have no label.
    columns : mapping of str to (mapping of str to str)
        Further columns of a manifest: name, see `column_key`, to image id to value. Empty cells are left out.
    groups : mapping of str to str
        Image id to patient or slide, as far as they are known: stores that were made before they were known lack them.
    copies : tuple of (str, str), or None
        Pairs of image ids that show the same pixels, see `find_copies`; None where these were not looked for.
    failed : collection of str
        Images left out since they could not be used; of one run, and in no file.
    """

    flow: Mapping[str, int | None] = field(default_factory=lambda: dict(NO_FLOW))
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    copies: tuple[tuple[str, str], ...] | None = None
    failed: Collection[str] = ()

    @classmethod
    def of(cls, value: DatasetFacts | None) -> DatasetFacts:
        """Return what was passed, or that nothing is known."""
        return cls() if value is None else value

    def column(self, name: str) -> Mapping[str, str]:
        """Return image id to value of a column.

        Raises
        ------
        InputError
            No such column; the message lists those that there are.
        """
        values = self.columns.get(column_key(name))
        if values is None:
            there = f"there are {', '.join(self.columns)}" if self.columns else "no further column is known"
            raise InputError(
                f"{name}: no such column of the manifest, {there}; add it, and run bchisto featurize again if the "
                "features are older (they stay)"
            )
        return values

    def used(self, images: int) -> dict[str, int | None]:
        """Return the flow with the number of images that a protocol trains or tests."""
        return {**NO_FLOW, **self.flow, "used": images}


def further_columns(dataset: Dataset) -> dict[str, dict[str, str]]:
    """Return the further columns of a manifest: name to image id to value."""
    columns: dict[str, dict[str, str]] = {}
    for record in dataset.records:
        for name, value in record.columns:
            columns.setdefault(name, {})[record.image_id] = value
    return columns


def write_dataset_facts(path: Path, known: DatasetFacts, *, images_sha256: str) -> None:
    """Write them as JSON, with the identity of the images that they are of."""
    kept = {name: value for name, value in asdict(known).items() if name != "failed"}
    write_json(path, {"images_sha256": images_sha256, **kept})


def read_dataset_facts(path: Path, *, images_sha256: str) -> DatasetFacts:
    """Read what `write_dataset_facts` wrote; nothing is known where there is no such file, or it is of other images.

    Raises
    ------
    InputError
        The file is damaged.
    """
    if not path.is_file():
        return DatasetFacts()
    content: Any = read_json(path)
    try:
        if content["images_sha256"] != images_sha256:
            return DatasetFacts()
        pairs = content["copies"]
        copies = None if pairs is None else tuple((first, second) for first, second in pairs)
        return DatasetFacts(content["flow"], content["columns"], content["groups"], copies)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("{}: damaged ({}); remove it and run bchisto featurize again", path, error) from error


def part_of(name: str) -> str | None:
    """Return the part that a folder or a cell names; None where it is none.

    Examples
    --------
    >>> part_of("Validation"), part_of("benign")
    ('val', None)
    """
    key = name.strip().casefold()
    return next((part for part, names in _NAMES.items() if key in names), None)


def given_parts(known: DatasetFacts) -> tuple[str, Mapping[str, str]] | None:
    """Return the column that names parts of a split and nothing else, with image id to part; None without one."""
    for column in itertools.chain.from_iterable(PART.matching(known.columns)):
        values = known.columns.get(column, {})
        parts = {image: part for image, value in values.items() if (part := part_of(value)) is not None}
        if parts and len(parts) == len(values):
            return column, parts
    return None
