"""Folds and single hold-outs that are drawn, with groups and near-duplicates kept together; also inner folds.

Folds are stratified. A hold-out in three, such as 80/10/10, has validation and test parts that are balanced by class;
one in two, such as 70/30, is stratified. Inner folds of a training part are for model selection and early stopping.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core import InputError, Message, Names
from ..dataset import DatasetFacts
from ..findings import pairs_alike
from .plans import FoldPlan, Row, ScarceError, join_units

_MOST_TRIED = 20
"""Largest number of folds that a refusal suggests."""

HOLDOUT = re.compile(r"(\d{1,2})/(\d{1,2})(?:/(\d{1,2}))?")
"""Shares in percent for training, validation and test, or for training and test."""

_TRIES = 200
"""Number of random orders of the groups that are tried to find the best balance."""

_NEAR = 0.05
"""Largest deviation of a class from its share of test images without a warning, as a fraction of its images."""

_Image = tuple[str, str, str]
"""Image ID, class, and unit (images that are kept together)."""


def holdout_plan(
    spec: str,
    *,
    image_ids: Sequence[str],
    labels: Sequence[str],
    units: Sequence[str],
    grouped: bool,
    seed: int,
) -> FoldPlan:
    """Split once: into three parts, of which validation and test are balanced by class, or into two, stratified.

    Parameters
    ----------
    spec : str
        ``train/val/test`` or ``train/test`` in percent.
    image_ids, labels : sequence
        One entry per image.
    units : sequence of str
        The unit of each image, which is kept together: a group, or an image with its near-duplicates.
    grouped : bool
        Whether units are groups, for the name of the plan.
    seed : int

    Returns
    -------
    FoldPlan
        A plan of one fold, which keeps units together. With three parts, surplus images of a class in the validation
        and test parts are left out. A warning counts them, and another one reports classes with too few groups. With
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
    images = list(zip(image_ids, labels, units, strict=True))
    rng = np.random.default_rng(np.random.SeedSequence([seed, *shares]))
    split = _in_two if len(shares) == 2 else _in_three
    rows, warnings = split(spec, shares, images, rng)
    name = spec.replace("/", "-") + ("-grouped" if grouped else "")
    return FoldPlan(
        name, tuple(sorted(rows)), partition=False, warnings=tuple(warnings), origin="split"
    )


def _in_two(
    spec: str, shares: Sequence[int], images: Sequence[_Image], rng: np.random.Generator
) -> tuple[list[Row], list[str]]:
    """Split into training and test with the same share of every class, and at least one image of each in both."""
    counts = Counter(label for _, label, _ in images)
    if scarce := [label for label, count in sorted(counts.items()) if count < 2]:
        raise ScarceError(
            "{folds} {}: class {} has 1 image; a split needs one to train and one to test",
            spec,
            scarce[0],
        )
    share = shares[1] / 100
    quota = {label: min(count - 1, max(1, round(share * count))) for label, count in counts.items()}
    tested = set(_draw(images, (), quota, rng, near=True))
    rows = [(image, 1, "test" if unit in tested else "train") for image, _, unit in images]
    held = Counter(label for _, label, unit in images if unit in tested)
    off = [
        f"{label} {held[label]} of {count}"
        for label, count in sorted(counts.items())
        if not held[label] or abs(held[label] - share * count) > max(1, _NEAR * count)
    ]
    warning = f"groups are kept together, so the test set does not hold {shares[1]} % of every class: {', '.join(off)}"
    return rows, [warning] if off else []


def _in_three(
    spec: str, shares: Sequence[int], images: Sequence[_Image], rng: np.random.Generator
) -> tuple[list[Row], list[str]]:
    """Split into three parts, of which validation and test each have the same number of images of every class."""
    counts = Counter(label for _, label, _ in images)
    classes = sorted(counts)
    quota = {
        part: round(shares[index] / 100 * len(images) / len(classes))
        for index, part in ((1, "val"), (2, "test"))
    }
    for label in classes:
        if min(quota.values()) < 1 or counts[label] <= sum(quota.values()):
            raise ScarceError(
                "{folds} {}: class {} has {} images; a balanced split of {} needs {} to validate, {} "
                "to test and at least one to train",
                spec,
                label,
                counts[label],
                len(images),
                *(max(1, quota[part]) for part in ("val", "test")),
            )
    part_of: dict[str, str] = {}
    for part in ("test", "val"):
        part_of |= dict.fromkeys(
            _draw(images, part_of, dict.fromkeys(classes, quota[part]), rng), part
        )
    rows: list[Row] = []
    held: Counter[tuple[str, str]] = Counter()
    surplus: Counter[str] = Counter()
    for index in rng.permutation(
        len(images)
    ).tolist():  # random order: surplus images are left out by chance
        image, label, unit = images[index]
        part = part_of.get(unit, "train")
        held[part, label] += 1
        if part != "train" and held[part, label] > quota[part]:
            surplus[part] += 1
        else:
            rows.append((image, 1, part))
    warnings = [
        f"{count} images of groups in the {part} part are left out, so that it holds as many of each class"
        for part, count in sorted(surplus.items())
    ]
    for part, most in quota.items():
        if any(held[part, label] < most for label in classes):
            present = ", ".join(f"{label} {min(held[part, label], most)}" for label in classes)
            warnings.append(
                f"the {part} part is not balanced, too few groups hold a class: {present}"
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
    """Draw groups that reach the quota of every class with the least surplus, the best of several random orders.

    One group of each class is always left for training. With `near`, the numbers come as close to the quotas as
    possible, from above or below, with some images of every class.
    """
    members: dict[str, Counter[str]] = {}
    for _, label, unit in images:
        members.setdefault(unit, Counter())[label] += 1
    free = sorted(set(members) - set(taken))
    best: list[str] = []
    least = (sum(quota.values()) + 1, 0)

    def distance(held: Counter[str], labels: Iterable[str]) -> int:
        return sum(abs(held[label] - quota[label]) for label in labels)

    for _ in range(_TRIES):
        held: Counter[str] = Counter()
        chosen = []
        left = Counter(label for name in free for label in members[name])
        for index in rng.permutation(len(free)).tolist():
            group = members[free[index]]
            if near:
                nearer = distance(held + group, group) < distance(held, group)
                useful = nearer or not all(held[label] for label in group)
            else:
                useful = any(held[label] < quota[label] for label in group)
            if useful and all(left[label] > 1 for label in group):
                held += group
                left -= Counter(list(group))
                chosen.append(free[index])
        if near:
            misses = sum(not held[label] for label in quota), distance(held, quota)
        else:
            short = sum(max(0, most - held[label]) for label, most in quota.items())
            over = sum(max(0, held[label] - most) for label, most in quota.items())
            misses = short, over
        if misses < least:
            best, least = chosen, misses
        if least == (0, 0):
            break
    return best


Indices = npt.NDArray[np.int64]


def draw_folds(
    spec: str,
    image_ids: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str | None],
    known: DatasetFacts,
    *,
    grouped: bool,
    seed: int,
) -> FoldPlan:
    """Draw folds that keep near-duplicates together and, with `grouped`, groups.

    Raises
    ------
    ScarceError
        Images or groups are too few, or a class has no training image in a fold.
    """
    owners = groups if grouped else [None] * len(groups)
    make = holdout_plan if HOLDOUT.fullmatch(spec) else _stratified_plan

    def split(copies: Sequence[tuple[str, str]]) -> FoldPlan:
        units = join_units(image_ids, owners, copies)
        return make(
            spec, image_ids=image_ids, labels=labels, units=units, grouped=grouped, seed=seed
        )

    plan = split(())
    present = set(image_ids)
    copies = [pair for pair in known.copies or () if present.issuperset(pair)]
    if copies:
        joined: FoldPlan | None = None
        with contextlib.suppress(InputError):  # the joined units may be too large
            joined = split(copies)
        if joined is not None and _is_of_use(
            joined, plan, dict(zip(image_ids, labels, strict=True))
        ):
            group_of = dict(zip(image_ids, groups, strict=True))
            apart = [
                pair
                for pair in copies
                if None in (of := [group_of[image] for image in pair]) or of[0] != of[1]
            ]
            note = (
                f"{pairs_alike(len(apart))}; both of a pair stay in one part of each fold, but intervals count each "
                "as an image of its own"
            )
            plan = replace(joined, warnings=(*joined.warnings, *([note] if apart else ())))
        else:  # near-duplicates stay in different parts; `fold_plan` warns of them
            copies = []
    if copies or (grouped and None in groups):
        together = (
            groups if None not in groups else owners
        )  # inner folds keep groups together if all are known
        units = join_units(image_ids, together, copies)
        plan = replace(plan, units=dict(zip(image_ids, units, strict=True)))
    for fold, classes in plan.untrained(dict(zip(image_ids, labels, strict=True))).items():
        raise ScarceError(
            "{folds} {}: no image of class {} trains in fold {}", spec, ", ".join(classes), fold
        )
    return plan


def scarce(
    error: ScarceError,
    spec: str,
    *,
    labels: Sequence[str],
    groups: Sequence[str | None],
    grouped: bool,
    **others: Any,
) -> InputError:
    """Return the refusal of folds that these images are too few for; what it suggests was tried, and can be drawn.

    Parameters
    ----------
    error : ScarceError
        The reason; if one group holds all images of a class, so that no number of folds helps, the refusal names both.
    spec, labels, groups, grouped, **others
        As for `draw_folds`; other folds than drawn ones may have been asked for.
    """
    reason: Exception | Message = error
    images, owners = Counter(labels), {label: set[str | None]() for label in sorted(set(labels))}
    for label, group in zip(labels, groups, strict=True):
        owners[label].add(group)

    def drawn(specs: Iterable[str], *, grouped: bool = grouped) -> str:
        for spec in specs:
            with contextlib.suppress(ScarceError):
                draw_folds(spec, labels=labels, groups=groups, grouped=grouped, **others)
                return spec
        return ""

    test = spec.rpartition("/")[2]
    if not (spec.isdecimal() or HOLDOUT.fullmatch(spec)):
        draw = (
            [Message("or draw folds, such as {folds:{}}", other)]
            if (other := drawn("5432"))
            else []
        )
        return InputError("{}", reason, remedies=draw)
    most = min(_MOST_TRIED, *images.values())
    nearest = (*range(min(most, int(test) - 1), 1, -1), *range(int(test) + 1, most + 1))
    specs = [f"{100 - int(test)}/{test}"] if "/" in spec else list(map(str, nearest))
    lone = next((label for label, of in owners.items() if len(of) == 1 and None not in of), None)
    if not grouped or lone is None:
        use = [Message("use {folds:{}}", other)] if (other := drawn(specs)) else []
        return InputError(
            "{}", reason, remedies=[*use, "add images" + " of other patients" * grouped]
        )
    what = (
        f"all {images[lone]} images of class {lone} are"
        if images[lone] > 1
        else f"the only image of {lone} is"
    )
    reason = Message(
        "{folds} {}: {} of one patient{}", spec, what, Names(f" ({owners[lone].pop()})")
    )
    cures = [f"add images of a second patient with class {lone}"]
    if other := drawn([spec, *specs], grouped=False):
        more = "" if other == spec else Message(" and {folds:{}}", other)
        cures.append(
            Message("use {group_by:none}{}, with results that are too high for new patients", more)
        )
    return InputError("{}", reason, remedies=cures)


def _is_of_use(plan: FoldPlan, before: FoldPlan, label_of: Mapping[str, str]) -> bool:
    """Whether every class has training images in every fold, and no part of `before` has become empty."""
    filled = {(fold, part) for _, fold, part in plan.rows}
    return filled >= {(fold, part) for _, fold, part in before.rows} and not plan.untrained(
        label_of
    )


def _stratified_plan(
    spec: str,
    *,
    image_ids: Sequence[str],
    labels: Sequence[str],
    units: Sequence[str],
    grouped: bool,
    seed: int,
) -> FoldPlan:
    """Draw stratified folds with scikit-learn, of groups or else of images with their near-duplicates."""
    count = int(spec)
    if count < 2:
        raise InputError("{folds} {}: give at least 2 folds", count)
    for label, images in sorted(Counter(labels).items()):
        if images < count:
            held = "1 image" if images == 1 else f"{images} images"
            raise ScarceError("class {} has {}, fewer than the {} folds", label, held, count)
    chosen = list(range(len(units)))
    if grouped:
        if len(set(units)) < count:
            raise ScarceError("{} groups are fewer than the {} folds", len(set(units)), count)
    else:
        # one image represents its near-duplicates; without near-duplicates, the folds are those of plain scikit-learn
        chosen = sorted({unit: index for index, unit in reversed(list(enumerate(units)))}.values())
        if (
            len(chosen) < len(labels)
            and min(Counter(labels[index] for index in chosen).values()) < count
        ):
            raise ScarceError(
                "{folds} {}: a class has fewer images without near-duplicates than folds", count
            )
    splits = _stratified(
        [labels[index] for index in chosen], units if grouped else None, count=count, seed=seed
    )
    rows: list[Row] = []
    for number, (_, places) in enumerate(splits, start=1):
        tested = {units[chosen[index]] for index in places.tolist()}
        if not tested:
            raise ScarceError(
                "{folds} {}: fold {} would be empty, the groups are too large", count, number
            )
        rows.extend(
            (image, number, "test" if unit in tested else "train")
            for image, unit in zip(image_ids, units, strict=True)
        )
    return FoldPlan(
        f"{count}-grouped" if grouped else str(count), tuple(rows), partition=True, origin="split"
    )


def inner_splits(
    labels: Indices, groups: Sequence[str | None], *, count: int, seed: int
) -> list[tuple[Indices, Indices]]:
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
    labels: Sequence[str] | Indices, groups: Sequence[str] | None, *, count: int, seed: int
) -> Iterator[tuple[Indices, Indices]]:
    """Yield splits by scikit-learn as positions that train and that are held out; groups are kept together if given."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(count, shuffle=True, random_state=seed)
    yield from splitter.split(np.zeros(len(labels)), labels, groups)
