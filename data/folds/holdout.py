"""One hold-out by shares: 80/10/10 with validation and test parts balanced by class, 70/30 stratified; groups whole."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from ...core import InputError
from .plans import FoldPlan, Row

HOLDOUT = re.compile(r"(\d{1,2})/(\d{1,2})(?:/(\d{1,2}))?")
"""Shares in percent that train, validate and test, or train and test."""

_TRIES = 200
"""Orders of the groups that are tried for the best balance."""

_NEAR = 0.05
"""Of a class's images: how many more or fewer than its share may test before it is said."""

_Image = tuple[str, str, str]
"""Image id, class, and what it is kept whole with."""


def holdout_plan(
    spec: str, *, image_ids: Sequence[str], labels: Sequence[str], units: Sequence[str], grouped: bool, seed: int
) -> FoldPlan:
    """Split once: into three with as many images of each class to validate and to test, or in two, stratified.

    Parameters
    ----------
    spec : str
        ``train/val/test`` or ``train/test`` in percent.
    image_ids, labels : sequence
        One entry per image.
    units : sequence of str
        Kept whole: groups, or images with their copies.
    grouped : bool
        Whether they are groups, for the name.
    seed : int

    Returns
    -------
    FoldPlan
        Of one fold. Groups stay whole. Of three parts surplus images of a class in the validation and test parts are
        left out, which a warning counts; another one says so where too few groups hold a class. Of two parts all
        images are used, and a warning names classes whose share is not met.

    Raises
    ------
    InputError
        Shares that do not add up to 100, or too few images of a class.

    References
    ----------
    Seed of ``ddsm-masses``: 80/10/10 by patient, validation and test balanced.
    """
    shares = [int(part) for part in spec.split("/")]
    if sum(shares) != 100 or min(shares) < 1:
        raise InputError(
            "{folds} {}: give two or three shares in percent that add up to 100, for example 70/30 or 80/10/10", spec
        )
    images = list(zip(image_ids, labels, units, strict=True))
    rng = np.random.default_rng(np.random.SeedSequence([seed, *shares]))
    split = _stratified if len(shares) == 2 else _balanced
    rows, warnings = split(spec, shares, images, rng)
    name = spec.replace("/", "-") + ("-grouped" if grouped else "")
    return FoldPlan(name, tuple(sorted(rows)), partition=False, warnings=tuple(warnings), origin="split")


def _stratified(
    spec: str, shares: Sequence[int], images: Sequence[_Image], rng: np.random.Generator
) -> tuple[list[Row], list[str]]:
    """Train and test, with the same share of every class; at least one image of each does either."""
    counts = Counter(label for _, label, _ in images)
    if scarce := [label for label, count in sorted(counts.items()) if count < 2]:
        raise InputError(
            "{folds} {}: class {} has 1 image; a split needs one to train and one to test", spec, scarce[0]
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
    text = f"groups are kept together, so the test set does not hold {shares[1]} % of every class: {', '.join(off)}"
    return rows, [text] if off else []


def _balanced(
    spec: str, shares: Sequence[int], images: Sequence[_Image], rng: np.random.Generator
) -> tuple[list[Row], list[str]]:
    """Train, validate and test, with as many images of every class in the last two."""
    counts = Counter(label for _, label, _ in images)
    classes = sorted(counts)
    quota = {part: round(shares[index] / 100 * len(images) / len(classes)) for index, part in ((1, "val"), (2, "test"))}
    for label in classes:
        if min(quota.values()) < 1 or counts[label] <= sum(quota.values()):
            raise InputError(
                "{folds} {}: class {} has {} images; a balanced split of {} needs {} to validate, {} "
                "to test and at least one to train",
                spec, label, counts[label], len(images), quota["val"], quota["test"],
            )  # fmt: skip
    part_of: dict[str, str] = {}
    for part in ("test", "val"):
        part_of |= dict.fromkeys(_draw(images, part_of, dict.fromkeys(classes, quota[part]), rng), part)
    rows: list[Row] = []
    held: Counter[tuple[str, str]] = Counter()
    surplus: Counter[str] = Counter()
    for index in rng.permutation(len(images)).tolist():  # which images of a patient are left out is chance
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
            there = ", ".join(f"{label} {min(held[part, label], most)}" for label in classes)
            warnings.append(f"the {part} part is not balanced, too few groups hold a class: {there}")
    return rows, warnings


def _draw(
    images: Sequence[_Image],
    taken: Collection[str],
    quota: Mapping[str, int],
    rng: np.random.Generator,
    *,
    near: bool = False,
) -> list[str]:
    """Draw groups that fill the quota of every class with the least surplus; the best of several orders.

    One group of each class is always left to train. With `near` they come as near to the quotas as they can, from
    either side, with some of every class.
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
                wanted = nearer or not all(held[label] for label in group)
            else:
                wanted = any(held[label] < quota[label] for label in group)
            if wanted and all(left[label] > 1 for label in group):
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
