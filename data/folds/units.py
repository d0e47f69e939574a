"""Units that drawn folds keep together: groups, if known, and near-duplicates; and warnings if folds divide them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ...core import Message, Names, few
from ..findings import pairs_alike
from .plans import FoldPlan

Copies = Sequence[tuple[str, str]]
"""Pairs of image IDs of near-duplicates."""


def join_units(image_ids: Sequence[str], groups: Sequence[str | None], copies: Copies) -> list[str]:
    """Return the unit of each image: its group, or the image itself, joined with the units of its near-duplicates.

    Parameters
    ----------
    image_ids : sequence of str
    groups : sequence of str or None
        None if unknown, or if folds are by image.
    copies : sequence of (str, str)
        Pairs of near-duplicates; pairs with images that are not in `image_ids` are ignored.

    Returns
    -------
    list of str
        Names of units. Groups that are not joined keep their names.

    Examples
    --------
    >>> join_units(["a", "b", "c"], ["p", "q", "q"], [("a", "b")])
    ['p', 'p', 'p']
    """
    # no name contains a null character, so an image is never mistaken for a group
    own = {i: f"\0{i}" if g is None else g for i, g in zip(image_ids, groups, strict=True)}
    leader = {unit: unit for unit in own.values()}

    def find(unit: str) -> str:
        while leader[unit] != unit:
            leader[unit] = leader[leader[unit]]
            unit = leader[unit]
        return unit

    for first, second in copies:
        if first in own and second in own:
            first_unit, second_unit = sorted((find(own[first]), find(own[second])))
            leader[second_unit] = first_unit
    return [find(own[image]) for image in image_ids]


def unknown_groups(groups: Sequence[str | None]) -> tuple[str, ...]:
    """Return a warning if the patient or slide of some or all images is unknown; nothing if all are known."""
    missing = sum(group is None for group in groups)
    if missing == 0:
        return ()
    if missing == len(groups):
        return (
            "PATIENTS UNKNOWN: no image names its patient or slide, so images of one patient may be in both "
            "training and test sets; these results may be too high for new patients, and their intervals too narrow",
        )
    return (
        f"{missing} of {len(groups)} images name no patient or slide; each counts as a unit of its own, so patients "
        "among them may be in both training and test sets",
    )


def split_groups(plan: FoldPlan, group_of: Mapping[str, str | None], *, named: bool = False) -> tuple[str, ...]:
    """Return warnings with the number of groups that are in two parts of a fold.

    Only with `named` do they contain names of groups. Other warnings are written to all outputs of a protocol, also to
    model files, which must not contain names of patients.
    """
    parts: dict[tuple[str, int], set[str]] = {}
    for image, fold, part in plan.rows:
        if (group := group_of[image]) is not None:
            parts.setdefault((group, fold), set()).add(part)
    tested = {group for (group, _), names in parts.items() if "test" in names and len(names) > 1}
    stopped = {group for (group, _), names in parts.items() if {"train", "val"} <= names} - tested
    sizes = Counter(group_of[image] for image in {image for image, _, _ in plan.rows})
    several = sum(count > 1 for group, count in sizes.items() if group is not None)
    warnings = []

    def which(groups: set[str]) -> Names:
        return Names(f" ({few(sorted(groups), most=5)})" if named else "")

    if tested:
        warnings.append(
            Message(
                "image-level folds on grouped data: {} of {} patients or slides with several images both train and "
                "test in a fold{}, so these numbers are too high for new patients",
                len(tested), several, which(tested),
            )
        )  # fmt: skip
    if stopped:
        warnings.append(
            Message(
                "{} patients or slides both train and validate in a fold{}, so training may stop too late",
                len(stopped), which(stopped),
            )
        )  # fmt: skip
    return tuple(warnings)


def split_copies(plan: FoldPlan, copies: Copies) -> tuple[str, ...]:
    """Return a warning that names near-duplicates of which one trains or validates and the other tests in a fold."""
    placed = {(image, fold): part for image, fold, part in plan.rows}
    folds, apart = plan.folds, ({"train", "test"}, {"val", "test"})
    split = [
        f"{first} and {second}"
        for first, second in copies
        if any({placed.get((first, fold)), placed.get((second, fold))} in apart for fold in folds)
    ]
    if not split:
        return ()
    return (
        Message(
            "{}, one in training and one in test sets{}; these results are too high",
            pairs_alike(len(split)),
            Names(f" ({few(split)})"),
        ),
    )
