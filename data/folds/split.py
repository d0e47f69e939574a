"""Folds and single hold-outs that are drawn, with groups and near-duplicates kept together; also inner folds.

Folds are stratified. A hold-out in three, such as 80/10/10, has validation and test parts that are balanced by class;
one in two, such as 70/30, is stratified. Inner folds of a training part are for model selection and early stopping.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ...core import InputError, counted
from ...core.formats import Integers
from ..findings import pairs_alike
from .plans import Copies, FoldPlan, GroupOf, Groups, Row, ScarceError, join_units

HOLDOUT = re.compile(r"(\d{1,2})/(\d{1,2})(?:/(\d{1,2}))?")
"""Shares in percent for training, validation and test, or for training and test."""

_TRIES = 200
"""Number of random orders of the units that are tried to find the best balance."""

_NEAR = 0.05
"""Largest deviation of a class from its share of test images without a warning, as a fraction of its images."""


class _Image(NamedTuple):
    """An image to be drawn, and the unit that is kept together."""

    image_id: str
    label: str
    unit: str


class Pool(NamedTuple):
    """The images from which folds are drawn.

    Attributes
    ----------
    image_ids, labels, groups : sequence
        One entry per image; a group is None if unknown.
    grouped : bool
        Whether folds keep groups together.
    copies : sequence of (str, str)
        Pairs of near-duplicates.
    seed : int
    failed : collection of str
        Images without a label, or that could not be used; a list may still contain them.
    """

    image_ids: Sequence[str]
    labels: Sequence[str]
    groups: Groups
    grouped: bool
    copies: Copies
    seed: int
    failed: Collection[str]

    @property
    def owners(self) -> Groups:
        """The groups that folds keep together."""
        return self.groups if self.grouped else [None] * len(self.groups)

    @property
    def label_of(self) -> dict[str, str]:
        """Image ID to label."""
        return dict(zip(self.image_ids, self.labels, strict=True))

    @property
    def group_of(self) -> GroupOf:
        """Image ID to group."""
        return dict(zip(self.image_ids, self.groups, strict=True))


def holdout_plan(spec: str, pool: Pool, units: Sequence[str]) -> FoldPlan:
    """Split once: into three parts, of which validation and test are balanced by class, or into two, stratified.

    Parameters
    ----------
    spec : str
        ``train/val/test`` or ``train/test`` in percent.
    pool : Pool
    units : sequence of str
        The unit of each image, which is kept together: a group, or an image with its near-duplicates.

    Returns
    -------
    FoldPlan
        A plan of one fold, which keeps units together. With three parts, surplus images of a class in the validation
        and test parts are left out. A warning counts them, and another one reports classes with too few units. With
        two parts, all images are used, and a warning names classes whose share is not reached.

    Raises
    ------
    InputError
        The shares do not add up to 100, or a class has too few images.

    References
    ----------
    Recipe ``ddsm-masses``: 80/10/10 by patient, with balanced validation and test parts.
    """
    shares = [int(part) for part in spec.split("/")]
    if sum(shares) != 100 or min(shares) < 1:
        raise InputError(
            "{folds} {}: give two or three shares in percent that add up to 100, for example 70/30 or 80/10/10",
            spec,
        )
    images = [*map(_Image, pool.image_ids, pool.labels, units)]
    rng = np.random.default_rng(np.random.SeedSequence([pool.seed, *shares]))
    split = _in_two if len(shares) == 2 else _in_three
    rows, warnings = split(spec, shares, images, rng)
    name = spec.replace("/", "-")
    if pool.grouped:
        name += "-grouped"
    return FoldPlan(
        name, tuple(sorted(rows)), partition=False, warnings=tuple(warnings), origin="split"
    )


def _in_two(
    spec: str, shares: Sequence[int], images: Sequence[_Image], rng: np.random.Generator
) -> tuple[list[Row], list[str]]:
    """Split into training and test with the same share of every class, and at least one image of each in both."""
    counts = Counter(image.label for image in images)
    lone_classes = [label for label, count in sorted(counts.items()) if count < 2]
    if lone_classes:
        raise ScarceError(
            "{folds} {}: class {} has 1 image; a split needs one to train and one to test",
            spec,
            lone_classes[0],
        )
    share = shares[1] / 100
    quota = {label: min(count - 1, max(1, round(share * count))) for label, count in counts.items()}
    test_units = set(_draw(images, (), quota, rng, near=True))
    rows = [(name, 1, "test" if unit in test_units else "train") for name, _, unit in images]
    test_counts = Counter(image.label for image in images if image.unit in test_units)
    gaps = [
        f"{label} {test_counts[label]} of {count}"
        for label, count in sorted(counts.items())
        if not test_counts[label] or abs(test_counts[label] - share * count) > max(1, _NEAR * count)
    ]
    if not gaps:
        return rows, []
    warning = (
        "groups or near-duplicates are kept together, so the test set does not hold "
        f"{shares[1]} % of every class: {', '.join(gaps)}"
    )
    return rows, [warning]


def _in_three(
    spec: str, shares: Sequence[int], images: Sequence[_Image], rng: np.random.Generator
) -> tuple[list[Row], list[str]]:
    """Split into three parts, of which validation and test each have the same number of images of every class."""
    counts = Counter(image.label for image in images)
    classes = sorted(counts)
    quota = {
        part: round(shares[index] / 100 * len(images) / len(classes))
        for index, part in ((1, "val"), (2, "test"))
    }
    for label in classes:
        if min(quota.values()) < 1 or counts[label] <= sum(quota.values()):
            raise ScarceError(
                "{folds} {}: class {} has {}; a balanced split of {} needs {} to validate, {} "
                "to test and at least one to train",
                spec,
                label,
                counted(counts[label], "image"),
                len(images),
                *(max(1, most) for most in quota.values()),
            )
    part_of: dict[str, str] = {}
    for part in ("test", "val"):
        part_of |= dict.fromkeys(
            _draw(images, part_of, dict.fromkeys(classes, quota[part]), rng), part
        )
    rows = []
    sums: Counter[tuple[str, str]] = Counter()
    surplus: Counter[str] = Counter()
    # a random order, so that surplus images are left out by chance
    for index in rng.permutation(len(images)).tolist():
        image, label, unit = images[index]
        part = part_of.get(unit, "train")
        sums[part, label] += 1
        if part != "train" and sums[part, label] > quota[part]:
            surplus[part] += 1
        else:
            rows.append((image, 1, part))
    warnings = [
        f"{counted(count, 'image')} in the {part} part left out, so that it holds as many of each class"
        for part, count in sorted(surplus.items())
    ]
    for part, most in quota.items():
        if any(sums[part, label] < most for label in classes):
            present = ", ".join(f"{label} {min(sums[part, label], most)}" for label in classes)
            warnings.append(
                f"the {part} part is not balanced, too few groups or images hold a class: {present}"
            )
    return rows, warnings


def _draw(
    images: Sequence[_Image],
    taken: Collection[str],
    quota: Mapping[str, int],
    rng: np.random.Generator,
    *,
    near: bool = False,
) -> list[str]:
    """Draw units that reach the quota of every class with the least surplus, the best of several random orders.

    One unit of each class is always left for training. With `near`, the numbers come as close to the quotas as
    possible, from above or below, with some images of every class.
    """
    members: dict[str, Counter[str]] = {}
    for image in images:
        members.setdefault(image.unit, Counter())[image.label] += 1
    units = sorted(members.keys() - taken)
    best = []
    least = (sum(quota.values()) + 1, 0)
    for _ in range(_TRIES):
        order = [units[index] for index in rng.permutation(len(units)).tolist()]
        selection, counts = _take(order, members, quota, near=near)
        if near:
            empty = sum(not counts[label] for label in quota)
            misses = (empty, _distance(counts, quota, quota))
        else:
            deficit = sum(max(0, most - counts[label]) for label, most in quota.items())
            surplus = sum(max(0, counts[label] - most) for label, most in quota.items())
            misses = (deficit, surplus)
        if misses < least:
            best = selection
            least = misses
        if least == (0, 0):
            break
    return best


def _take(
    order: Sequence[str],
    members: Mapping[str, Counter[str]],
    quota: Mapping[str, int],
    *,
    near: bool,
) -> tuple[list[str], Counter[str]]:
    """Take each unit, in order, that helps to reach the quota and leaves a unit of each class for training.

    Returns
    -------
    list of str
        The units that were taken.
    Counter of str
        Their number of images by class.
    """
    selection = []
    counts: Counter[str] = Counter()
    units_left = Counter(label for unit in order for label in members[unit])
    for unit in order:
        unit_counts = members[unit]
        if near:
            nearer = _distance(counts + unit_counts, quota, unit_counts) < _distance(
                counts, quota, unit_counts
            )
            useful = nearer or not all(counts[label] for label in unit_counts)
        else:
            useful = any(counts[label] < quota[label] for label in unit_counts)
        if useful and all(units_left[label] > 1 for label in unit_counts):
            counts += unit_counts
            units_left -= Counter(list(unit_counts))
            selection.append(unit)
    return selection, counts


def _distance(held: Counter[str], quota: Mapping[str, int], labels: Iterable[str]) -> int:
    return sum(abs(held[label] - quota[label]) for label in labels)


def draw_folds(spec: str, pool: Pool) -> FoldPlan:
    """Draw folds that keep near-duplicates together and, with `Pool.grouped`, groups.

    Raises
    ------
    ScarceError
        Images or groups are too few, or a class has no training image in a fold.
    """
    plan = _split(spec, pool, ())
    copies: Copies = ()
    candidate = _split_with_copies(spec, pool, plan)
    if candidate is not None:
        plan = candidate
        copies = pool.copies
    if copies or (pool.grouped and None in pool.groups):
        # inner folds keep groups together whenever all are known, even if these folds do not
        owners = pool.owners if None in pool.groups else pool.groups
        units = join_units(pool.image_ids, owners, copies)
        plan = replace(plan, units=dict(zip(pool.image_ids, units, strict=True)))
    untrained = plan.untrained(pool.label_of)
    if untrained:
        fold, classes = next(iter(untrained.items()))
        text = "{folds} {}: no image of class {} trains in fold {}"
        raise ScarceError(text, spec, ", ".join(classes), fold)
    return plan


def _split(spec: str, pool: Pool, copies: Copies) -> FoldPlan:
    units = join_units(pool.image_ids, pool.owners, copies)
    make = holdout_plan if HOLDOUT.fullmatch(spec) else _stratified_plan
    return make(spec, pool, units)


def _split_with_copies(spec: str, pool: Pool, plan: FoldPlan) -> FoldPlan | None:
    """Return folds that keep near-duplicates together, too; None if there are none, or the units are too large.

    Near-duplicates then stay in different parts, and `fold_plan` warns of them.
    """
    if not pool.copies:
        return None
    try:
        candidate = _split(spec, pool, pool.copies)
    except InputError:
        return None
    # these folds are of no use if a class does not train in a fold, or if a part has become empty
    parts = {(fold, part) for _, fold, part in candidate.rows}
    needed = {(fold, part) for _, fold, part in plan.rows}
    if candidate.untrained(pool.label_of) or not parts >= needed:
        return None
    group_of = pool.group_of
    pair_count = sum(
        group_of[first] is None or group_of[first] != group_of[second]
        for first, second in pool.copies
    )
    if not pair_count:
        return candidate
    note = (
        f"{pairs_alike(pair_count)}; both of a pair stay in one part of each fold, but intervals count each "
        "as an image of its own"
    )
    return replace(candidate, warnings=(*candidate.warnings, note))


def _stratified_plan(spec: str, pool: Pool, units: Sequence[str]) -> FoldPlan:
    """Draw stratified folds with scikit-learn, of groups or else of images with their near-duplicates."""
    count = int(spec)
    if count < 2:
        raise InputError("{folds} {}: give at least 2 folds", count)
    for label, image_count in sorted(Counter(pool.labels).items()):
        if image_count < count:
            amount = counted(image_count, "image")
            raise ScarceError("class {} has {}, fewer than the {} folds", label, amount, count)
    positions: Sequence[int] = range(len(units))
    if not pool.grouped:
        positions = _representatives(count, pool.labels, units)
    elif len(set(units)) < count:
        raise ScarceError("{}, fewer than the {} folds", counted(len(set(units)), "group"), count)
    splits = _stratified(
        [pool.labels[index] for index in positions],
        units if pool.grouped else None,
        count=count,
        seed=pool.seed,
    )
    rows: list[Row] = []
    for number, (_, indices) in enumerate(splits, start=1):
        test_units = {units[positions[index]] for index in indices.tolist()}
        if not test_units:
            raise ScarceError(
                "{folds} {}: fold {} would be empty, the groups are too large", count, number
            )
        rows.extend(
            (image, number, "test" if unit in test_units else "train")
            for image, unit in zip(pool.image_ids, units, strict=True)
        )
    name = f"{count}-grouped" if pool.grouped else str(count)
    return FoldPlan(name, tuple(rows), partition=True, origin="split")


def _representatives(count: int, labels: Sequence[str], units: Sequence[str]) -> Sequence[int]:
    """Return the positions of the images from which folds are drawn: one image represents its near-duplicates.

    Without near-duplicates, these are all images, so that the folds are those of plain scikit-learn.
    """
    first: dict[str, int] = {}
    for index, unit in enumerate(units):
        first.setdefault(unit, index)
    positions = list(first.values())
    if len(positions) < len(labels):
        fewest = min(Counter(labels[index] for index in positions).values())
        if fewest < count:
            raise ScarceError(
                "{folds} {}: a class has fewer images without near-duplicates than folds", count
            )
    return positions


def inner_splits(
    labels: Integers, groups: Groups, *, count: int, seed: int
) -> list[tuple[Integers, Integers]]:
    """Split training images into inner folds, which keep groups together if all are known.

    Parameters
    ----------
    labels : ndarray of int, shape (images,)
    groups : sequence of str or None
    count : int
        Number of folds; fewer if a class has fewer images, or if there are fewer groups.
    seed : int

    Returns
    -------
    list of (ndarray, ndarray)
        Positions of the images that train and of those that are held out. Splits whose training side lacks a class are
        left out, so the list may be empty.
    """
    owners = [group for group in groups if group is not None]
    grouped = len(owners) == len(labels)
    units = len(set(owners)) if grouped else len(labels)
    count = min(count, int(np.bincount(labels)[np.unique(labels)].min()), units)
    if count < 2:
        return []
    classes = set(labels.tolist())
    return [
        (train, held)
        for train, held in _stratified(labels, owners if grouped else None, count=count, seed=seed)
        if len(held) and set(labels[train].tolist()) == classes
    ]


def _stratified(
    labels: Sequence[str] | Integers, groups: Sequence[str] | None, *, count: int, seed: int
) -> Iterator[tuple[Integers, Integers]]:
    """Yield splits by scikit-learn as positions that train and that are held out; groups are kept together if given."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(count, shuffle=True, random_state=seed)
    yield from splitter.split(np.zeros(len(labels)), labels, groups)
