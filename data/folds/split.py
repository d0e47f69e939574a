"""Folds that are drawn: stratified, with groups and near-duplicates kept together.

Also inner folds of a training part, for model selection and early stopping.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ...core import InputError
from ..dataset import DatasetFacts
from ..findings import pairs_alike
from .holdout import HOLDOUT, holdout_plan
from .plans import FoldPlan, Row, ScarceError, join_units

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
        return make(spec, image_ids=image_ids, labels=labels, units=units, grouped=grouped, seed=seed)

    plan = split(())
    present = set(image_ids)
    copies = [pair for pair in known.copies or () if present.issuperset(pair)]
    if copies:
        joined: FoldPlan | None = None
        with contextlib.suppress(InputError):  # the joined units may be too large
            joined = split(copies)
        if joined is not None and _is_of_use(joined, plan, dict(zip(image_ids, labels, strict=True))):
            group_of = dict(zip(image_ids, groups, strict=True))
            apart = [pair for pair in copies if None in (of := [group_of[image] for image in pair]) or of[0] != of[1]]
            note = (
                f"{pairs_alike(len(apart))}; both of a pair stay in one part of each fold, but intervals count each "
                "as an image of its own"
            )
            plan = replace(joined, warnings=(*joined.warnings, *([note] if apart else ())))
        else:  # near-duplicates stay in different parts; `fold_plan` warns of them
            copies = []
    if copies or (grouped and None in groups):
        together = groups if None not in groups else owners  # inner folds keep groups together if all are known
        units = join_units(image_ids, together, copies)
        plan = replace(plan, units=dict(zip(image_ids, units, strict=True)))
    for fold, classes in plan.untrained(dict(zip(image_ids, labels, strict=True))).items():
        raise ScarceError("{folds} {}: no image of class {} trains in fold {}", spec, ", ".join(classes), fold)
    return plan


def _is_of_use(plan: FoldPlan, before: FoldPlan, label_of: Mapping[str, str]) -> bool:
    """Whether every class has training images in every fold, and no part of `before` has become empty."""
    filled = {(fold, part) for _, fold, part in plan.rows}
    return filled >= {(fold, part) for _, fold, part in before.rows} and not plan.untrained(label_of)


def _stratified_plan(
    spec: str, *, image_ids: Sequence[str], labels: Sequence[str], units: Sequence[str], grouped: bool, seed: int
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
        if len(chosen) < len(labels) and min(Counter(labels[index] for index in chosen).values()) < count:
            raise ScarceError("{folds} {}: a class has fewer images without near-duplicates than folds", count)
    splits = _stratified([labels[index] for index in chosen], units if grouped else None, count=count, seed=seed)
    rows: list[Row] = []
    for number, (_, places) in enumerate(splits, start=1):
        tested = {units[chosen[index]] for index in places.tolist()}
        if not tested:
            raise ScarceError("{folds} {}: fold {} would be empty, the groups are too large", count, number)
        rows.extend(
            (image, number, "test" if unit in tested else "train") for image, unit in zip(image_ids, units, strict=True)
        )
    return FoldPlan(f"{count}-grouped" if grouped else str(count), tuple(rows), partition=True, origin="split")


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
