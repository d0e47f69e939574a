"""Facts about a dataset in addition to labels and patients.

They are counts of images, further columns, patients, near-duplicates, and the parts of a given split.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..core import InputError
from ..core.formats import PART, column_key, read_json
from ..core.jobs import write_json
from .dataset import Dataset

FACTS_FILE = "dataset.json"
"""Name of the file with these facts, next to feature files and in the folder of networks."""

NO_FLOW: Mapping[str, int | None] = dict.fromkeys(("found", "refused", "duplicates", "failed", "used"))
"""Counts of images if none are known, see `DatasetFacts.flow`."""

GIVEN = "folder"
"""Name of the protocol that uses the split that came with the images."""

_PART_NAME = re.compile(
    r"(?:(?P<train>train|training)|(?P<val>val|valid|validation|dev)|(?P<test>test|testing|eval|evaluation|hold[\W_]?out))"
    r"(?:[\W_\d]*(?:sets?|split|part|folder|data|images?|imgs?|pictures|patches|tiles))*[\W_\d]*[a-d]?"
)
"""Names of the parts of a split, with words and numbers that may follow."""


@dataclass(frozen=True)
class DatasetFacts:
    """Facts about the images of a dataset in addition to their labels.

    Attributes
    ----------
    flow : mapping of str to (int or None)
        Numbers of images: ``found``, ``refused`` because of their headers, ``duplicates`` by content, and ``failed``
        while they were read; None if unknown. Also ``unlabelled`` if images have no label.
    columns : mapping of str to (mapping of str to str)
        Further columns of a manifest: column key, see `column_key`, to image ID to value. Empty cells are left out.
    groups : mapping of str to str
        Image ID to patient or slide, if known. Older feature files may lack patients that became known later.
    copies : tuple of (str, str), or None
        Pairs of image IDs of near-duplicates, see `find_copies`; None if they were not searched for.
    failed : collection of str
        Images that could not be used in this run. They are not written to the file.
    """

    flow: Mapping[str, int | None] = field(default_factory=lambda: dict(NO_FLOW))
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    copies: tuple[tuple[str, str], ...] | None = None
    failed: Collection[str] = ()

    @classmethod
    def of(cls, value: DatasetFacts | None) -> DatasetFacts:
        """Return `value`, or empty facts for None."""
        return cls() if value is None else value

    def column(self, name: str) -> Mapping[str, str]:
        """Return the values of a column by image ID.

        Raises
        ------
        InputError
            There is no such column; the message lists all columns.
        """
        values = self.columns.get(column_key(name))
        if values is None:
            present = f"there are {', '.join(self.columns)}" if self.columns else "no further column is known"
            raise InputError(
                f"{name}: no such column of the manifest, {present}; add it, and run bchisto featurize again if the "
                "features are older (they stay)"
            )
        return values

    def used(self, images: int) -> dict[str, int | None]:
        """Return `flow` with the number of images that a protocol uses for training or test."""
        return {**NO_FLOW, **self.flow, "used": images}


def further_columns(dataset: Dataset) -> dict[str, dict[str, str]]:
    """Return the further columns of a manifest: column key to image ID to value."""
    columns: dict[str, dict[str, str]] = {}
    for record in dataset.records:
        for name, value in record.columns:
            columns.setdefault(name, {})[record.image_id] = value
    return columns


def write_dataset_facts(path: Path, known: DatasetFacts, *, images_sha256: str) -> None:
    """Write the facts as JSON, with the identity of the images (`images_sha256`)."""
    content = {name: value for name, value in asdict(known).items() if name != "failed"}
    write_json(path, {"images_sha256": images_sha256, **content})


def read_dataset_facts(path: Path, *, images_sha256: str) -> DatasetFacts:
    """Read the facts that `write_dataset_facts` wrote; empty facts if the file is missing or is about other images.

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
    """Return the part of a split that a folder or a cell names; None if it does not name one.

    Examples
    --------
    >>> part_of("Validation"), part_of("test_images"), part_of("Training Set"), part_of("benign")
    ('val', 'test', 'train', None)
    """
    match = _PART_NAME.fullmatch(name.strip().casefold())
    return match and match.lastgroup


def given_parts(known: DatasetFacts) -> tuple[str, Mapping[str, str]] | None:
    """Return the column with the parts of a given split, and a dict from image ID to part; None if there is none."""
    for column in itertools.chain.from_iterable(PART.matching(known.columns)):
        values = known.columns.get(column, {})
        parts = {image: part for image, value in values.items() if (part := part_of(value)) is not None}
        if parts and len(parts) == len(values):
            return column, parts
    return None
