"""The plan of a protocol: which images train, validate and test in each fold; and several splits as one plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ...core import InputError, Message

PARTS = ("train", "val", "test")
Row = tuple[str, int, str]
"""Image id, fold, part."""


@dataclass(frozen=True)
class FoldPlan:
    """Which images train, validate and test in each fold.

    Attributes
    ----------
    name : str
        Folder name of the protocol: ``rakhlin10``, ``eva``, ``10``, ``5-grouped``, or a file's stem, with ``-file``
        where that is the name of another protocol.
    rows : tuple of (image_id, fold, part)
        One row per image and fold. Folds are numbered as in the source.
    partition : bool
        Whether every image is tested exactly once and trains in all other folds.
    warnings : tuple of str
        What a reader of the numbers must know.
    origin : {"split", "given", "site", "published", "part", "none", "file"}
        Split by us, as the images came, one site after the other left out, a published list, some images of one, no
        folds at all, or a list of the user's own.
    source : str
        The published list, where it is one or a part of one; of sites the column, and which site each fold tests; of a
        given split its column.
    whole : int
        Images of that list, where it is a part.
    units : mapping of str to str
        Image id to what split folds kept whole, where that is not the images' groups: copies of one image are one unit,
        and so is an image whose group is unknown.
    repeats : int
        Splits that it is made of, each of as many folds.
    """

    name: str
    rows: tuple[Row, ...]
    partition: bool
    warnings: tuple[str, ...] = ()
    origin: Literal["split", "given", "site", "published", "part", "none", "file"] = "file"
    source: str = ""
    whole: int = 0
    units: Mapping[str, str] = field(default_factory=dict, compare=False)
    repeats: int = 1

    @property
    def folds(self) -> list[int]:
        """Fold numbers in ascending order."""
        return sorted({fold for _, fold, _ in self.rows})

    def images(self, fold: int, part: str) -> list[str]:
        """Return the sorted image ids of a part (``train``, ``val``, ``test``) in a fold."""
        return sorted(image for image, number, role in self.rows if number == fold and role == part)

    def kept_whole(self, image_ids: Sequence[str], groups: Sequence[str | None]) -> tuple[str | None, ...]:
        """Return what folds inside the training part must keep whole, for each image: its unit, else its group."""
        return tuple(self.units.get(image, group) for image, group in zip(image_ids, groups, strict=True))

    @property
    def sha256(self) -> str:
        """Hash of the rows, whatever their order."""
        return hashlib.sha256(json.dumps(sorted(self.rows)).encode()).hexdigest()


def spread(rows: Sequence[Row]) -> list[Row]:
    """Write a list out: in a partition, whose parts are empty, an image trains wherever it is not tested."""
    if any(part for _, _, part in rows):
        return list(rows)
    folds = sorted({fold for _, fold, _ in rows})
    tested = {image: fold for image, fold, _ in rows}
    return [(i, fold, "test" if tested[i] == fold else "train") for fold in folds for i in tested]


def repeat_folds(plans: Sequence[FoldPlan]) -> FoldPlan:
    """Put splits of one protocol under several seeds together, the folds of each after those of the one before.

    Parameters
    ----------
    plans : sequence of FoldPlan
        Of the same images and shares; fold f of split r (both from 1) becomes fold ``(r - 1) * folds + f``.

    Returns
    -------
    FoldPlan
        Every image is tested once a split, so it is no partition. Called ``<name>-repeated<splits>``.

    Raises
    ------
    InputError
        The folds are not drawn: other splits would be the same.
    """
    first, splits = plans[0], len(plans)
    if splits == 1:
        return first
    if first.origin != "split":
        raise InputError(
            "{repeats} {}: goes with folds that are drawn, not with {}, which are fixed", splits, first.name
        )
    count = len(first.folds)
    rows = [(i, fold + split * count, part) for split, plan in enumerate(plans) for i, fold, part in plan.rows]
    return replace(
        first,
        name=f"{first.name}-repeated{splits}",
        rows=tuple(rows),
        partition=False,
        warnings=tuple(_warnings(plans)),
        repeats=splits,
    )


def _warnings(plans: Sequence[FoldPlan]) -> Iterator[str]:
    """Say once what holds for every split, and of which one what does not."""
    shared = set.intersection(*(set(plan.warnings) for plan in plans))
    yield from (text for text in plans[0].warnings if text in shared)
    for split, plan in enumerate(plans, start=1):
        yield from (
            Message("split {} of {}: {}", split, len(plans), text) for text in plan.warnings if text not in shared
        )
