"""The plan of a cross-validation, and the units that stay together in it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ...core import Banner, InputError, Kind, Message, Names, counted, few, plural
from ..findings import pairs_alike

Row = tuple[str, int, str]
"""Image id, fold, part."""

Groups = Sequence[str | None]
"""The patient or slide of each image; None if unknown."""

GroupOf = Mapping[str, str | None]
"""Image ID to patient or slide; None if unknown."""


class ScarceError(InputError):
    """These folds cannot be made, mostly because there are too few images or patients."""


@dataclass(frozen=True)
class FoldPlan:
    """The images that train, validate and test in each fold.

    Attributes
    ----------
    name : str
        Folder name of the protocol, such as ``rakhlin10``, ``eva``, ``10`` or ``5-grouped``. For a fold list it is the
        stem of the file, with ``-file`` if that is the name of another protocol.
    rows : tuple of (image_id, fold, part)
        One row per image and fold. Folds are numbered as in the source.
    partition : bool
        Whether every image is tested exactly once and trains in all other folds.
    warnings : tuple of str
        Warnings that concern the results.
    origin : {"split", "given", "site", "published", "none", "file"}
        Drawn at random, the split that came with the images, leave one site out, a published list, no folds, or a list
        of the user.
    source : str
        The column of a given split or of sites; ``cbis-ddsm`` for its own published split.
    units : mapping of str to str
        Image ID to unit, if the units that drawn folds keep together differ from the groups. Near-duplicates form one
        unit, and an image whose group is unknown is a unit of its own.
    repeats : int
        Number of splits in the plan, each with the same number of folds.
    sites : tuple of str
        The site that each fold tests, in the order of the folds.
    """

    name: str
    rows: tuple[Row, ...]
    partition: bool
    warnings: tuple[str, ...] = ()
    origin: Literal["split", "given", "site", "published", "none", "file"] = "file"
    source: str = ""
    units: Mapping[str, str] = field(default_factory=dict, compare=False)
    repeats: int = 1
    sites: tuple[str, ...] = ()

    @property
    def image_ids(self) -> list[str]:
        """Ids of the images of all folds, each once, in the order of the rows."""
        return list(dict.fromkeys(image for image, _, _ in self.rows))

    @property
    def folds(self) -> list[int]:
        """Fold numbers in ascending order."""
        return sorted({fold for _, fold, _ in self.rows})

    def images(self, fold: int, part: str) -> list[str]:
        """Return the sorted image ids of a part (``train``, ``val``, ``test``) in a fold."""
        return sorted(image for image, number, role in self.rows if number == fold and role == part)

    def classes_in(self, part: str, label_of: Mapping[str, str]) -> dict[int, set[str]]:
        """Return for each fold the classes of its images of a part."""
        classes: dict[int, set[str]] = {fold: set() for fold in self.folds}
        for image, fold, role in self.rows:
            if role == part:
                classes[fold].add(label_of[image])
        return classes

    def untrained(self, label_of: Mapping[str, str]) -> dict[int, list[str]]:
        """Return the folds in which a class has no training image, each with these classes (sorted)."""
        classes = {label_of[image] for image, _, _ in self.rows}
        return {
            fold: sorted(classes - train_classes)
            for fold, train_classes in self.classes_in("train", label_of).items()
            if classes - train_classes
        }

    def kept_whole(self, image_ids: Sequence[str], groups: Groups) -> tuple[str | None, ...]:
        """Return what inner folds of a training part keep together: the unit of each image, or else its group."""
        return tuple(
            self.units.get(image, group) for image, group in zip(image_ids, groups, strict=True)
        )

    @property
    def sha256(self) -> str:
        """Checksum of the rows, independent of their order."""
        return hashlib.sha256(json.dumps(sorted(self.rows)).encode()).hexdigest()


def spread(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return one row per image and fold. Rows with empty parts are a partition: images train in all other folds."""
    if any(part for _, _, part in rows):
        return tuple(rows)
    folds = sorted({fold for _, fold, _ in rows})
    fold_of = {image: fold for image, fold, _ in rows}
    return tuple(
        (i, fold, "test" if fold_of[i] == fold else "train") for fold in folds for i in fold_of
    )


def repeat_folds(plans: Sequence[FoldPlan]) -> FoldPlan:
    """Combine splits of one protocol with different seeds into one plan.

    Parameters
    ----------
    plans : sequence of FoldPlan
        Splits of the same images and shares. Fold f of split r (both from 1) becomes fold ``(r - 1) * folds + f``.

    Returns
    -------
    FoldPlan
        A plan named ``<name>-repeated<splits>``. It is not a partition, because every image is tested once per split.

    Raises
    ------
    InputError
        The folds are fixed, so all splits would be the same.
    """
    first = plans[0]
    splits = len(plans)
    if splits == 1:
        return first
    if first.origin != "split":
        raise InputError(
            "{repeats} {}: goes with folds that are drawn, not with {}, which are fixed",
            splits,
            first.name,
        )
    count = len(first.folds)
    rows = [
        (i, fold + split * count, part)
        for split, plan in enumerate(plans)
        for i, fold, part in plan.rows
    ]
    return replace(
        first,
        name=f"{first.name}-repeated{splits}",
        rows=tuple(rows),
        partition=False,
        warnings=tuple(dict.fromkeys(text for plan in plans for text in plan.warnings)),
        repeats=splits,
    )


Copies = Sequence[tuple[str, str]]
"""Pairs of image IDs of near-duplicates."""


def join_units(image_ids: Sequence[str], groups: Groups, copies: Copies) -> list[str]:
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
    unit_of = {i: f"\0{i}" if g is None else g for i, g in zip(image_ids, groups, strict=True)}
    if not copies:
        return list(unit_of.values())
    from scipy.cluster.hierarchy import DisjointSet

    units = DisjointSet(unit_of.values())
    for first, second in copies:
        if first in unit_of and second in unit_of:
            units.merge(unit_of[first], unit_of[second])
    leader = {unit: min(members) for members in units.subsets() for unit in members}
    return [leader[unit_of[image]] for image in image_ids]


def unknown_groups(groups: Groups) -> tuple[Banner, ...]:
    """Return a warning if the patient or slide of some or all images is unknown; nothing if all are known."""
    missing = sum(group is None for group in groups)
    if missing == 0:
        return ()
    if missing == len(groups):
        text = (
            "no image names its patient or slide, so images of one patient may be in both training and test sets; "
            "these results may be too high for new patients, and their intervals too narrow"
        )
        return (Banner(Kind.PATIENTS_UNKNOWN, text),)
    text = (
        f"{missing} of {len(groups)} images name no patient or slide; each counts as a unit of its own, so patients "
        "among them may be in both training and test sets, and intervals are too narrow if images share a patient"
    )
    return (Banner(Kind.PATIENTS_PARTLY_UNKNOWN, text, unknown=missing, images=len(groups)),)


def shared_groups(plan: FoldPlan, group_of: GroupOf) -> tuple[set[str], set[str]]:
    """Return the groups that test in a fold and also train or validate in it; then others that train and validate."""
    parts: dict[tuple[str, int], set[str]] = {}
    for image, fold, part in plan.rows:
        group = group_of.get(image)
        if group is not None:
            parts.setdefault((group, fold), set()).add(part)
    tested = {group for (group, _), roles in parts.items() if "test" in roles and len(roles) > 1}
    validated = {group for (group, _), roles in parts.items() if {"train", "val"} <= roles}
    return tested, validated - tested


def group_warnings(plan: FoldPlan, group_of: GroupOf, group_is: str) -> tuple[Message, ...]:
    """Return warnings with the number and names of groups that are in two parts of a fold, see `shared_groups`."""
    unit = group_is or "patient"
    tested, validated = shared_groups(plan, group_of)
    sizes = Counter(group_of.get(image) for image in plan.image_ids)
    group_count = sum(count > 1 for group, count in sizes.items() if group is not None)
    warnings: list[Message] = []
    if tested:
        validates = "val" in {part for _, _, part in plan.rows}
        text = Message(
            "{} of {} with several images both {} and test in a fold{}, so "
            "these numbers are too high for new {}",
            len(tested),
            counted(group_count, unit),
            "train or validate" if validates else "train",
            Names(f" ({few(sorted(tested), most=5)})"),
            plural(unit),
        )
        warnings.append(Banner(Kind.PATIENTS_MIXED, text, mixed=len(tested), patients=group_count))
    if validated:
        warnings.append(
            Message(
                "{} in both the training and the validation part of a fold{}, so training may stop too late",
                counted(len(validated), unit),
                Names(f" ({few(sorted(validated), most=5)})"),
            )
        )
    return tuple(warnings)


def split_copies(plan: FoldPlan, copies: Copies) -> tuple[str, ...]:
    """Return a warning that names near-duplicates of which one trains or validates and the other tests in a fold."""
    parts = {(image, fold): part for image, fold, part in plan.rows}
    folds = plan.folds
    splits = ({"train", "test"}, {"val", "test"})
    split_pairs = [
        f"{first} and {second}"
        for first, second in copies
        if any({parts.get((first, fold)), parts.get((second, fold))} in splits for fold in folds)
    ]
    if not split_pairs:
        return ()
    return (
        Message(
            "{}, one in training and one in test sets{}; these results are too high",
            pairs_alike(len(split_pairs)),
            Names(f" ({few(split_pairs)})"),
        ),
    )
