"""Paired tests between prediction tables over the same images, and the differences of their figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError, Message, Names
from .influence import LEVEL, Part, all_or_none, difference, f1_part, share_part
from .known_metrics import class_aucs, unit_mean
from .metrics import TwoClassView, default_positive, positive_mask, two_sides
from .predictions import PredictionTable, take_rows
from .variance import Units, difference_interval

FOLDS, FOLDS_OF_GROUPS = 1.155, 1.3
"""Factors of the variance of a test over folds, of independent rows and of groups with several: bchisto's choice, the
least with which tests of equal classifiers reject at most 6.5 % of real cross-validations in
``tools/benchmarks/coverage.py``, within its error."""

POWER = 0.8
"""Power at which a difference counts as detectable: a convention (Cohen 1988, sec. 2.4)."""


def compare_pairs(
    tables: Sequence[PredictionTable],
    *,
    views: Sequence[TwoClassView] = (),
    margin: float | None = None,
) -> list[dict[str, Any]]:
    """Compare every two tables that hold the same images, with the same true classes and folds.

    A table without folds is compared with one that has some, if that tests each image once.

    Parameters
    ----------
    tables : sequence of PredictionTable
    views : sequence of TwoClassView, optional
        Of each table. Two tables whose views differ have no difference of sensitivity and specificity.
    margin : float, optional
        As in `compare_tables`.

    Returns
    -------
    list of dict
        Of `compare_tables`, with ``first``, ``second`` and ``p_holm``, see `holm`.
    """
    pairs = []
    of_each = list(views) or [TwoClassView()] * len(tables)
    for (a, of_a), (b, of_b) in combinations(zip(tables, of_each, strict=True), 2):
        if _unlike(a, b) is not None:
            continue
        pair = {"first": a.name, "second": b.name, **compare_tables(a, b, view=of_a, margin=margin)}
        if _sides(a, of_a) != _sides(b, of_b):
            for name in ("sensitivity", "specificity"):
                pair["differences"].pop(name, None)
        pairs.append(pair)
    return holm(pairs)


def _sides(table: PredictionTable, view: TwoClassView) -> tuple[frozenset[str], str]:
    """Return the positive classes of a view, and its rule where there are more than two classes: else all are one."""
    mask = positive_mask(table.classes, view.positive or default_positive(table.classes))
    chosen = frozenset(name for name, yes in zip(table.classes, mask, strict=True) if yes)
    return chosen, view.rule or "sum" if len(table.classes) > 2 else ""


def holm(pairs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Correct the tests of all comparisons for their number: each with its ``p_holm``.

    Parameters
    ----------
    pairs : sequence of dict
        With ``p``.

    References
    ----------
    Holm 1979.

    Examples
    --------
    >>> [pair["p_holm"] for pair in holm([{"p": 0.04}, {"p": 0.01}])]
    [0.04, 0.02]
    """
    p = np.array([pair["p"] for pair in pairs], dtype=np.float64)
    order = np.argsort(p, kind="stable")
    p[order] = np.maximum.accumulate(np.minimum(1.0, np.arange(len(p), 0, -1) * p[order]))
    return [
        {**pair, "p_holm": corrected} for pair, corrected in zip(pairs, p.tolist(), strict=True)
    ]


def selection_notes(tables: Sequence[PredictionTable]) -> list[str]:
    """Return a sentence on how many tables of the same images are shown, because a reader would pick the best."""
    alike = Counter(frozenset((image, patch) for image, patch, _ in table.keys) for table in tables)
    return [
        f"{count} tables of the same images were looked at: the best of them looks better than it is, the more so the "
        "more there are; choose on other images than those that are reported, and read comparisons by Holm's p"
        for count in alike.values()
        if count > 2
    ]


def unlike_pairs(tables: Sequence[PredictionTable], *, rows: bool = True) -> list[str]:
    """Return which two tables cannot be compared, and why: their images, folds, classes, true classes or groups differ.

    Parameters
    ----------
    tables : sequence of PredictionTable
    rows : bool
        Whether those of different images or folds are named too.
    """
    return [
        Message("{} and {} are not compared: {}", a.name, b.name, reason)
        for a, b in combinations(tables, 2)
        if (rows or _keys(a, b).keys() == _keys(b, a).keys())
        and (reason := _unlike(a, b)) is not None
    ]


def _unlike(first: PredictionTable, second: PredictionTable) -> str | None:
    """Return why two tables cannot be compared."""
    of_first, of_second = _keys(first, second), _keys(second, first)
    only_first, only_second = of_first.keys() - of_second.keys(), of_second.keys() - of_first.keys()
    if only_first or only_second:
        if {key[:2] for key in of_first} == {key[:2] for key in of_second}:
            if first.fold_numbers and second.fold_numbers:
                return "they test the same images in other folds"
            return "one of them tests an image in several folds, and the other names no folds"
        counts = f"{len(only_first)} row{'s' * (len(only_first) != 1)} only in the first, {len(only_second)}"
        return f"{counts} only in the second"
    if set(first.classes) != set(second.classes):
        return f"the first has the classes {', '.join(first.classes)}, the second {', '.join(second.classes)}"
    for key, row in of_first.items():
        names = [first.classes[first.labels[row]], second.classes[second.labels[of_second[key]]]]
        if names[0] != names[1]:
            return Message(
                "they name different true classes for the same row{}", Names(f", {key[0]}")
            )
        if len({first.groups[row], second.groups[of_second[key]]} - {None}) > 1:
            return Message("they name different groups for the same row{}", Names(f", {key[0]}"))
    return None


def _keys(table: PredictionTable, other: PredictionTable) -> dict[tuple[str, str, int | None], int]:
    """Return the place of each row by image, patch and fold; without the fold, if one table names none."""
    keys = {key: row for row, key in enumerate(table.keys)}
    if table.fold_numbers and other.fold_numbers:
        return keys
    images: dict[tuple[str, str, int | None], int] = {
        (*key[:2], None): row for key, row in keys.items()
    }
    return images if len(images) == len(keys) else keys  # else folds test an image several times


def compare_tables(
    first: PredictionTable,
    second: PredictionTable,
    *,
    view: TwoClassView | None = None,
    margin: float | None = None,
) -> dict[str, Any]:
    """Test whether two tables differ.

    Parameters
    ----------
    first, second : PredictionTable
        Over the same images and folds, or one of them without folds; rows may stand in another order. A group that one
        of them lacks is taken from the other.
    view : TwoClassView, optional
        Of sensitivity and specificity.
    margin : float, optional
        A loss of accuracy that would not matter, above 0.

    Returns
    -------
    dict
        ``differences``, figures of the second minus those of the first (see `difference_parts`); ``test`` and its
        ``p``: ``mcnemar`` where every row is a unit, ``sign_flip`` where units hold several rows, over several folds
        with a larger variance (see `FOLDS`); ``variance_factor``, by which that was raised; ``least_p`` that so many
        units allow; ``detectable``, the difference that would have been found with a power of 80 % at the variance that
        the interval has, and ``units_needed`` to find the one that is seen; ``detectable_of``, of which of
        `differences` both are (``accuracy``, or ``by_unit`` if one unit outweighs the others); ``only_first`` and
        ``only_second``, rows that only one has right; ``unit`` and ``units``; with a margin, ``margin`` and
        ``not_inferior``, whether the interval shows that the second loses less than it (null without an interval).

    Raises
    ------
    InputError
        Tables of different rows, folds, classes, true classes or groups.

    References
    ----------
    McNemar 1947; Fagerland, Lydersen & Laake 2013 (mid-p); Fisher 1935, sec. 21 (signs).
    """
    if (reason := _unlike(first, second)) is not None:
        text = "{} and {} cannot be compared: {}; give tables of the same rows and classes"
        raise InputError(text, first.name, second.name, reason)
    places = _keys(second, first)
    other = take_rows(
        second, np.array([places[key] for key in _keys(first, second)], dtype=np.int64)
    )
    groups = tuple(
        a if a is not None else b for a, b in zip(first.groups, other.groups, strict=True)
    )
    folds = (
        first.folds if first.fold_numbers else other.folds
    )  # then both have AUCs of the same pairs
    first, other = replace(first, groups=groups, folds=folds), replace(other, folds=folds)
    units = Units.of(first)
    a, b = first.predicted == first.labels, other.predicted == other.labels
    change = b.astype(np.int64) - a
    parts_of = difference_parts(first, other, units, view or TwoClassView())
    differences = {
        name: difference_interval(parts, units).json() for name, parts in parts_of.items()
    }
    comparison = {
        "differences": differences,
        **paired_test(change, units),
        **_sample_size(differences, units),
        "only_first": int((a & ~b).sum()),
        "only_second": int((b & ~a).sum()),
        "unit": units.kind,
        "units": units.count,
    }
    if margin is not None:
        ends = differences["accuracy"]["interval"]
        comparison |= {
            "margin": margin,
            "not_inferior": None if ends is None else bool(ends[0] > -margin),
        }
    return comparison


def paired_test(change: npt.NDArray[np.int64], units: Units) -> dict[str, Any]:
    """Return the test of whether rows change for the better as often as for the worse, see `compare_tables`.

    Parameters
    ----------
    change : ndarray of int, shape (n,)
        1 where only the second table is right, -1 where only the first is, else 0.
    units : Units
    """
    factor = min(units.widen, FOLDS if units.single else FOLDS_OF_GROUPS)
    changes = np.bincount(units.member, weights=change).astype(np.int64)
    return {
        "test": "mcnemar" if units.single else "sign_flip",
        "p": _widened(sign_flip(changes), factor, int(np.count_nonzero(changes))),
        "variance_factor": factor,
        "least_p": _widened(2.0**-units.count, factor, units.count),
    }


def _sample_size(differences: dict[str, Any], units: Units) -> dict[str, Any]:
    """Return the difference that so many units would show, and how many units the one that is seen would need.

    They are of the accuracy; if one unit outweighs the others, of that by unit.
    """
    from scipy.stats import norm

    of = "accuracy" if differences["accuracy"]["interval"] else "by_unit"
    change = differences.get(of)
    if change is None or change["interval"] is None:
        return {"detectable": None, "detectable_of": None, "units_needed": None}
    low, high = change["interval"]
    detectable = (high - low) / 2.0 * float(1.0 + norm.ppf(POWER) / norm.ppf(LEVEL))
    seen = abs(change["value"])
    needed = None if seen < 1e-12 else int(np.ceil(units.count * (detectable / seen) ** 2))
    return {"detectable": min(detectable, 1.0), "detectable_of": of, "units_needed": needed}


def _widened(p: float, factor: float, differ: int) -> float:
    """Return the p of a statistic whose variance is larger by a factor than the test assumes.

    It is turned into a normal deviate, and that, over the root of the factor, is one of Student's distribution, with as
    many degrees of freedom as units that differ, less one.
    """
    from scipy.stats import norm, t

    return (
        p
        if factor == 1.0
        else min(1.0, float(2.0 * t.sf(norm.isf(p / 2.0) / factor**0.5, max(1, differ - 1))))
    )


def sign_flip(changes: npt.NDArray[np.int64]) -> float:
    """Return the two-sided mid-p of the sum of changes, where the sign of each is as likely plus as minus.

    All sign patterns are counted at once: the distribution of the sum has the characteristic function
    ``prod cos(t * change)``, from which a Fourier transform gives each probability. For single rows, whose changes are
    -1, 0 and 1, this is McNemar's test. Sums as far from 0 as this one count half (mid-p): an exact test of few units
    would be too cautious.

    Parameters
    ----------
    changes : ndarray of int, shape (units,)
        Rows of each unit that only the second table has right, less those that only the first has.

    References
    ----------
    Fisher 1935, sec. 21 (the randomisation test); Fagerland, Lydersen & Laake 2013 (mid-p).

    Examples
    --------
    >>> round(sign_flip(np.array([3, 2, 0, 1])), 6)
    0.125
    """
    size, count = np.unique(np.abs(changes[changes != 0]), return_counts=True)
    most = int((size * count).sum())
    turns = np.arange(2 * most + 1) / (2 * most + 1)
    spectrum = np.ones(2 * most + 1)
    for step, times in zip(size.tolist(), count.tolist(), strict=True):
        spectrum *= np.cos(2.0 * np.pi * step * turns) ** times
    chances = np.fft.fft(spectrum).real / (
        2 * most + 1
    )  # of a sum of 0, 1, ... most, -most, ... -1
    reached = abs(int(changes.sum()))
    sums = np.minimum(np.arange(2 * most + 1), 2 * most + 1 - np.arange(2 * most + 1))
    p = chances[sums >= reached].sum() - chances[sums == reached].sum() / 2.0
    return float(min(1.0, max(p, 2.0 ** -int(count.sum()))))


def difference_parts(
    first: PredictionTable, second: PredictionTable, units: Units, view: TwoClassView
) -> dict[str, list[Part]]:
    """Return the parts of which each difference is the mean, of tables of the same rows in the same order.

    Parameters
    ----------
    first, second : PredictionTable
    units : Units
    view : TwoClassView
        Gives sensitivity and specificity, which are those at 0.5.

    Returns
    -------
    dict of str to list of Part
        ``accuracy``, ``balanced_accuracy``, ``by_unit`` (the accuracy where groups of any size weigh the same; of
        groups), and where they are defined ``auc``, ``sensitivity`` and ``specificity``.
    """
    hits = [(table.predicted == table.labels).astype(np.float64) for table in (first, second)]
    everywhere = np.ones(len(first), dtype=np.bool_)
    parts: dict[str, list[Part | None]] = {
        "accuracy": [_change(hits, everywhere)],
        "balanced_accuracy": [
            _change(hits, first.labels == label) for label in np.unique(first.labels)
        ],
    }
    if units.kind == "group":
        parts["by_unit"] = [unit_mean(hits[1] - hits[0], units.member, everywhere)]
    if first.probabilities is not None and second.probabilities is not None:
        aucs = class_aucs(first), class_aucs(_alike(second, first))
        parts["auc"] = [difference(*pair) for pair in zip(*aucs, strict=True)]
    positive = view.positive or default_positive(first.classes)
    if positive:
        sides = [two_sides(table, positive, view.rule) for table in (first, second)]
        truth, right = sides[0].truth, [side.right.astype(np.float64) for side in sides]
        parts |= {"sensitivity": [_change(right, truth)], "specificity": [_change(right, ~truth)]}
    return {name: known for name, some in parts.items() if (known := all_or_none(some))}


def _change(hits: Sequence[npt.NDArray[np.float64]], inside: npt.NDArray[np.bool_]) -> Part | None:
    """Return the difference of two shares of the same rows."""
    if not inside.any():
        return None
    moved = float(np.abs(hits[1] - hits[0])[inside].mean())
    return difference(share_part(hits[0], inside), share_part(hits[1], inside), moved=moved)


def _alike(table: PredictionTable, other: PredictionTable) -> PredictionTable:
    """Return a table with its columns in the order of another one's classes."""
    order = [table.classes.index(name) for name in other.classes]
    return replace(
        table,
        classes=other.classes,
        labels=other.labels,
        probabilities=np.asarray(table.probabilities)[:, order],
    )


def precision_difference(
    first: PredictionTable, second: PredictionTable, *, f1: bool = False
) -> dict[str, Any] | None:
    """Return by how much more of what the second table calls positive is so, by the classes of a known dataset.

    Parameters
    ----------
    first, second : PredictionTable
        Of the same rows in the same order.
    f1 : bool
        By how much its F1 is higher, in place of its precision.

    Returns
    -------
    dict or None
        A figure; None without a positive side, or where a table calls nothing so.

    References
    ----------
    Moskowitz & Pepe 2006 for independent rows.
    """
    positive = default_positive(first.classes)
    if not positive:
        return None
    truth = positive_mask(first.classes, positive)[first.labels]
    called = [positive_mask(table.classes, positive)[table.predicted] for table in (first, second)]
    if not all(side.any() for side in called):
        return None
    change = difference(
        *(f1_part(truth, side) if f1 else share_part(truth, side) for side in called)
    )
    return None if change is None else difference_interval([change], Units.of(first)).json()
