"""Repeated cross-validation: the same protocol on several splits, as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...errors import InputError
from .plans import FoldPlan


def repeat_folds(plans: Sequence[FoldPlan]) -> FoldPlan:
    """Put splits of one protocol under several seeds together, the folds of each after those of the one before.

    Parameters
    ----------
    plans : sequence of FoldPlan
        Of the same images and shares; fold f of split r (both from 1) becomes fold ``(r - 1) * folds + f``.

    Returns
    -------
    FoldPlan
        Every image is tested once a split, so it is no partition. Called ``<name>-repeated<splits>``.

    Raises
    ------
    InputError
        The folds are not drawn: other splits would be the same.
    """
    first, splits = plans[0], len(plans)
    if splits == 1:
        return first
    if first.origin != "split":
        raise InputError(f"`repeats` {splits}: goes with folds that are drawn, not with {first.name}, which are fixed")
    count = len(first.folds)
    rows = [(i, fold + place * count, part) for place, plan in enumerate(plans) for i, fold, part in plan.rows]
    before = [replace(plan.before or plan, before=None) for plan in plans]
    return replace(
        first,
        name=f"{first.name}-repeated{splits}",
        rows=tuple(rows),
        partition=False,
        warnings=tuple(_said(plans)),
        repeats=splits,
        before=repeat_folds(before) if any(plan.before for plan in plans) else None,
    )


def _said(plans: Sequence[FoldPlan]) -> Iterator[str]:
    """Say once what holds for every split, and of which one what does not."""
    shared = set.intersection(*(set(plan.warnings) for plan in plans))
    yield from (text for text in plans[0].warnings if text in shared)
    for place, plan in enumerate(plans, start=1):
        yield from (f"split {place} of {len(plans)}: {text}" for text in plan.warnings if text not in shared)
