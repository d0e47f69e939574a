"""The refusal of folds for which there are too few images or patients, with what can be done instead."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence

from ...core import InputError, Message, Names
from ..classes import measured
from .plans import ScarceError
from .split import HOLDOUT, Pool, draw_folds

_MOST_TRIED = 20
"""Largest number of folds that a refusal suggests."""


def scarce(error: ScarceError, spec: str, pool: Pool) -> InputError:
    """Return the refusal of folds for which there are too few images; it suggests only folds that could be drawn.

    Parameters
    ----------
    error : ScarceError
        The reason. If one group holds all images of a class, so that no number of folds helps, that is named instead.
    spec : str
        The folds that were asked for: a specification of `draw_folds`, or folds that are not drawn.
    pool : Pool
    """
    remedies: list[str] = []
    values = measured(pool.labels)
    if values:
        return InputError("{folds} {}: {}", spec, values)
    if not (spec.isdecimal() or HOLDOUT.fullmatch(spec)):
        suggestion = first_drawn("5432", pool)
        if suggestion:
            remedies.append(Message("or draw folds, such as {folds:{}}", suggestion))
        return InputError("{}", error, remedies=remedies)
    specs = _nearest(spec, pool)
    owners: dict[str, set[str | None]] = {label: set() for label in sorted(set(pool.labels))}
    for label, group in zip(pool.labels, pool.groups, strict=True):
        owners[label].add(group)
    lone = [label for label, groups in owners.items() if len(groups) == 1 and None not in groups]
    if pool.grouped and lone:
        return _lone_patient(spec, specs, pool, lone[0])
    suggestion = first_drawn(specs, pool)
    if suggestion:
        remedies.append(Message("use {folds:{}}", suggestion))
    remedies.append("add images of other patients" if pool.grouped else "add images")
    return InputError("{}", error, remedies=remedies)


def _nearest(spec: str, pool: Pool) -> list[str]:
    """Return the specifications of folds to try instead: the nearest numbers, or a hold-out in two parts."""
    test = int(spec.rpartition("/")[2])
    if "/" in spec:
        return [f"{100 - test}/{test}"]
    most = min(_MOST_TRIED, *Counter(pool.labels).values())
    numbers = (*range(min(most, test - 1), 1, -1), *range(test + 1, most + 1))
    return list(map(str, numbers))


def first_drawn(specs: Iterable[str], pool: Pool) -> str:
    """Return the first specification by which each fold would test several classes; empty if there is none."""
    for spec in specs:
        with contextlib.suppress(ScarceError):
            fold_classes = draw_folds(spec, pool).classes_in("test", pool.label_of).values()
            if min(map(len, fold_classes)) > 1:
                return spec
    return ""


def _lone_patient(spec: str, specs: Sequence[str], pool: Pool, label: str) -> InputError:
    """Return the refusal of folds by patient if one patient has all images of a class."""
    groups = [group for name, group in zip(pool.labels, pool.groups, strict=True) if name == label]
    subject = f"the only image of {label} is"
    if len(groups) > 1:
        subject = f"all {len(groups)} images of class {label} are"
    reason = Message("{folds} {}: {} of one patient{}", spec, subject, Names(f" ({groups[0]})"))
    cures = [f"add images of a second patient with class {label}"]
    suggestion = first_drawn([spec, *specs], pool._replace(grouped=False))
    if suggestion:
        more = "" if suggestion == spec else Message(" and {folds:{}}", suggestion)
        text = "use {group_by:none}{}, with results that are too high for new patients"
        cures.append(Message(text, more))
    return InputError("{}", reason, remedies=cures)
