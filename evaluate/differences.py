"""Differences of two tables over the same rows, with intervals that know what is independent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .intervals import Sampled
from .predictions import PredictionTable
from .shares import kish
from .two_class import TwoClassView, default_positive, positive_mask, two_sides
from .weighted import auc_influence, weighted_auc

_LEVEL = 0.975

_RANKS = 1.25
"""By how much more the variance of a difference of AUCs over folds is raised (ours): ranks mix the scores of their
models. Without it ``benchmarks/coverage.py`` finds 92.3 to 92.8 % for LightGBM."""

_FEW_CALLS = 0.75
"""Variance that is added to that of a difference of precisions, over the squared worth of the fewer calls (ours)."""

Difference = dict[str, Any]
Truth = npt.NDArray[np.bool_]


def paired_differences(
    first: PredictionTable, second: PredictionTable, sampled: Sampled, view: TwoClassView
) -> dict[str, Difference]:
    """Return how much better the second table is than the first.

    Parameters
    ----------
    first, second : PredictionTable
        Of the same rows in the same order.
    sampled : Sampled
        What is independent of them.
    view : TwoClassView
        Gives sensitivity and specificity, which are those at 0.5.

    Returns
    -------
    dict
        ``accuracy``, ``balanced_accuracy``, and where they are defined ``auc``, ``sensitivity`` and ``specificity``:
        ``difference``, ``interval`` and ``method``.
    """
    hits = [(table.predicted == table.labels).astype(np.float64) for table in (first, second)]
    change = hits[1] - hits[0]
    everywhere = np.ones(len(first), dtype=bool)
    of_classes = [inside for place in range(len(first.classes)) if (inside := first.labels == place).any()]
    found = {
        "accuracy": share_difference(change, [everywhere], sampled),
        "balanced_accuracy": share_difference(change, of_classes, sampled),
    }
    if (auc := _auc_difference(first, second, sampled)) is not None:
        found["auc"] = auc
    positive = view.positive or default_positive(first.classes)
    if positive:
        (truth, scores), (_, others) = (two_sides(table, positive, view.rule) for table in (first, second))
        right = [((one >= 0.5) == truth).astype(np.float64) for one in (scores, others)]
        for name, inside in (("sensitivity", truth), ("specificity", ~truth)):
            if inside.any():
                found[name] = share_difference(right[1] - right[0], [inside], sampled)
    return found


def share_difference(change: npt.NDArray[np.float64], parts: Sequence[Truth], sampled: Sampled) -> Difference:
    """Return the mean over parts of the mean change of their rows, and its interval.

    The interval is that of Bonett and Price for as many independent rows as the part is worth: its variance over units,
    against that of independent rows, says how many.

    Parameters
    ----------
    change : ndarray of float64, shape (n,)
        -1 where the first table alone is right, 1 where the second is; between them where rows are means.
    parts : sequence of ndarray of bool, shape (n,)
        Rows of each part, such as those of a class.
    sampled : Sampled

    References
    ----------
    Bonett & Price 2012 (paired shares); Kish 1965, sec. 8.2 (the effect of a design).
    """
    from scipy.stats import t as student

    effect = np.zeros(len(change))
    alone, means = 0.0, []
    for inside in parts:
        values, rows = change[inside], int(inside.sum())
        means.append(float(values.mean()))
        effect[inside] += (values - means[-1]) / rows / len(parts)
        alone += float(values.var()) / rows / len(parts) ** 2
    sizes = [np.bincount(sampled.member[inside]) for inside in parts]
    whole = np.bincount(sampled.member[np.any(parts, axis=0)])
    clustered, units = whole.max() > 1, kish(whole)
    # below 1 where units have rows in several parts, which then are not independent
    shared = np.count_nonzero(whole) / sum(map(np.count_nonzero, sizes))
    together = float(np.square(np.bincount(sampled.member, weights=effect)).sum()) * units / max(units - 1.0, 1.0)
    design = max(together / alone, 1.0) if alone > 0 and clustered else 1.0
    middle = variance = 0.0
    for inside, size in zip(parts, sizes, strict=True):
        values = change[inside]
        # where no row changes, nothing says how much rows of a unit agree: then they count as one
        worth = kish(size) * shared**0.5 if alone == 0.0 else max(len(values) / design, kish(size) * shared)
        worth /= sampled.widen
        better, worse = ((worth * np.maximum(sign * values, 0.0).mean() + 1.0) / (worth + 2.0) for sign in (1.0, -1.0))
        middle += (better - worse) / len(parts)
        variance += (better + worse - (better - worse) ** 2) / (worth + 2.0) / len(parts) ** 2
    freedom = max(units - 1.0, 1.0) if clustered else np.inf
    half = float(student.ppf(_LEVEL, freedom)) * variance**0.5
    difference = float(np.mean(means))
    return {
        "difference": difference,
        "interval": [max(-1.0, min(difference, middle - half)), min(1.0, max(difference, middle + half))],
        "method": "Bonett-Price, effective rows, t" if clustered else "Bonett-Price",
    }


def _auc_difference(first: PredictionTable, second: PredictionTable, sampled: Sampled) -> Difference | None:
    """Return the difference of the mean one-against-the-rest AUC, by the influence of each unit."""
    if first.probabilities is None or second.probabilities is None or set(first.classes) != set(second.classes):
        return None
    effect, difference, smallest = np.zeros(len(first)), 0.0, np.inf
    for place, name in enumerate(first.classes):
        truth = first.labels == place
        if truth.all() or not truth.any():
            return None
        for sign, table in ((-1.0, first), (1.0, second)):
            scores = np.asarray(table.probabilities)[:, table.classes.index(name)]
            difference += sign * float(weighted_auc(truth, scores, np.ones((1, len(truth))))[0]) / len(first.classes)
            effect += sign * auc_influence(truth, scores) / len(first.classes)
        smallest = min(smallest, *(kish(np.bincount(sampled.member[side])) for side in (truth, ~truth)))
    total = np.bincount(sampled.member, weights=effect)
    # where both rank alike the spread is that of one case of the smaller side for and one against, as of a share; a
    # part of it is left where they nearly do, since few swapped pairs say little of how many there could be
    least = 2.0 / (smallest + 2.0) ** 2
    widen = sampled.widen * (_RANKS if sampled.widen > 1.0 else 1.0)
    added = least / 32.0 if total.any() else least
    return _linearised(difference, total, added=added, widen=widen, smallest=smallest, method="DeLong")


def _linearised(
    difference: float, total: npt.NDArray[Any], *, added: float, widen: float, smallest: float, method: str
) -> Difference:
    """Return a difference with its interval from the influence of each unit, to whose variance something is added."""
    from scipy.stats import t as student

    spread = float(np.square(total).sum()) * len(total) / max(len(total) - 1, 1)
    half = float(student.ppf(_LEVEL, max(smallest - 1.0, 1.0))) * ((spread + added) * widen) ** 0.5
    return {
        "difference": difference,
        "interval": [max(-1.0, difference - half), min(1.0, difference + half)],
        "method": f"{method}, over units, t",
    }


def precision_difference(
    first: PredictionTable, second: PredictionTable, positive: Sequence[str] = (), *, f1: bool = False
) -> Difference | None:
    """Return by how much more of what the second table calls positive is so, linearised over units.

    Parameters
    ----------
    first, second : PredictionTable
        Of the same rows in the same order.
    positive : sequence of str
        By default that of a known dataset.
    f1 : bool
        By how much its F1 is higher, in place of its precision.

    Returns
    -------
    dict or None
        ``difference``, ``interval`` and ``method``; None without a positive side, or where a table calls nothing so.

    References
    ----------
    Moskowitz & Pepe 2006 for independent rows.
    """
    chosen = tuple(positive) or default_positive(first.classes)
    if not chosen:
        return None
    sampled = Sampled(first)
    truth = positive_mask(first.classes, chosen)[first.labels]
    effect, shares, smallest = np.zeros(len(first)), [], np.inf
    for sign, table in ((-1.0, first), (1.0, second)):
        called = positive_mask(table.classes, chosen)[table.predicted]
        if not called.any():
            return None
        # precision is hits by calls; F1 is twice the hits by calls and positive rows together
        hits, counted = (called & truth) * (2.0 if f1 else 1.0), called * 1.0 + (truth if f1 else 0.0)
        shares.append(float(hits.sum() / counted.sum()))
        effect += sign * (hits - shares[-1] * counted) / counted.sum()
        smallest = min(smallest, kish(np.bincount(sampled.member[counted > 0])))
    total = np.bincount(sampled.member, weights=effect)
    # as of AUCs: where few calls differ, or none is wrong, their spread says little of what it could be
    added, widen = _FEW_CALLS / (smallest + 2.0) ** 2, sampled.widen
    return _linearised(shares[1] - shares[0], total, added=added, widen=widen, smallest=smallest, method="linearised")
