"""Paired tests between prediction tables over the same images, and the differences of their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from itertools import combinations, compress

import numpy as np

from ..core import InputError, Message, Names, counted, plural
from ..data import match_names, report_findings
from .intervals import (
    LEVEL,
    Entry,
    Figure,
    Part,
    Units,
    all_or_none,
    difference,
    difference_interval,
    share_part,
)
from .metrics import by_patient, class_aucs, ungrouped_images
from .predictions import Integers, Mask, PredictionTable, Values, take_rows
from .two_class import TwoClassView, default_positive, positive_mask, two_sides

FOLDS = 1.155
"""Factor by which folds raise the variance of a test of independent rows: bchisto's choice, the least with which tests
of equal classifiers reject at most 6.5 % of real cross-validations in ``tools/benchmarks/coverage.py``, within its
error."""

FOLDS_OF_GROUPS = 1.3
"""The same factor for groups with several rows."""

Key = tuple[str, str, int | None]
"""The identity of a row: image, patch and fold."""

BALANCED = "balanced_accuracy"

POWER = 0.8
"""Power at which a difference counts as detectable: a convention (Cohen 1988, sec. 2.4)."""


def compare_pairs(
    tables: Sequence[PredictionTable],
    *,
    views: Sequence[TwoClassView] = (),
    margin: float | None = None,
    by: str = "",
) -> list[Entry]:
    """Compare every two tables that hold the same images, with the same true classes and folds.

    If they share most rows, these are compared. A table without folds is also compared with one that has folds, if
    that tests each image once. If a strategy chose some of the images, those drawn at random are compared.

    Parameters
    ----------
    tables : sequence of PredictionTable
    views : sequence of TwoClassView, optional
        The view of each table. Two tables whose views differ have no difference of sensitivity and specificity.
    margin, by
        As in `compare_tables`.

    Returns
    -------
    list of dict
        Results of `compare_tables`, with ``first``, ``second``, and what `holm` adds; with ``shared``, the number of
        rows that are compared, if one of the tables has more.
    """
    pairs = []
    all_views = list(views) or [TwoClassView()] * len(tables)
    for (a, view_of_a), (b, view_of_b) in combinations(zip(tables, all_views, strict=True), 2):
        whole = max(len(a.drawn), len(b.drawn))
        a, b = (table.drawn for table in shared_rows(a, b))
        # of images of which none was drawn nothing is concluded
        if a.is_drawn is not None or unlike(a, b) is not None:
            continue
        pair: Entry = {"first": a.name, "second": b.name}
        if len(a) < whole:
            pair["shared"] = len(a)
        pair |= compare_tables(a, b, view=view_of_a, margin=margin, by=by)
        if _sides(a, view_of_a) != _sides(b, view_of_b):
            for name in ("sensitivity", "specificity"):
                pair["differences"].pop(name, None)
        pairs.append(pair)
    return holm(pairs)


def _sides(table: PredictionTable, view: TwoClassView) -> tuple[frozenset[str], str]:
    """Return the positive classes of a view, and its rule; empty for two classes, for which all rules are the same."""
    mask = positive_mask(table.classes, view.positive or default_positive(table.classes))
    positive = frozenset(compress(table.classes, mask))
    if len(table.classes) <= 2:
        return positive, ""
    return positive, view.rule or "sum"


def holm(pairs: Sequence[Entry]) -> list[Entry]:
    """Correct the tests of all comparisons for their number, and add whether each shows a difference.

    Parameters
    ----------
    pairs : sequence of dict
        Results of `compare_tables`. If some were corrected before, as those of `compare_pairs`, they are corrected
        anew from their ``p``.

    Returns
    -------
    list of dict
        Each with its ``p_holm``; the ``verdict`` of ``p_holm`` on the second table, by the difference that was tested:
        ``better``, ``worse`` or ``not shown``; and whether the interval of the difference would ``disagree``.

    References
    ----------
    Holm 1979.

    Examples
    --------
    >>> gain = {"differences": {"accuracy": Figure(0.1, -0.01, 0.2, "t")}}
    >>> [(pair["p_holm"], pair["disagree"]) for pair in holm([{"p": 0.06} | gain, {"p": 0.01} | gain])]
    [(0.06, False), (0.02, True)]
    """
    p = np.array([pair["p"] for pair in pairs], np.float64)
    order = np.argsort(p, kind="stable")
    # no p is below that of a smaller one
    p[order] = np.maximum.accumulate(np.minimum(1.0, np.arange(len(p), 0, -1) * p[order]))
    return [
        {
            **pair,
            "p_holm": corrected,
            **_verdict(pair["differences"][pair.get("tested", "accuracy")], corrected),
        }
        for pair, corrected in zip(pairs, p.tolist(), strict=True)
    ]


def _verdict(change: Figure, p: float) -> Entry:
    """Return the verdict of p on a difference, and whether its interval disagrees."""
    # `LEVEL` is that of one side
    is_shown = p <= 2.0 * (1.0 - LEVEL)
    verdict = "not shown"
    if is_shown and change.value > 0.0:
        verdict = "better"
    elif is_shown:
        verdict = "worse"
    disagree = change.interval is not None and is_shown != change.excludes_zero
    return {"verdict": verdict, "disagree": disagree}


def named_alike(tables: Sequence[PredictionTable]) -> list[PredictionTable]:
    """Return tables in which an image has the same name, if most images of two tables match, see `match_names`."""
    renamed_tables: list[PredictionTable] = []
    for table in tables:
        images = {*table.image_ids}
        for other in renamed_tables:
            names, findings = match_names(images, other.image_ids, where=table.name)
            if findings and 2 * len(names) > len(images) and table.image_ids != table.groups:
                report_findings(findings)
                names = dict(zip(images, images, strict=True)) | names
                image_ids = tuple(map(names.__getitem__, table.image_ids))
                not_new = frozenset(map(names.__getitem__, table.not_new))
                table = replace(table, image_ids=image_ids, not_new=not_new)
                break
        renamed_tables.append(table)
    return renamed_tables


def unlike_pairs(tables: Sequence[PredictionTable], *, rows: bool = True) -> list[str]:
    """Return a note on each two tables that are not compared, or only on the rows that both have.

    Parameters
    ----------
    tables : sequence of PredictionTable
    rows : bool
        Whether those of different images or folds are named too.
    """
    notes: list[str] = []
    for a, b in combinations(tables, 2):
        first, second = shared_rows(a, b)
        reason = unlike(first, second)
        if reason is None and len(first) < max(len(a), len(b)):
            count = counted(len(first.drawn), first.row_is)
            notes.append(
                Message("{} and {} are compared on the {} that both have", a.name, b.name, count)
            )
        elif reason is not None and (rows or _keys(a, b).keys() == _keys(b, a).keys()):
            notes.append(Message("{} and {} are not compared: {}", a.name, b.name, reason))
    return notes


def shared_rows(
    first: PredictionTable, second: PredictionTable
) -> tuple[PredictionTable, PredictionTable]:
    """Return two tables with the rows that both have, if these are most of each; else the tables as they are."""
    rows = [_keys(first, second), _keys(second, first)]
    shared = rows[0].keys() & rows[1].keys()
    if 2 * len(shared) <= max(len(first), len(second)):
        return first, second
    kept = [np.array([of[key] for key in of if key in shared]) for of in rows]
    return take_rows(first, kept[0]), take_rows(second, kept[1])


def unlike(first: PredictionTable, second: PredictionTable) -> str | None:
    """Return why two tables cannot be compared; None if they can."""
    rows_of_first = _keys(first, second)
    rows_of_second = _keys(second, first)
    if rows_of_first.keys() != rows_of_second.keys():
        return _unlike_rows(first, second, rows_of_first.keys(), rows_of_second.keys())
    if set(first.classes) != set(second.classes):
        return f"the first has the classes {', '.join(first.classes)}, the second {', '.join(second.classes)}"
    is_drawn = _drawn(first)
    is_other_drawn = _drawn(second)
    for key, row in rows_of_first.items():
        other = rows_of_second[key]
        if is_drawn[row] != is_other_drawn[other]:
            return Message(
                "they name different {} as drawn at random{}",
                plural(first.row_is),
                Names(f", first {key[0]}"),
            )
        if first.classes[first.labels[row]] != second.classes[second.labels[other]]:
            return Message(
                "they name different true classes for the same row{}", Names(f", {key[0]}")
            )
        if len({first.groups[row], second.groups[other]} - {None}) > 1:
            return Message(
                "they name different {} for the same row{}",
                plural(first.group_is),
                Names(f", {key[0]}"),
            )
    return None


def _drawn(table: PredictionTable) -> Mask:
    """Return which rows were drawn at random, all if no strategy chose any, bool of shape (n,)."""
    if table.is_drawn is None:
        return np.ones(len(table), np.bool_)
    return table.is_drawn


def _unlike_rows(
    first: PredictionTable, second: PredictionTable, keys: Set[Key], others: Set[Key]
) -> str:
    """Return a phrase on the rows in which two tables differ."""
    if {key[:2] for key in keys} != {key[:2] for key in others}:
        return f"{counted(len(keys - others), 'row')} only in the first, {len(others - keys)} only in the second"
    if first.fold_numbers and second.fold_numbers:
        return "they test the same images in other folds"
    return "one of them tests an image in several folds, and the other names no folds"


def _keys(table: PredictionTable, other: PredictionTable) -> dict[Key, int]:
    """Return the position of each row by image, patch and fold; without the fold if one table names none."""
    keys = {key: row for row, key in enumerate(table.keys)}
    if table.fold_numbers and other.fold_numbers:
        return keys
    images: dict[Key, int] = {(*key[:2], None): row for key, row in keys.items()}
    if len(images) < len(keys):  # folds test an image several times
        return keys
    return images


def compare_tables(
    first: PredictionTable,
    second: PredictionTable,
    *,
    view: TwoClassView | None = None,
    margin: float | None = None,
    by: str = "",
) -> Entry:
    """Test whether two tables differ.

    Parameters
    ----------
    first, second : PredictionTable
        Over the same images and folds, or one of them without folds; rows may stand in another order. A group that one
        of them lacks is taken from the other.
    view : TwoClassView, optional
        View of sensitivity and specificity.
    margin : float, optional
        A loss of accuracy that would not matter, above 0.
    by : {"", "accuracy", "balanced_accuracy", "by_unit"}
        The difference to test; by default that of the figure by which tables are ranked.

    Returns
    -------
    dict
        ``differences``, figures of the second minus those of the first (see `difference_parts`); ``tested``, which of
        them is tested; ``test`` and its ``p``: ``mcnemar`` if every row is a unit, ``sign_flip`` if units hold several
        rows, over several folds with a larger variance (see `FOLDS`); ``variance_factor``, by which it was raised;
        ``least_p``, the smallest that this number of units allows; ``detectable``, the difference that would be found
        with a power of 80 % at the variance of the interval, and ``units_needed`` to find the observed one;
        ``detectable_of``, the one of `differences` that both are about (``accuracy``, or ``by_unit`` if one unit
        outweighs the others); ``only_first`` and ``only_second``, rows that only one has right; ``unit``, ``units``,
        and ``ungrouped``, the images among these that name no group; with a margin, ``margin`` and ``not_inferior``,
        whether the interval shows that the second loses less than it (null without an interval).

    Raises
    ------
    InputError
        Tables of different rows, folds, classes, true classes or groups.

    References
    ----------
    McNemar 1947; Fagerland, Lydersen & Laake 2013 (mid-p); Fisher 1935, sec. 21 (signs).
    """
    reason = unlike(first, second)
    if reason is not None:
        text = "{} and {} cannot be compared: {}; give tables of the same rows and classes"
        raise InputError(text, first.name, second.name, reason)
    first, second = paired_rows(first, second)
    units = Units.of(first)
    right_in_first = first.hits
    right_in_second = second.hits
    parts = difference_parts(first, second, units, TwoClassView.of(view))
    differences = {name: difference_interval(part_list, units) for name, part_list in parts.items()}
    change = right_in_second.astype(np.int64) - right_in_first
    tested = by or _ranks_by(first, differences)
    same = {BALANCED: first.labels, "by_unit": units.member}.get(tested)
    if same is not None:
        # all classes, or units, weigh the same; in hundredths, since patterns of signs are counted by whole sums
        sizes = np.bincount(same)[same]
        change = change * np.rint(100 * sizes.max() / sizes).astype(np.int64)
    comparison = {
        "differences": differences,
        "tested": tested,
        **paired_test(change, units),
        **_sample_size(differences, units),
        "only_first": int((right_in_first & ~right_in_second).sum()),
        "only_second": int((right_in_second & ~right_in_first).sum()),
        "unit": units.kind,
        "units": units.count,
        "ungrouped": ungrouped_images(first, units),
    }
    if margin is None:
        return comparison
    ends = differences["accuracy"].interval
    not_inferior = bool(ends[0] > -margin) if ends is not None else None
    return comparison | {"margin": margin, "not_inferior": not_inferior}


def paired_rows(
    first: PredictionTable, second: PredictionTable
) -> tuple[PredictionTable, PredictionTable]:
    """Return two tables with rows in the order of the first, and with the folds and the groups that either names."""
    positions = _keys(second, first)
    order = np.array([positions[key] for key in _keys(first, second)], np.int64)
    second = take_rows(second, order)
    groups = tuple(
        a if a is not None else b for a, b in zip(first.groups, second.groups, strict=True)
    )
    folds = first.folds if first.fold_numbers else second.folds
    # with the same folds both have AUCs of the same pairs
    return replace(first, groups=groups, folds=folds), replace(second, folds=folds)


def _ranks_by(table: PredictionTable, differences: Mapping[str, Figure]) -> str:
    """Return the difference of the figure by which tables are ranked; the accuracy if that is the same."""
    if differences[BALANCED].interval is None and "by_unit" in differences:
        return "by_unit"
    counts = np.unique(table.labels, return_counts=True)[1]
    if counts.min() == counts.max():
        return "accuracy"
    return BALANCED


def paired_test(change: Integers, units: Units) -> Entry:
    """Test whether rows change for the better as much as for the worse; return entries of `compare_tables`.

    Parameters
    ----------
    change : ndarray of int, shape (n,)
        How much a row counts: above 0 if only the second table is right, below if only the first is, else 0.
    units : Units
    """
    test = "sign_flip"
    factor = min(units.widen, FOLDS_OF_GROUPS)
    if units.single:
        test = "mcnemar"
        factor = min(units.widen, FOLDS)
    changes = np.bincount(units.member, weights=change).astype(np.int64)
    return {
        "test": test,
        "p": _widened(sign_flip(changes), factor, int(np.count_nonzero(changes))),
        "variance_factor": factor,
        "least_p": _widened(2.0**-units.count, factor, units.count),
    }


def _sample_size(differences: Mapping[str, Figure], units: Units) -> Entry:
    """Return the difference that this number of units would show, and the number that the observed one would need.

    Both are of the accuracy or, if one unit outweighs the others, of the accuracy by unit.
    """
    from scipy.stats import norm

    name = "by_unit" if differences["accuracy"].interval is None else "accuracy"
    change = differences.get(name)
    if change is None or change.interval is None:
        return {"detectable": None, "detectable_of": None, "units_needed": None}
    # half an interval is the deviate of `LEVEL` in standard errors; the power needs its own on top
    half = (change.high - change.low) / 2.0
    detectable = half * float(1.0 + norm.ppf(POWER) / norm.ppf(LEVEL))
    observed = abs(change.value)
    needed = int(np.ceil(units.count * (detectable / observed) ** 2)) if observed >= 1e-12 else None
    return {"detectable": min(detectable, 1.0), "detectable_of": name, "units_needed": needed}


def _widened(p: float, factor: float, differ: int) -> float:
    """Return the p of a statistic whose variance is larger by a factor than the test assumes.

    The p becomes a normal deviate. Divided by the root of the factor, this is taken for one of Student's distribution,
    whose degrees of freedom are the number of units that differ, less one.
    """
    from scipy.stats import norm, t

    if factor == 1.0:
        return p
    deviate = norm.isf(p / 2.0) / factor**0.5
    return min(1.0, float(2.0 * t.sf(deviate, max(1, differ - 1))))


def sign_flip(changes: Integers) -> float:
    """Return the two-sided mid-p of the sum of changes, if each is as likely to have one sign as the other.

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
    sums = 2 * int((size * count).sum()) + 1  # 0, 1, ... the largest, that negative, ... -1
    turns = np.arange(sums) / sums
    spectrum = np.ones(sums)
    for step, times in zip(size.tolist(), count.tolist(), strict=True):
        spectrum *= np.cos(2.0 * np.pi * step * turns) ** times
    chances = np.fft.fft(spectrum).real / sums
    distance = np.minimum(np.arange(sums), sums - np.arange(sums))
    observed = abs(int(changes.sum()))
    p = chances[distance >= observed].sum() - chances[distance == observed].sum() / 2.0
    # the transform errs by some 1e-16, which may be more than a tiny p: it is at least that of the rarest sum
    return float(min(1.0, max(p, 2.0 ** -int(count.sum()))))


def difference_parts(
    first: PredictionTable, second: PredictionTable, units: Units, view: TwoClassView
) -> dict[str, list[Part]]:
    """Return the parts whose mean is each difference, for two tables of the same rows in the same order.

    Parameters
    ----------
    first, second : PredictionTable
    units : Units
    view : TwoClassView
        View of sensitivity and specificity, which are those at 0.5.

    Returns
    -------
    dict of str to list of Part
        ``accuracy``, ``balanced_accuracy``, ``by_unit`` (the accuracy if groups of any size weigh the same, over
        rows that name one), and if they are defined ``auc``, ``sensitivity`` and ``specificity``.
    """
    hits = [table.hits.astype(np.float64) for table in (first, second)]
    all_rows = np.ones(len(first), np.bool_)
    parts = {
        "accuracy": [_change(hits, all_rows)],
        BALANCED: [_change(hits, first.labels == label) for label in np.unique(first.labels)],
    }
    if units.kind == "group":
        parts["by_unit"] = [by_patient(first, hits[1] - hits[0])]
    if first.probabilities is not None and second.probabilities is not None:
        aucs = class_aucs(first)
        order = [second.classes.index(name) for name in first.classes]
        others = class_aucs(
            replace(
                second,
                classes=first.classes,
                labels=first.labels,
                probabilities=second.probabilities[:, order],
            )
        )
        parts["auc"] = [difference(a, b) for a, b in zip(aucs, others, strict=True)]
    positive = view.positive or default_positive(first.classes)
    if positive:
        sides = [two_sides(table, positive, view.rule) for table in (first, second)]
        truth = sides[0].truth
        right = [side.right.astype(np.float64) for side in sides]
        parts |= {"sensitivity": [_change(right, truth)], "specificity": [_change(right, ~truth)]}
    defined = {name: all_or_none(part_list) for name, part_list in parts.items()}
    return {name: part_list for name, part_list in defined.items() if part_list}


def _change(hits: Sequence[Values], inside: Mask) -> Part | None:
    """Return the difference of two shares of the same rows; None without rows."""
    if not inside.any():
        return None
    moved = float(np.abs(hits[1] - hits[0])[inside].mean())
    return difference(share_part(hits[0], inside), share_part(hits[1], inside), moved=moved)
