"""The split that came with the images, in folders per part or a column of a manifest, as a protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...errors import InputError
from ..particulars import PART_COLUMNS, Particulars, given_parts
from .plans import PARTS, FoldPlan

GIVEN = "folder"
"""Name of the protocol."""


def given_plan(*, image_ids: Sequence[str], known: Particulars) -> FoldPlan:
    """Train, validate and test once, each image in the part that it came in.

    Parameters
    ----------
    image_ids : sequence of str
    known : Particulars

    Raises
    ------
    InputError
        No image names its part, some do not, or none trains or tests.
    """
    found = given_parts(known)
    if found is None:
        raise InputError(
            f"`spec` {GIVEN}: no split came with these images; put their class folders below train and test, or name "
            f"train, val or test in a column {PART_COLUMNS[0]} of a manifest"
        )
    column, part_of = found
    without = [image for image in image_ids if image not in part_of]
    if without:
        raise InputError(
            f"`spec` {GIVEN}: {len(without)} of {len(image_ids)} images name no part in the column {column}, first "
            f"{without[0]}; fill it in"
        )
    counts = Counter(part_of[image] for image in image_ids)
    for part in ("train", "test"):
        if not counts[part]:
            there = " and ".join(f"{counts[name]} {name}" for name in PARTS if counts[name])
            raise InputError(f"`spec` {GIVEN}: no labelled image is in the {part} part, there are {there}")
    rows = tuple((image, 1, part_of[image]) for image in image_ids)
    return FoldPlan(GIVEN, rows, partition=False, origin="given", source=column)


def mixed_parts(plan: FoldPlan, known: Particulars) -> tuple[str, ...]:
    """Say where folds do not keep the split that came with the images."""
    found = given_parts(known)
    if found is None or plan.origin in ("given", "none"):
        return ()
    column, part_of = found
    mixed = any(part_of.get(image, part) != part for image, _, part in plan.rows)
    if not mixed or len(set(part_of.values())) < 2:
        return ()
    said = ", ".join(part for part in PARTS if part in part_of.values())
    return (f"the images came split (column {column}: {said}), and these folds mix the parts",)
