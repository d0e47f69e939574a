"""Protocols from information that came with the images: a given split, and leave-one-site-out by a column."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from ...core import InputError, few
from ...core.formats import PART, column_key
from ..facts import GIVEN, DatasetFacts, given_parts
from .plans import PARTS, FoldPlan, ScarceError, spread

SITES = "site:"
"""Prefix of a leave-one-site-out protocol; the name of the column follows."""


def given_plan(*, image_ids: Sequence[str], known: DatasetFacts) -> FoldPlan:
    """Create the plan of the split that came with the images.

    Parameters
    ----------
    image_ids : sequence of str
    known : DatasetFacts

    Raises
    ------
    InputError
        The part of an image is unknown, or no image is in the training part or in the test part.
    """
    parts = given_parts(known)
    if parts is None:
        raise ScarceError(
            "{folds} {}: no split came with these images; put their class folders below train and "
            "test, or name train, val or test in a column {} of a manifest",
            GIVEN,
            PART.name,
        )
    column, part_of = parts
    if without := [image for image in image_ids if image not in part_of]:
        which = f"{len(without)} of {len(image_ids)} images name no part in the column {column}"
        raise ScarceError("{folds} {}: {}, first {}; fill it in", GIVEN, which, without[0])
    counts = Counter(part_of[image] for image in image_ids)
    for part in ("train", "test"):
        if not counts[part]:
            present = " and ".join(f"{counts[name]} {name}" for name in PARTS if counts[name])
            raise ScarceError("{folds} {}: no labelled image is in the {} part, there are {}", GIVEN, part, present)
    rows = tuple((image, 1, part_of[image]) for image in image_ids)
    return FoldPlan(GIVEN, rows, partition=False, origin="given", source=column)


def mixed_parts(plan: FoldPlan, known: DatasetFacts) -> tuple[str, ...]:
    """Return a warning if folds mix the parts of the split that came with the images, else nothing."""
    parts = given_parts(known)
    if parts is None or plan.origin in ("given", "none"):
        return ()
    column, part_of = parts
    mixed = any(part_of.get(image, part) != part for image, _, part in plan.rows)
    if not mixed or len(set(part_of.values())) < 2:
        return ()
    names = ", ".join(part for part in PARTS if part in part_of.values())
    return (f"the images came split (column {column}: {names}), and these folds mix the parts",)


def site_plan(column: str, *, image_ids: Sequence[str], known: DatasetFacts) -> FoldPlan:
    """Create one fold for each value of a column (sorted), in which the images with this value test.

    Parameters
    ----------
    column : str
        Column of the manifest. Case does not matter, and ``_`` is the same as a space or hyphen.
    image_ids : sequence of str
    known : DatasetFacts

    Raises
    ------
    InputError
        There is no such column, an image has no value, or all images have the same value.
    """
    if not column.strip():
        raise InputError("{folds} {}: name a column of the manifest, such as {}hospital", SITES, SITES)
    try:
        values = known.column(column)
    except InputError as error:
        raise ScarceError("{folds} {}{}", SITES, error) from error
    column = column_key(column)
    if empty := [image for image in image_ids if not values.get(image)]:
        which = f"{len(empty)} of {len(image_ids)} images have no value in this column"
        raise ScarceError("{folds} {}{}: {}, first {}; fill it in", SITES, column, which, empty[0])
    sites = sorted({values[image] for image in image_ids})
    if len(sites) < 2:
        raise ScarceError("{folds} {}{}: all images are of {}; leaving one site out needs two", SITES, column, sites[0])
    number = {site: fold for fold, site in enumerate(sites, start=1)}
    numbered = few((f"{fold} {site}" for site, fold in number.items()), most=10)
    return FoldPlan(
        "site-" + re.sub(r"[^\w.-]+", "-", column),
        tuple(spread([(image, number[values[image]], "") for image in image_ids])),
        partition=True,
        origin="site",
        source=f"{column}; {numbered}",
    )
