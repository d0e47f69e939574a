"""Folds that are split: stratified, groups whole where they are known, and copies of one image in one part.

Also folds inside a training part, for whoever chooses or stops by images that do not train.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ...core import InputError, Message
from ..facts import DatasetFacts
from ..findings import pairs_alike
from .holdout import HOLDOUT, holdout_plan
from .plans import FoldPlan, Row
from .units import join_units

Indices = npt.NDArray[np.int64]


def split_together(
    spec: str,
    image_ids: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str | None],
    known: DatasetFacts,
    *,
    grouped: bool,
    seed: int,
) -> FoldPlan:
    """Split, with groups whole if asked to, and copies of an image always."""
    owners = groups if grouped else [None] * len(groups)
    make = holdout_plan if HOLDOUT.fullmatch(spec) else _stratified_plan

    def split(copies: Sequence[tuple[str, str]]) -> FoldPlan:
        units = join_units(image_ids, owners, copies)
        return make(spec, image_ids=image_ids, labels=labels, units=units, grouped=grouped, seed=seed)

    plan = split(())
    here = set(image_ids)
    copies = [pair for pair in known.copies or () if here.issuperset(pair)]
    if copies:
        joined: FoldPlan | None = None
        with contextlib.suppress(InputError):  # too much is joined
            joined = split(copies)
        if joined is not None and _is_of_use(joined, plan, dict(zip(image_ids, labels, strict=True))):
            group_of = dict(zip(image_ids, groups, strict=True))
            apart = [pair for pair in copies if None in (of := [group_of[image] for image in pair]) or of[0] != of[1]]
            note = (
                f"{pairs_alike(len(apart))}; both of a pair stay in one part of each fold, but intervals count each "
                "as an image of its own"
            )
            plan = replace(joined, warnings=(*joined.warnings, *([note] if apart else ())))
        else:  # those that train and test at once are named
            copies = []
    if copies or (grouped and None in groups):
        whole = groups if None not in groups else owners  # inside a training part groups are whole where all are known
        units = join_units(image_ids, whole, copies)
        plan = replace(plan, units=dict(zip(image_ids, units, strict=True)))
    return plan


def _is_of_use(plan: FoldPlan, before: FoldPlan, label_of: Mapping[str, str]) -> bool:
    """Whether images of every class train in every fold, and each part that had images before has some."""
    wanted = set(label_of.values())
    filled = {(fold, part) for _, fold, part in plan.rows}
    return filled >= {(fold, part) for _, fold, part in before.rows} and all(
        {label_of[image] for image in plan.images(fold, "train")} == wanted for fold in plan.folds
    )


def _stratified_plan(
    spec: str, *, image_ids: Sequence[str], labels: Sequence[str], units: Sequence[str], grouped: bool, seed: int
) -> FoldPlan:
    """Split units of images by scikit-learn; by image where they are not groups."""
    count = int(spec)
    if count < 2:
        raise InputError("{folds} {}: give at least 2 folds", count)
    for label, images in sorted(Counter(labels).items()):
        if images < count:
            fewer = Message("use {folds:{}} or add images", images) if images > 1 else "add images"
            raise InputError("class {} has {} images, fewer than the {} folds; {}", label, images, count, fewer)
    chosen = list(range(len(units)))
    if grouped:
        if len(set(units)) < count:
            raise InputError("{} groups are fewer than the {} folds; use fewer {folds}", len(set(units)), count)
    else:
        # one image stands for its copies, so that without any the folds are what they always were
        chosen = sorted({unit: index for index, unit in reversed(list(enumerate(units)))}.values())
        if len(chosen) < len(labels) and min(Counter(labels[index] for index in chosen).values()) < count:
            raise InputError(
                "{folds} {}: a class has fewer images without near-duplicates than folds; use fewer folds", count
            )
    splits = _stratified([labels[index] for index in chosen], units if grouped else None, count=count, seed=seed)
    rows: list[Row] = []
    for number, (_, places) in enumerate(splits, start=1):
        tested = {units[chosen[index]] for index in places.tolist()}
        if not tested:
            raise InputError("{folds} {}: fold {} would be empty, the groups are too large; use fewer", count, number)
        rows.extend(
            (image, number, "test" if unit in tested else "train") for image, unit in zip(image_ids, units, strict=True)
        )
    return FoldPlan(f"{count}-grouped" if grouped else str(count), tuple(rows), partition=True, origin="split")


def inner_splits(
    labels: Indices, groups: Sequence[str | None], *, count: int, seed: int
) -> list[tuple[Indices, Indices]]:
    """Split training images again, groups whole where all are known.

    Parameters
    ----------
    labels : ndarray of int, shape (images,)
    groups : sequence of str or None
    count : int
        Folds; fewer where a class has fewer images, or there are fewer groups.
    seed : int

    Returns
    -------
    list of (ndarray, ndarray)
        Positions of images that train and that are held out. A split whose training side lacks a class is left out, so
        there may be none.
    """
    owners = [group for group in groups if group is not None]
    grouped = len(owners) == len(labels)
    units = len(set(owners)) if grouped else len(labels)
    count = min(count, int(np.bincount(labels)[np.unique(labels)].min()), units)
    if count < 2:
        return []
    wanted = set(labels.tolist())
    return [
        (train, held)
        for train, held in _stratified(labels, owners if grouped else None, count=count, seed=seed)
        if len(held) and set(labels[train].tolist()) == wanted
    ]


def _stratified(
    labels: Sequence[str] | Indices, groups: Sequence[str] | None, *, count: int, seed: int
) -> Iterator[tuple[Indices, Indices]]:
    """Split by scikit-learn: positions that train and that are held out, groups whole where there are any."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(count, shuffle=True, random_state=seed)
    yield from splitter.split(np.zeros(len(labels)), labels, groups)
