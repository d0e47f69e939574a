"""One hold-out by shares, such as 80/10/10: groups whole, validation and test parts balanced by class."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ...errors import InputError
from .plans import FoldPlan, Row

__all__ = ["HOLDOUT", "holdout_plan"]

HOLDOUT = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{1,2})")
"""Shares in percent that train, validate and test."""

_TRIES = 200
"""Orders of the groups that are tried for the best balance (ours)."""


def holdout_plan(
    spec: str, *, image_ids: Sequence[str], labels: Sequence[str], units: Sequence[str], grouped: bool, seed: int
) -> FoldPlan:
    """Split once, with as many images of each class in the validation and in the test part.

    Parameters
    ----------
    spec : str
        ``train/val/test`` in percent.
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
        Of one fold. Groups stay whole, and surplus images of a class in the validation and test parts are left out,
        which a warning counts; another one says so where too few groups hold a class.

    Raises
    ------
    InputError
        Shares that do not add up to 100, or too few images of a class.

    References
    ----------
    Seed of ``ddsm-masses``: 80/10/10 by patient, validation and test balanced.
    """
    match = HOLDOUT.fullmatch(spec)
    shares = [int(part) for part in match.groups()] if match else []
    if sum(shares) != 100 or min(shares) < 1:
        raise InputError(f"`spec` {spec}: give three shares in percent that add up to 100, for example 80/10/10")
    classes = sorted(set(labels))
    quota = {part: round(shares[place] / 100 * len(labels) / len(classes)) for place, part in ((1, "val"), (2, "test"))}
    for label, count in sorted(Counter(labels).items()):
        if min(quota.values()) < 1 or count <= sum(quota.values()):
            raise InputError(
                f"`spec` {spec}: class {label} has {count} images; a balanced split of {len(labels)} needs "
                f"{quota['val']} to validate, {quota['test']} to test and at least one to train"
            )
    members: dict[str, Counter[str]] = {}
    for name, label in zip(units, labels, strict=True):
        members.setdefault(name, Counter())[label] += 1
    rng = np.random.default_rng(np.random.SeedSequence([seed, *shares]))
    part_of: dict[str, str] = {}
    for part in ("test", "val"):
        part_of.update(dict.fromkeys(_draw(members, part_of, classes, quota[part], rng), part))
    rows: list[Row] = []
    held: Counter[tuple[str, str]] = Counter()
    surplus: Counter[str] = Counter()
    for place in rng.permutation(len(labels)).tolist():  # which images of a patient are left out is chance
        part = part_of.get(units[place], "train")
        held[part, labels[place]] += 1
        if part != "train" and held[part, labels[place]] > quota[part]:
            surplus[part] += 1
        else:
            rows.append((image_ids[place], 1, part))
    warnings = [
        f"{count} images of groups in the {part} part are left out, so that it holds as many of each class"
        for part, count in sorted(surplus.items())
    ]
    for part in ("val", "test"):
        if any(held[part, label] < quota[part] for label in classes):
            counts = ", ".join(f"{label} {min(held[part, label], quota[part])}" for label in classes)
            warnings.append(f"the {part} part is not balanced, too few groups hold a class: {counts}")
    name = spec.replace("/", "-") + ("-grouped" if grouped else "")
    return FoldPlan(name, tuple(sorted(rows)), partition=False, warnings=tuple(warnings), origin="split")


def _draw(
    members: dict[str, Counter[str]],
    taken: dict[str, str],
    classes: Sequence[str],
    quota: int,
    rng: np.random.Generator,
) -> list[str]:
    """Draw groups that fill the quota of every class with the least surplus; the best of several orders.

    One group of each class is always left to train.
    """
    free = sorted(set(members) - set(taken))
    best: list[str] = []
    least = (quota * len(classes) + 1, 0)
    for _ in range(_TRIES):
        held: Counter[str] = Counter()
        chosen = []
        left = Counter(label for name in free for label in members[name])
        for place in rng.permutation(len(free)).tolist():
            group = members[free[place]]
            wanted = any(held[label] < quota for label in group)
            if wanted and all(left[label] > 1 for label in group):
                held += group
                left -= Counter(list(group))
                chosen.append(free[place])
        short = sum(max(0, quota - held[label]) for label in classes)
        over = sum(max(0, held[label] - quota) for label in classes)
        if (short, over) < least:
            best, least = chosen, (short, over)
        if least == (0, 0):
            break
    return best
