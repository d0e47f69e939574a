"""Paired tests between prediction tables over the same images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError, Message, Names
from .differences import paired_differences
from .intervals import Sampled
from .predictions import PredictionTable, take_rows
from .two_class import TwoClassView, default_positive, positive_mask


def compare_pairs(
    tables: Sequence[PredictionTable],
    *,
    replicates: int,
    seed: int = 0,
    view: TwoClassView | None = None,
    views: Sequence[TwoClassView] = (),
    primary: str | None = None,
) -> list[dict[str, Any]]:
    """Compare every two tables that hold the same images, with the same true classes, in the same folds.

    Parameters
    ----------
    tables : sequence of PredictionTable
    replicates, seed, view
        As in `compare_tables`.
    views : sequence of TwoClassView, optional
        Of each table, in the place of `view`. Two tables whose views differ have no difference of sensitivity and
        specificity.
    primary : str, optional
        The comparison that was named beforehand, ``FIRST:SECOND``; the first of all by default.

    Returns
    -------
    list of dict
        Of `compare_tables`, with ``first``, ``second``, ``p_holm`` and ``primary``, see `holm`.

    Raises
    ------
    InputError
        No such comparison as `primary`, or one of tables that cannot be compared.
    """
    pairs = []
    of_each = list(views) or [view or TwoClassView()] * len(tables)
    for (a, of_a), (b, of_b) in combinations(zip(tables, of_each, strict=True), 2):
        if (reason := _unlike(a, b)) is not None:
            if primary in (f"{a.name}:{b.name}", f"{b.name}:{a.name}"):
                raise InputError("{primary} {}: {} and {} are not compared: {}", primary, a.name, b.name, reason)
            continue
        pair = {"first": a.name, "second": b.name, **compare_tables(a, b, replicates=replicates, seed=seed, view=of_a)}
        if _sides(a, of_a) != _sides(b, of_b):
            for name in ("sensitivity", "specificity"):
                pair["differences"].pop(name, None)
        pairs.append(pair)
    return holm(pairs, primary=primary)


def _sides(table: PredictionTable, view: TwoClassView) -> tuple[frozenset[str], str]:
    """Return the positive classes of a view, and its rule where there are more than two classes: else all are one."""
    mask = positive_mask(table.classes, view.positive or default_positive(table.classes))
    chosen = frozenset(name for name, yes in zip(table.classes, mask, strict=True) if yes)
    return chosen, view.rule if len(table.classes) > 2 else ""


def holm(pairs: Iterable[dict[str, Any]], *, primary: str | None = None) -> list[dict[str, Any]]:
    """Correct the tests of all comparisons for their number, and name the primary one.

    The primary comparison is the one that was asked for beforehand: its ``p`` stands for itself, all others are to be
    read by ``p_holm``.

    Parameters
    ----------
    pairs : iterable of dict
        With ``first``, ``second`` and ``p``.
    primary : str, optional
        ``FIRST:SECOND``.

    References
    ----------
    Holm 1979.

    Examples
    --------
    >>> pairs = [{"first": "a", "second": "b", "p": 0.04}, {"first": "a", "second": "c", "p": 0.01}]
    >>> [pair["p_holm"] for pair in holm(pairs)]
    [0.04, 0.02]
    """
    found = list(pairs)
    names = [{f"{pair['first']}:{pair['second']}", f"{pair['second']}:{pair['first']}"} for pair in found]
    if primary is not None and not any(primary in both for both in names):
        among = ", ".join(f"{pair['first']}:{pair['second']}" for pair in found) or "none"
        raise InputError("{primary} {}: no such comparison; those of these tables are {}", primary, among)
    chosen = 0 if primary is None else next(place for place, both in enumerate(names) if primary in both)
    p = np.array([pair["p"] for pair in found], dtype=np.float64)
    order = np.argsort(p, kind="stable")
    p[order] = np.maximum.accumulate(np.minimum(1.0, np.arange(len(p), 0, -1) * p[order]))
    return [
        {**pair, "p_holm": corrected, "primary": place == chosen}
        for place, (pair, corrected) in enumerate(zip(found, p.tolist(), strict=True))
    ]


def selection_notes(tables: Sequence[PredictionTable]) -> list[str]:
    """Say how many tables of the same images are shown, of which a reader would pick the best."""
    alike = Counter(frozenset((image, patch) for image, patch, _ in table.keys) for table in tables)
    return [
        f"{count} tables of the same images were looked at: the best of them looks better than it is, the more so the "
        "more there are; choose on other images than those that are reported, and read comparisons by Holm's p"
        for count in alike.values()
        if count > 2
    ]


def unlike_pairs(tables: Sequence[PredictionTable], *, rows: bool = True) -> list[str]:
    """Say which two tables cannot be compared, and why: they hold different images or folds, classes or true classes.

    Parameters
    ----------
    tables : sequence of PredictionTable
    rows : bool
        Whether those of different images or folds are named too.
    """
    return [
        Message("{} and {} are not compared: {}", a.name, b.name, reason)
        for a, b in combinations(tables, 2)
        if (rows or _keys(a).keys() == _keys(b).keys()) and (reason := _unlike(a, b)) is not None
    ]


def _unlike(first: PredictionTable, second: PredictionTable) -> str | None:
    """Say why two tables cannot be compared."""
    of_first, of_second = _keys(first), _keys(second)
    only_first, only_second = of_first.keys() - of_second.keys(), of_second.keys() - of_first.keys()
    if only_first or only_second:
        return Message(
            "{} row{} only in the first, {} only in the second{}",
            len(only_first),
            "s" * (len(only_first) != 1),
            len(only_second),
            Names(f", for example {_called(min(only_first or only_second, key=str))}"),
        )
    if set(first.classes) != set(second.classes):
        return f"the first has the classes {', '.join(first.classes)}, the second {', '.join(second.classes)}"
    for key, place in of_first.items():
        names = [first.classes[first.labels[place]], second.classes[second.labels[of_second[key]]]]
        if names[0] != names[1]:
            said = f"{' and '.join(names)} of {_called(key)}"
            return Message("they name different true classes for the same row{}", Names(f", for example {said}"))
    return None


def _called(key: tuple[str, str, int | None]) -> str:
    image, _, fold = key
    return f"{image} in fold {fold}" if fold is not None else image


def _keys(table: PredictionTable) -> dict[tuple[str, str, int | None], int]:
    return {key: place for place, key in enumerate(table.keys)}


def compare_tables(
    first: PredictionTable,
    second: PredictionTable,
    *,
    replicates: int = 2000,
    seed: int = 0,
    view: TwoClassView | None = None,
) -> dict[str, Any]:
    """Test whether two tables differ.

    Parameters
    ----------
    first, second : PredictionTable
        Over the same images and folds; rows may stand in another order. A group that one of them lacks is taken from
        the other.
    replicates : int
        0 leaves intervals out; they are not drawn, so that any other number and `seed` give the same.
    seed : int
    view : TwoClassView, optional
        Of sensitivity and specificity.

    Returns
    -------
    dict
        ``difference`` (accuracy of the second minus that of the first) and its ``interval``; ``differences`` (see
        `paired_differences`); ``test`` and its ``p``: ``mcnemar`` where every row is a unit, ``sign_flip`` where units
        hold several rows, with the variance that tables of several folds have (see `CROSS_VALIDATION`);
        ``variance_factor``, by which that was raised (1 where ``p`` is exact); ``unit`` and ``units``; ``mcnemar``
        (``only_first``, ``only_second`` right, exact two-sided ``p``, which holds for independent rows alone) and
        ``corrected_t`` (see `corrected_t`).

    Raises
    ------
    InputError
        Tables of different rows, classes or true classes.

    References
    ----------
    McNemar 1947; Nadeau & Bengio 2003, sec. 3.3 (correction for overlapping training parts).
    """
    if (reason := _unlike(first, second)) is not None:
        raise InputError(
            "{} and {} cannot be compared: {}; give tables of the same rows and classes",
            first.name,
            second.name,
            reason,
        )
    places = _keys(second)
    other = take_rows(second, np.array([places[key] for key in _keys(first)], dtype=np.int64))
    groups = tuple(a if a is not None else b for a, b in zip(first.groups, other.groups, strict=True))
    sampled = Sampled(replace(first, groups=groups))
    a, b = first.predicted == first.labels, other.predicted == other.labels
    change = b.astype(np.int64) - a
    differences = paired_differences(first, other, sampled, view or TwoClassView())
    if not replicates:
        differences = {name: {**found, "interval": None} for name, found in differences.items()}
    rows = sign_flip(change)
    alone = sampled.units == len(first)
    p = rows if alone else sign_flip(np.bincount(sampled.member, weights=change).astype(np.int64))
    return {
        "difference": differences["accuracy"]["difference"],
        "interval": differences["accuracy"]["interval"],
        "differences": differences,
        "test": "mcnemar" if alone else "sign_flip",
        "p": _widened(p, sampled.widen),
        "variance_factor": sampled.widen,
        "unit": sampled.unit,
        "units": sampled.units,
        "mcnemar": {"only_first": int((a & ~b).sum()), "only_second": int((b & ~a).sum()), "p": rows},
        "corrected_t": corrected_t(first, change.astype(np.float64)),
    }


def _widened(p: float, factor: float) -> float:
    """Return the p of a statistic whose variance is larger by a factor than the test assumes."""
    from scipy.stats import norm

    return p if factor == 1.0 else min(1.0, float(2.0 * norm.sf(norm.isf(p / 2.0) / factor**0.5)))


def sign_flip(changes: npt.NDArray[np.int64]) -> float:
    """Return the exact two-sided p of the sum of changes, where the sign of each is as likely plus as minus.

    All sign patterns are counted at once: the distribution of the sum has the characteristic function
    ``prod cos(t * change)``, from which a Fourier transform gives each probability. For single rows, whose changes are
    -1, 0 and 1, this is McNemar's exact test.

    Parameters
    ----------
    changes : ndarray of int, shape (units,)
        Rows of each unit that only the second table has right, less those that only the first has.

    References
    ----------
    Fisher 1935, sec. 21 (the randomisation test).

    Examples
    --------
    >>> round(sign_flip(np.array([3, 2, 0, 1])), 6)
    0.25
    """
    size, count = np.unique(np.abs(changes[changes != 0]), return_counts=True)
    most = int((size * count).sum())
    turns = np.arange(2 * most + 1) / (2 * most + 1)
    spectrum = np.ones(2 * most + 1)
    for step, times in zip(size.tolist(), count.tolist(), strict=True):
        spectrum *= np.cos(2.0 * np.pi * step * turns) ** times
    chances = np.fft.fft(spectrum).real / (2 * most + 1)  # of a sum of 0, 1, ... most, -most, ... -1
    reached = abs(int(changes.sum()))
    sums = np.minimum(np.arange(2 * most + 1), 2 * most + 1 - np.arange(2 * most + 1))
    return float(min(1.0, max(chances[sums >= reached].sum(), 2.0 ** (1 - int(count.sum())))))


def corrected_t(table: PredictionTable, change: npt.NDArray[np.float64]) -> dict[str, float] | None:
    """Compute the corrected resampled t test of the pooled change, over folds of any size.

    Parameters
    ----------
    table : PredictionTable
        Gives folds, and the images that each trained on; where these are not known, all images of the table that the
        fold does not test.
    change : ndarray of float64, shape (n,)
        Of each row.

    Returns
    -------
    dict or None
        ``t``, ``p``, ``share`` (images tested to images trained on) and ``folds``; None with fewer than two folds, a
        fold that trains on nothing, or no spread.

    Notes
    -----
    A fold's mean varies as one over its rows and is weighed by them, so that the quantity is the difference that is
    shown. Of k equal folds this is the test of Nadeau and Bengio as published.
    """
    from scipy.stats import t as student

    inside = [rows for _, rows in table.fold_rows()]
    if len(inside) < 2 or None in table.folds:
        return None
    images = np.array(table.image_ids)
    tested = [len(set(images[rows].tolist())) for rows in inside]
    trained = table.trained
    if len(trained) != len(inside):
        everything = len(set(table.image_ids))
        trained = tuple(everything - count for count in tested)
    if min(trained) < 1:
        return None
    share = sum(tested) / sum(trained)
    pooled, error = fold_error([change[rows].mean() for rows in inside], [rows.sum() for rows in inside], share=share)
    if error < 1e-12:
        return None
    p = float(2 * student.sf(abs(pooled / error), len(inside) - 1))
    return {"t": pooled / error, "p": p, "share": share, "folds": len(inside)}


def fold_error(means: Sequence[float], sizes: Sequence[float], *, share: float) -> tuple[float, float]:
    """Return the mean over folds, each weighed by its rows, and its standard error with k - 1 degrees of freedom.

    Parameters
    ----------
    means, sizes : sequence of float
        Of each of at least two folds.
    share : float
        Images tested to images trained on; 0 for folds that are independent, such as seeds.
    """
    values, weight = np.array(means, dtype=np.float64), np.array(sizes, dtype=np.float64) / np.sum(sizes)
    pooled = float(weight @ values)
    spread = float(weight @ np.square(values - pooled)) / (len(values) - 1)
    return pooled, (spread * (1.0 + len(values) * share)) ** 0.5
