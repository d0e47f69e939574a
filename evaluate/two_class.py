"""The two-class view of a table: its sides and scores, AUC and ROC, operating points, thresholds for a sensitivity."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from ..core import InputError, Message, Numbers, Parameter, Settings, Texts, converted, option
from ..data import default_positive, match_class, order_classes
from .calibration import calibration_note, recalibration, shrunk_temperature
from .intervals import (
    LEVEL,
    RANKED,
    Ends,
    Entry,
    Figure,
    IntervalMethod,
    Metrics,
    Part,
    Units,
    all_or_none,
    mean_and_std,
)
from .predictions import (
    Integers,
    Mask,
    PredictionTable,
    Shares,
    Values,
    apply_temperature,
    fold_rest,
)

_BACH = ("Normal", "Benign", "InSitu", "Invasive")

_BACH_THRESHOLDS = (0.33, 0.5)
"""Operating points of the classes of BACH, the set points of Rakhlin et al. 2018, sec. 3."""

TWO_CLASS_RULES = ("sum", "max")
"""``sum`` adds the probabilities of the positive classes; ``max`` takes the largest of each side and
renormalises, as the published code of Rakhlin et al. 2018 does."""

RARE = 0.2
"""Share of positive rows below which precision is shown, too: ROC curves hide how few of those called are positive
(Saito & Rehmsmeier 2015)."""

PREDICTED_CLASS = "predicted class"
"""The rule of a table without probabilities, which none can be chosen for."""


def _above_zero(value: Any, name: str, *, bound: str) -> tuple[float, ...]:
    """Take shares above 0, up to or below 1."""
    shares = converted(value, name, tuple[float, ...])
    for share in shares:
        if not 0.0 < share <= 1.0 or (share == 1.0 and bound == "below"):
            raise InputError("{} {}: give a fraction above 0, {} 1", Parameter(name), share, bound)
    return shares


@dataclass(frozen=True)
class TwoClassView(Settings):
    """What the two-class view of a table is made of; what is left open is as the run of the table had it."""

    positive: Texts = option(
        (),
        group="Evaluation",
        metavar="CLASS",
        help="Positive class of a two-class view; default: those of the run of a table, else by their names.",
    )
    rule: str | None = option(
        None,
        flag="two-class",
        choices=TWO_CLASS_RULES,
        more=lambda: (*TWO_CLASS_RULES, PREDICTED_CLASS),
        help="Add the probabilities of a side, or take its largest and renormalise; default: as the run of a table "
        "did, else sum.",
    )
    thresholds: Numbers = option(
        (),
        group="Evaluation",
        flag="threshold",
        least=0,
        most=1,
        help="Operating point of the two-class view; default: those of the run of a table, else 0.33 and 0.5 for the "
        "classes of BACH, else 0.5.",
    )
    sensitivities: Numbers = option(
        (),
        group="Evaluation",
        flag="sensitivity",
        form=functools.partial(_above_zero, bound="up to"),
        help="Target sensitivity: each fold gets a threshold fitted on the others.",
    )
    prevalences: Numbers = option(
        (),
        flag="prevalence",
        form=functools.partial(_above_zero, bound="below"),
        help="Prevalence in another population, for which predictive values are given too.",
    )

    def check(self, classes: Sequence[str]) -> None:
        """Refuse what cannot be computed of tables of these classes, before any work.

        Raises
        ------
        InputError
            A positive class that is not a class, or every class positive.
        """
        positive_mask(classes, self.positive)

    def recorded(self, classes: Sequence[str], shares: Shares = None) -> Entry:
        """Return what ``metrics.json`` has of the view, so that evaluating the table again follows it.

        Parameters
        ----------
        classes : sequence of str
        shares : ndarray of float64, optional
            Those of a table, by which two classes are called.

        Examples
        --------
        >>> TwoClassView().recorded(["normal", "benign", "in situ", "invasive"])["thresholds"]
        [0.33, 0.5]
        """
        positive = self.positive or default_positive(classes)
        usual: Sequence[float] = (limit_of(positive_mask(classes, positive), shares),)
        if order_classes(classes) == _BACH:
            usual = _BACH_THRESHOLDS
        return {
            "positive": list(positive),
            "rule": self.rule or "sum",
            "thresholds": list(self.thresholds or usual),
            "sensitivities": list(self.sensitivities),
            "prevalences": list(self.prevalences),
        }

    def over(self, recorded: TwoClassView) -> TwoClassView:
        """Return the view of a table whose run recorded one."""
        return TwoClassView(
            **{
                field.name: getattr(self, field.name) or getattr(recorded, field.name)
                for field in fields(self)
            }
        )


def positive_mask(classes: Sequence[str], positive: Sequence[str]) -> Mask:
    """Return which classes are positive, bool of shape (classes,).

    Raises
    ------
    InputError
        A name that is not a class, or every class positive.
    """
    names = [match_class(text, classes) for text in positive]
    if None in names:
        raise InputError(
            "{positive} {}: no such class; choose among {}",
            positive[names.index(None)],
            ", ".join(classes),
        )
    mask = np.array([name in names for name in classes])
    if names and mask.all():
        raise InputError(
            Message("{positive}: every class is positive; leave at least one negative")
        )
    return mask


class TwoSides(NamedTuple):
    """The rows of a table in its two-class view.

    Attributes
    ----------
    truth : ndarray of bool, shape (n,)
        Which rows are truly positive.
    scores : ndarray of float64, shape (n,)
        1 or 0 if only the predicted class is known.
    predicted : ndarray of bool, shape (n,)
        Whether the predicted class is positive.
    by_class : bool
        Whether `limit` asks for the predicted class, see `asks_for_class`.
    limit : float
        See `limit_of`.
    """

    truth: Mask
    scores: Values
    predicted: Mask
    by_class: bool
    limit: float = 0.5

    def called(self, threshold: float) -> Mask:
        """Return which rows are positive: those with at least this score, or at the limit perhaps by their class."""
        if self.by_class and threshold == self.limit:
            return self.predicted
        return self.scores >= threshold

    @property
    def right(self) -> Mask:
        """Whether a row is on its true side at the limit, bool of shape (n,)."""
        return np.asarray(self.called(self.limit) == self.truth)


def two_sides(table: PredictionTable, positive: Sequence[str], rule: str | None) -> TwoSides:
    """Return the two-class view of a table."""
    mask = positive_mask(table.classes, positive)
    predicted = mask[table.predicted]
    scores = predicted.astype(np.float64)
    if table.probabilities is not None:
        scores = two_class_scores(table.probabilities, mask, rule=rule or "sum")
    by_class = asks_for_class(table.classes, rule, table.shares)
    limit = limit_of(mask, table.shares)
    return TwoSides(mask[table.labels], scores, predicted, by_class, limit)


def asks_for_class(classes: Sequence[str], rule: str | None, shares: Shares = None) -> bool:
    """Return whether the threshold `limit_of` asks which class is predicted, so that this one decides a tie.

    It does of two classes, and of the largest of each side unless classes are called by their shares in training: a
    row is called as the confusion matrix has it, whatever the digits to which a table was rounded. A sum of classes has
    no class, and a fitted threshold is not a tie.
    """
    return len(classes) == 2 or (rule == "max" and shares is None)


def limit_of(positive: Mask, shares: Shares) -> float:
    """Return the score at which one of two classes is called: its mean share in training if shares decide, else 0.5."""
    if shares is None or len(positive) != 2:
        return 0.5
    return float(np.atleast_2d(shares).mean(axis=0)[positive].sum())


def two_class_scores(probabilities: Values, positive: Mask, *, rule: str) -> Values:
    """Return the score of the positive side, float64 of shape (n,).

    Parameters
    ----------
    probabilities : ndarray of float64, shape (n, classes)
    positive : ndarray of bool, shape (classes,)
    rule : {"sum", "max"}
        See `TWO_CLASS_RULES`.

    Examples
    --------
    >>> two_class_scores(np.array([[0.5, 0.1, 0.25, 0.15]]), np.array([False, False, True, True]), rule="max")
    array([0.33333333])
    """
    if rule == "sum":
        return np.asarray(probabilities[:, positive].sum(axis=1))
    # of probabilities that are all 0, as after rounding, neither side is larger
    largest = probabilities[:, positive].max(axis=1)
    both = largest + probabilities[:, ~positive].max(axis=1)
    return np.asarray(np.divide(largest, both, out=np.full_like(both, 0.5), where=both > 0))


def two_class_figures(table: PredictionTable, view: TwoClassView, units: Units) -> Entry:
    """Return the entry ``two_class`` of ``metrics.json``.

    Returns
    -------
    dict
        ``positive``, ``rule``: of the view.
        ``accuracy``, ``accuracy_std``: of the sides at the limit.
        ``auc``, ``auc_per_fold`` (None where a fold tests only one side), ``auc_mean``, ``auc_std``, ``auc_pooled``.
        ``prevalence``: the share of positive rows.
        ``thresholds``, ``wanted``: see `called_point` and `wanted_point`.
        ``limit``: see `limit_of`; only if shares in training decide on calls of two classes.
        ``average_precision``: of all scores together; only if positive rows are rarer than `RARE`.
        ``slope``, ``intercept``: see `recalibration`.
    """
    if table.probabilities is None:  # no score, so no ranks and no thresholds
        view = TwoClassView(view.positive, PREDICTED_CLASS)
    mask = positive_mask(table.classes, view.positive)
    sides = two_sides(table, view.positive, view.rule)
    right = sides.right
    accuracies = [float(right[inside].mean()) for _, inside in table.fold_rows()]
    targets = view.sensitivities
    if not sides.truth.any():  # without positive rows there is no threshold
        targets = ()
    figures: Entry = {
        "positive": [*itertools.compress(table.classes, mask)],
        "rule": view.rule,
        "accuracy": units.share(right),
        "accuracy_std": mean_and_std(accuracies)[1],
        **_two_class_auc(table, sides, units),
        "prevalence": float(sides.truth.mean()),
        # only the limit may ask for the predicted class, see `asks_for_class`
        "thresholds": [
            called_point(units, sides.truth, sides.called(threshold), threshold, view.prevalences)
            for threshold in view.thresholds
        ],
        "wanted": [
            wanted_point(table, units, sides, target, view.prevalences) for target in targets
        ],
    }
    if table.shares is not None and len(table.classes) == 2:
        figures["limit"] = sides.limit
    if table.probabilities is not None and 0.0 < figures["prevalence"] < RARE:
        from sklearn.metrics import average_precision_score

        figures["average_precision"] = average_precision_score(sides.truth, sides.scores)
    if calibration_note(table) is None:
        figures |= recalibration(sides.scores, sides.truth, units=units)
    return figures


def _two_class_auc(table: PredictionTable, sides: TwoSides, units: Units) -> Entry:
    """Return the AUC of the scores of a view: of pairs within folds, else of all pairs; of each fold; and of all."""
    part = None
    pooled = None
    aucs: list[float | None] = [None] * len(table.fold_numbers)
    if table.probabilities is not None:
        from sklearn.metrics import auc

        part = auc_in_folds(sides.truth, sides.scores, table.fold_array)
        pooled = auc_in_folds(sides.truth, sides.scores, table.fold_array, pooled=True)
        curves = fold_curves(table, sides.truth, sides.scores)
        aucs = [None if curve is None else float(auc(*curve)) for curve in curves]
    mean, std = mean_and_std(aucs)
    return {
        "auc": units.figure(part),
        **pooled_auc_of([part], [pooled]),
        "auc_per_fold": aucs,
        "auc_mean": mean,
        "auc_std": std,
    }


def pooled_auc_of(
    aucs: Sequence[Part | None], of_all_pairs: Sequence[Part | None]
) -> dict[str, float]:
    """Return the AUC over pairs of all folds, where `aucs` are of pairs within folds."""
    pooled = [part.value for part in all_or_none(of_all_pairs) if part.pooled]
    if not pooled or any(part.pooled for part in all_or_none(aucs)):
        return {}
    return {"auc_pooled": float(np.mean(pooled))}


def auc_part(truth: Mask, scores: Values, folds: Integers | None = None) -> Part | None:
    """Return the AUC: of all pairs of a positive and a negative row in one fold, the share that is ranked rightly.

    Pairs that are tied count half. Scores of different folds come from different models, so that no pair of two folds
    is counted.

    Parameters
    ----------
    truth : ndarray of bool, shape (n,)
    scores : ndarray of float64, shape (n,)
    folds : ndarray of int, shape (n,), optional
        By default all rows are of one fold.

    Returns
    -------
    Part or None
        None without a pair.

    References
    ----------
    DeLong et al. 1988 and, of units with several rows, Obuchowski 1997 (the influences).
    """
    if folds is None:
        folds = np.zeros(len(scores), np.int64)
    # sorted once, so that ranks cost n log n and not a step for each pair
    order = np.lexsort((scores, folds))
    positive = truth[order]
    (negatives, lower), (positives, below) = _ranks(scores[order], folds[order], positive)
    pairs = float(negatives[positive].sum())
    if not pairs:
        return None
    value = float(lower[positive].sum()) / pairs
    wins = np.where(positive, lower, positives - below)
    rivals = np.where(positive, negatives, positives)
    effect = np.empty(len(scores))
    # a row whose fold has no row of the other side is in no pair, and has no influence
    effect[order] = (wins - value * rivals) / pairs
    paired = np.empty(len(scores), np.bool_)
    paired[order] = rivals > 0
    return Part(value, effect, (truth & paired, ~truth & paired), finer=RANKED, folds=folds)


def auc_in_folds(
    truth: Mask, scores: Values, folds: Integers, *, pooled: bool = False
) -> Part | None:
    """Return the AUC of pairs within folds; over pairs of all folds with `pooled`, or if no fold holds a pair.

    The folds of a cross-validation differ in what their models learnt: a model that saw fewer positive rows scores
    lower, and tests more of them. A pooled AUC of several folds is therefore too low, of noise far below one half.

    References
    ----------
    Forman & Scholz 2010; Airola et al. 2011.
    """
    if not pooled:
        within = auc_part(truth, scores, folds)
        if within is not None:
            return within
    part = auc_part(truth, scores)
    if part is None:
        return None
    return replace(part, pooled=len(np.unique(folds)) > 1)


def _ranks(scores: Values, folds: Integers, positive: Mask) -> list[tuple[Values, Values]]:
    """Return for the negative side, then for the positive one, its rows in the fold of each row, and those below it.

    Below are the rows of the side that score less, and half of those that score the same. All rows are sorted by fold
    and score.

    Examples
    --------
    >>> scores = np.array([0.1, 0.2, 0.2, 0.4, 0.3])
    >>> positive = np.array([False, True, False, True, True])
    >>> negatives, lower = _ranks(scores, np.array([1, 1, 1, 1, 2]), positive)[0]
    >>> negatives.tolist(), lower.tolist()
    ([2.0, 2.0, 2.0, 2.0, 0.0], [0.5, 1.5, 1.5, 2.0, 0.0])
    """
    new_fold = np.diff(folds, prepend=folds[:1] - 1) != 0
    new_score = new_fold | (np.diff(scores, prepend=np.nan) != 0)
    fold = np.cumsum(new_fold) - 1
    tie = np.cumsum(new_score) - 1
    ranks = []
    for side in (~positive, positive):
        in_folds = np.bincount(fold, side)
        tied = np.bincount(tie, side)
        in_folds_before = (np.cumsum(in_folds) - in_folds)[fold[new_score]]
        below = np.cumsum(tied) - tied / 2.0 - in_folds_before
        ranks.append((in_folds[fold], below[tie]))
    return ranks


Curve = tuple[Values, Values]


def fold_curves(table: PredictionTable, truth: Mask, scores: Values) -> list[Curve | None]:
    """Compute the ROC of every fold.

    Parameters
    ----------
    table : PredictionTable
        Gives the fold of each row.
    truth : ndarray of bool, shape (n,)
        Whether the true class is on the positive side.
    scores : ndarray of float64, shape (n,)

    Returns
    -------
    list of (ndarray, ndarray) or None
        False and true positive rates of each fold; None where it tests one side only.
    """
    from sklearn.metrics import roc_curve

    curves: list[Curve | None] = []
    for _, inside in table.fold_rows():
        curve = None
        if truth[inside].any() and not truth[inside].all():
            curve = roc_curve(truth[inside], scores[inside])[:2]
        curves.append(curve)
    return curves


def net_benefit(truth: Mask, scores: Values) -> Values:
    """Return thresholds, and the net benefit of calling rows positive by their score, all rows, and none.

    At a threshold t it is ``(true positives - false positives * t / (1 - t)) / n``: a false positive is weighed as who
    calls from t on weighs it.

    Parameters
    ----------
    truth : ndarray of bool, shape (n,)
        Whether the true class is on the positive side.
    scores : ndarray of float64, shape (n,)
        A row is called positive if its score is at least the threshold.

    Returns
    -------
    ndarray of float64, shape (99, 4)
        A row for each threshold from 0.01 to 0.99.

    References
    ----------
    Vickers & Elkin 2006.
    """
    thresholds = np.arange(1, 100) / 100
    weight = thresholds / (1.0 - thresholds)
    by_score = scores >= thresholds[:, None]
    benefits = [
        (called & truth).mean(axis=1) - weight * (called & ~truth).mean(axis=1)
        for called in (by_score, by_score | True, by_score & False)
    ]
    return np.transpose([thresholds, *benefits])


def called_point(
    units: Units,
    truth: Mask,
    called: Mask,
    threshold: float,
    prevalences: Sequence[float] = (),
) -> Entry:
    """Return the results of calling these rows positive.

    Parameters
    ----------
    units : Units
    truth, called : ndarray of bool, shape (n,)
    threshold : float
        Of the score.
    prevalences : sequence of float
        Shares of positives elsewhere, for which the predictive values are given too, if both sides have rows.

    Returns
    -------
    dict
        ``threshold``, ``confusion`` (rows true, negative first), the figures ``sensitivity``, ``specificity``,
        ``ppv``, ``npv`` (None for a side without rows), and ``at_prevalence``.
    """
    figures = point_figures(units, truth, called)
    elsewhere = []
    if figures["lr_positive"]:
        elsewhere = [_elsewhere(figures, prevalence) for prevalence in prevalences]
    return {
        "threshold": threshold,
        "confusion": [
            [int((side & answer).sum()) for answer in (~called, called)] for side in (~truth, truth)
        ],
        **{name: figures[name] for name in ("sensitivity", "specificity", "ppv", "npv")},
        "at_prevalence": elsewhere,
    }


def wanted_point(
    table: PredictionTable,
    units: Units,
    sides: TwoSides,
    wanted: float,
    prevalences: Sequence[float],
) -> Entry:
    """Return the results of a threshold for a target sensitivity, each fold called by that of the other folds.

    Parameters
    ----------
    table : PredictionTable
    units : Units
        Of the table.
    sides : TwoSides
        Some rows are positive.
    wanted : float
        Above 0, up to 1.
    prevalences : sequence of float

    Returns
    -------
    dict
        ``wanted``, ``fitted``: ``other folds``, or ``same rows`` where there are none, which flatters; ``enough``:
        whether there are positive units enough, in the others of every fold too, see `sensitive_threshold`; ``unit``
        (``image`` or ``group``); ``by_unit``: the sensitivity if all units weigh the same, if larger ones score lower
        (by Spearman's rank correlation) and that of rows is lower, else null; ``per_fold``; the keys of `called_point`,
        whose ``threshold`` is the one fitted on all rows, of several folds for the mean of their models.
    """
    truth = sides.truth
    scores = sides.scores
    member = units.member
    threshold, enough = sensitive_threshold(scores[truth], wanted, units=member[truth])
    if enough and len(table.fold_numbers) > 1:
        threshold = _threshold_of_mean(table, scores[truth], wanted, units=member[truth])
    # fitted on these very rows, which flatters; used only if there are no others
    called = scores >= threshold
    fitted = "same rows"
    per_fold = []
    if None not in table.folds and all((rest & truth).any() for _, _, rest in fold_rest(table)):
        fitted = "other folds"
        for fold, inside, rest in fold_rest(table):
            outside = rest & truth
            of_fold, enough_outside = sensitive_threshold(
                scores[outside], wanted, units=member[outside]
            )
            called[inside] = scores[inside] >= of_fold
            shares = {
                "sensitivity": _share(called[inside & truth]),
                "specificity": _share(~called[inside & ~truth]),
            }
            per_fold.append({"fold": fold, "threshold": of_fold, **shares})
            enough &= enough_outside
    return {
        "wanted": wanted,
        "fitted": fitted,
        "enough": enough,
        "unit": units.kind,
        "by_unit": _sensitivity_by_unit(units, sides, called),
        "per_fold": per_fold,
        **called_point(units, truth, called, threshold, prevalences),
    }


def _sensitivity_by_unit(units: Units, sides: TwoSides, called: Mask) -> float | None:
    """Return the mean over units of the share of positive rows called; None unless larger units score lower."""
    from scipy.stats import spearmanr

    truth = sides.truth
    _, member, sizes = np.unique(units.member[truth], return_inverse=True, return_counts=True)
    # the rank correlation of equal sizes is not defined
    if sizes.min() == sizes.max():
        return None
    means = np.bincount(member, weights=sides.scores[truth]) / sizes
    by_unit = float((np.bincount(member, weights=called[truth]) / sizes).mean())
    trend = spearmanr(sizes, means)
    if (
        trend.statistic < 0.0
        and trend.pvalue <= 2.0 * (1.0 - LEVEL)
        and by_unit > called[truth].mean()
    ):
        return by_unit
    return None


def _threshold_of_mean(
    table: PredictionTable, scores: Values, wanted: float, *, units: Integers
) -> float:
    """Return the threshold of the mean of all folds' models, which spreads the scores of new rows less than each does.

    Of labelled rows only scores of single models are known. They are scaled by the temperature of these, their
    thresholds averaged as models are, and the mean is scaled back by the temperature of the mean of models.
    """
    single = shrunk_temperature(table) or 1.0
    mean = shrunk_temperature(table, averaged=True) or 1.0
    scaled = _scaled(scores, single)
    threshold, _ = sensitive_threshold(scaled, wanted, units=units, averaged=True)
    return float(_scaled(np.array([threshold]), 1.0 / mean)[0])


def _scaled(scores: Values, temperature: float) -> Values:
    """Return two-class scores, scaled by a temperature."""
    return np.asarray(apply_temperature(np.column_stack([1.0 - scores, scores]), temperature)[:, 1])


def _share(hits: Mask) -> float | None:
    if len(hits) == 0:
        return None
    return float(hits.mean())


def sensitive_threshold(
    scores: Values, wanted: float, *, units: Integers, averaged: bool = False
) -> tuple[float, bool]:
    """Return a threshold that calls a positive row of a new unit with the wanted probability.

    Of one row of each of K units, the conformal threshold is the score of rank (1 - wanted)(K + 1), rounded down, from
    below. With other units and rows drawn, it is another one; it is at most a score, below or at which lies a share s
    of the rows (those of a unit weigh 1 together), with the probability that beta's distribution function has at s.
    The median of these thresholds is returned, so that at least half of the draws call what it calls. Of units with one
    row it is the usual conformal threshold. Rows that count as if each were of another unit would promise too much.

    Parameters
    ----------
    scores : ndarray of float64, shape (m,)
        Of positive rows, at least one.
    wanted : float
    units : ndarray of int, shape (m,)
        The unit of each row: its patient where known, else its image.
    averaged : bool
        Whether to return the mean of the thresholds, for scores that are means over models.

    Returns
    -------
    (float, bool)
        The threshold, and whether there are enough units for the promise. With too few it is the least score.

    References
    ----------
    Vovk, Gammerman & Shafer 2005, ch. 2 (conformal thresholds); Dunn, Wasserman & Ramdas 2022 (a row drawn from each
    unit); Gasparin & Ramdas 2024 (the majority of draws); Harrell & Davis 1982 (their distribution, and mean).

    Examples
    --------
    >>> scores = np.arange(1, 20) / 20
    >>> sensitive_threshold(scores, 0.9, units=np.arange(19)), sensitive_threshold(scores, 0.9, units=np.arange(19) % 2)
    ((0.1, True), (0.05, False))
    """
    from scipy.stats import beta

    _, member, sizes = np.unique(units, return_inverse=True, return_counts=True)
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    rank = int((1.0 - wanted) * (len(sizes) + 1) + 1e-9)  # 0.1 * 10 is not quite 1
    if rank == 0:
        return float(ranked[0]), False
    # a unit counts once, however many rows it has
    shares = np.cumsum(1.0 / sizes[member[order]]) / len(sizes)
    chances = beta.cdf(shares, rank, len(sizes) + 1 - rank)
    if averaged:
        return float(np.diff(chances, prepend=0.0) @ ranked), True
    return float(ranked[np.searchsorted(chances, 0.5 - 1e-9)]), True


def point_figures(units: Units, truth: Mask, called: Mask) -> dict[str, Figure | None]:
    """Return the shares at an operating point, and what follows from two of them.

    Returns
    -------
    dict
        ``sensitivity``, ``specificity``, ``ppv``, ``npv``, ``lr_positive``, ``lr_negative``; None for a side without
        rows.

    References
    ----------
    Altman & Bland 1994 (predictive values); Donner & Zou 2012 (the interval of a ratio from those of its terms).
    """
    figures = {
        "sensitivity": units.share(called, truth),
        "specificity": units.share(~called, ~truth),
        "ppv": units.share(truth, called),
        "npv": units.share(~truth, ~called),
    }
    # ratios are made of shares whose degrees of freedom are bounded as those of terms are
    of_positives = units.share(called, truth)
    of_negatives = units.share(~called, ~truth)
    if of_positives is None or of_negatives is None:
        return figures | {"lr_positive": None, "lr_negative": None}
    return figures | {
        "lr_positive": _quotient(of_positives, of_negatives.rest()),
        "lr_negative": _quotient(of_positives.rest(), of_negatives),
    }


def _quotient(over: Figure, under: Figure) -> Figure:
    """Return a ratio of two independent shares, its interval made of logarithms; its end may be infinite."""
    ratio = over.value / under.value if under.value else np.nan
    reason = over.reason or under.reason
    if reason:
        return Figure(ratio, reason=reason)
    low, high = _quotient_ends(over, under)
    return Figure(ratio, low, high, IntervalMethod.TERMS)


def _quotient_ends(over: Figure, under: Figure) -> Ends:
    """Return the ends of a ratio, from those of its terms on logarithms (Donner & Zou 2012).

    With first = log over and second = log under, each with its ends, the ends of first - second lie
    sqrt((first - low)^2 + (most - second)^2) below it, and sqrt((high - first)^2 + (second - least)^2) above. A term
    of 0 has no logarithm, so that only its own ends count.
    """
    if under.value == 0.0:
        return float(over.low / under.high), np.inf
    if over.value == 0.0:
        if under.low == 0.0:
            return 0.0, np.inf
        return 0.0, float(over.high / under.low)
    # logarithms, since the spread of a ratio grows with it; an end may be 0
    with np.errstate(divide="ignore", invalid="ignore"):
        first, low, high = np.log((over.value, over.low, over.high))
        second, least, most = np.log((under.value, under.low, under.high))
        down = np.hypot(first - low, most - second)
        up = np.hypot(high - first, second - least)
        return float(np.exp(first - second - down)), float(np.exp(first - second + up))


def _elsewhere(figures: Metrics, prevalence: float) -> Entry:
    """Return the predictive values at another prevalence: by Bayes' theorem, their intervals from likelihood ratios."""
    sensitivity = figures["sensitivity"].value
    specificity = figures["specificity"].value
    odds = prevalence / (1.0 - prevalence)
    ppv = _fraction(sensitivity * prevalence, (1 - specificity) * (1 - prevalence))
    npv = _fraction(specificity * (1 - prevalence), (1 - sensitivity) * prevalence)
    return {
        "prevalence": prevalence,
        "ppv": replace(_from_ratio(figures["lr_positive"], odds), value=ppv),
        "npv": replace(_from_ratio(figures["lr_negative"], odds).rest(), value=npv),
    }


def _fraction(first: float, second: float) -> float:
    """Return the first over the sum of both; NaN of nothing."""
    if not first + second:
        return np.nan
    return first / (first + second)


def _from_ratio(ratio: Figure, odds: float) -> Figure:
    """Return the ends of the share of positives that a likelihood ratio makes of these odds.

    It is 1 - 1 / (1 + odds * ratio); its value is left to the caller, since a ratio may have none where it has.
    """
    low = 1.0 - 1.0 / (1.0 + odds * ratio.low)
    high = 1.0 - 1.0 / (1.0 + odds * ratio.high)
    return replace(ratio, low=low, high=high)
