"""Folds that are split: stratified, groups whole where they are known, and copies of one image in one part."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...errors import InputError
from ..findings import pairs_alike
from ..particulars import Particulars
from .holdout import HOLDOUT, holdout_plan
from .plans import FoldPlan, Row
from .units import join_units


def split_together(
    spec: str,
    image_ids: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str | None],
    known: Particulars,
    *,
    grouped: bool,
    seed: int,
) -> FoldPlan:
    """Split, with groups whole if asked to, and copies of an image always; and the same without looking for copies."""
    owners = groups if grouped else [None] * len(groups)

    def split(copies: Sequence[tuple[str, str]]) -> FoldPlan:
        units = join_units(image_ids, owners, copies)
        return _split(spec, image_ids, labels, units, grouped=grouped, seed=seed)

    plan = split(())
    here = set(image_ids)
    copies = [pair for pair in known.copies or () if here.issuperset(pair)]
    if copies:
        joined: FoldPlan | None = None
        with contextlib.suppress(InputError):  # too much is joined
            joined = split(copies)
        if joined is not None and _trains_on_all(joined, dict(zip(image_ids, labels, strict=True))):
            note = (
                f"{pairs_alike(len(copies))}; both of a pair stay in one part of each fold, but intervals count each "
                "as an image of its own, unless one patient has both"
            )
            before = plan if joined.sha256 != plan.sha256 else None
            plan = replace(joined, before=before, warnings=(*joined.warnings, note))
        else:  # those that train and test at once are named
            copies = []
    # where copies change no fold, the folder may be older: inside its training parts nothing may change either
    if plan.before is not None or (grouped and None in groups):
        whole = groups if None not in groups else owners  # inside a training part groups are whole where all are known
        units = join_units(image_ids, whole, copies)
        plan = replace(plan, units=dict(zip(image_ids, units, strict=True)))
    return plan


def _trains_on_all(plan: FoldPlan, label_of: Mapping[str, str]) -> bool:
    """Whether images of every class train in every fold."""
    wanted = set(label_of.values())
    return all({label_of[image] for image in plan.images(fold, "train")} == wanted for fold in plan.folds)


def _split(
    spec: str, image_ids: Sequence[str], labels: Sequence[str], units: Sequence[str], *, grouped: bool, seed: int
) -> FoldPlan:
    """Split units of images by scikit-learn, or by shares; by image where they are not groups."""
    if HOLDOUT.fullmatch(spec):
        return holdout_plan(spec, image_ids=image_ids, labels=labels, units=units, grouped=grouped, seed=seed)
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    count = int(spec)
    if count < 2:
        raise InputError(f"`spec` {count}: give at least 2 folds")
    for label, images in sorted(Counter(labels).items()):
        if images < count:
            fewer = f"use `spec={images}` or add images" if images > 1 else "add images"
            raise InputError(f"class {label} has {images} images, fewer than the {count} folds; {fewer}")
    if not grouped:
        # one image stands for its copies, so that without any the folds are what they always were
        first = {unit: place for place, unit in reversed(list(enumerate(units)))}
        chosen = sorted(first.values())
        if len(chosen) < len(labels) and min(Counter(labels[place] for place in chosen).values()) < count:
            raise InputError(f"`spec` {count}: a class has fewer images that are no copies than folds; use fewer")
        splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
        parts = splitter.split(np.zeros(len(chosen)), [labels[place] for place in chosen])
        tests = [{units[chosen[i]] for i in test.tolist()} for _, test in parts]
        name = str(count)
    else:
        if len(set(units)) < count:
            raise InputError(f"{len(set(units))} groups are fewer than the {count} folds; use fewer `folds`")
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        parts = splitter.split(np.zeros(len(labels)), labels, units)
        tests = [{units[i] for i in test.tolist()} for _, test in parts]
        name = f"{count}-grouped"
    rows: list[Row] = []
    for number, tested in enumerate(tests, start=1):
        if not tested:
            raise InputError(f"`spec` {count}: fold {number} would be empty, the groups are too large; use fewer")
        rows.extend(
            (image, number, "test" if unit in tested else "train") for image, unit in zip(image_ids, units, strict=True)
        )
    return FoldPlan(name, tuple(rows), partition=True, origin="split")
