"""Influences and their variance, against other programs, leaving units out, and numbers by hand."""

from dataclasses import replace

import numpy as np
import pytest
from bchisto.evaluate import PredictionTable, Units
from bchisto.evaluate.intervals import (
    Part,
    difference,
    difference_interval,
    interval,
    kish,
    mid_p,
    normal_interval,
    share_part,
    unit_variation,
    wilson,
)
from bchisto.evaluate.metrics import agreement, f1_part, matrix_part, matthews
from bchisto.evaluate.two_class import auc_part, point_figures
from numpy.testing import assert_allclose
from scipy.stats import binom, t


def rows(rng, count=80):
    labels = rng.integers(0, 3, count)
    return labels, np.where(rng.random(count) < 0.7, labels, rng.integers(0, 3, count))


def table_of(labels, called):
    ids = tuple(map(str, range(len(labels))))
    none = (None,) * len(ids)
    return PredictionTable("", ("a", "b", "c"), ids, labels, None, called, none, none)


def left_out(figure, count):
    """The influence of each row by leaving it out."""
    whole = figure(np.arange(count))
    return np.array(
        [
            (whole - figure(np.delete(np.arange(count), row))) * (count - 1) / count
            for row in range(count)
        ]
    )


@pytest.mark.parametrize("name", ["kappa", "matthews", "f1", "auc"])
def test_influences_are_what_leaving_a_row_out_changes(rng, name):
    from sklearn import metrics

    labels, called = rows(rng, 300)
    scores = rng.integers(0, 15, 300) + 3.0 * (labels == 1)
    part, figure = {
        "kappa": (
            matrix_part(agreement, table_of(labels, called)),
            lambda at: metrics.cohen_kappa_score(labels[at], called[at]),
        ),
        "matthews": (
            matrix_part(matthews, table_of(labels, called)),
            lambda at: metrics.matthews_corrcoef(labels[at], called[at]),
        ),
        "f1": (
            f1_part(labels == 1, called == 1),
            lambda at: metrics.f1_score(labels[at] == 1, called[at] == 1),
        ),
        "auc": (
            auc_part(labels == 1, scores),
            lambda at: metrics.roc_auc_score(labels[at] == 1, scores[at]),
        ),
    }[name]
    assert part.value == pytest.approx(figure(np.arange(300)))
    assert part.effect.sum() == pytest.approx(0.0, abs=1e-9)
    assert_allclose(part.effect, left_out(figure, 300), atol=3e-4)


def test_the_variance_of_kappa_is_that_of_statsmodels(rng):
    from statsmodels.stats.inter_rater import cohens_kappa

    labels, called = rows(rng, 200)
    table = np.histogram2d(labels, called, bins=3)[0]
    part = matrix_part(agreement, table_of(labels, called))
    assert np.square(part.effect).sum() == pytest.approx(cohens_kappa(table).var_kappa, rel=1e-5)


def test_an_auc_counts_pairs_within_their_fold(rng):
    from sklearn.metrics import roc_auc_score

    truth, scores, folds = rng.random(90) < 0.4, rng.integers(0, 9, 90) / 9, rng.integers(1, 4, 90)
    pairs = [truth[folds == one].sum() * (~truth[folds == one]).sum() for one in (1, 2, 3)]
    areas = [roc_auc_score(truth[folds == one], scores[folds == one]) for one in (1, 2, 3)]
    part = auc_part(truth, scores + 5 * folds, folds)
    assert part.value == pytest.approx(np.average(areas, weights=pairs))
    assert part.effect.sum() == pytest.approx(0.0, abs=1e-12)
    assert auc_part(truth, scores, np.where(truth, 1, 2)) is None


def test_the_variance_over_units_of_unequal_size_is_that_of_a_jackknife(rng):
    # how many units of equal size these are worth
    assert kish([10, 10, 0]) == 2.0
    assert kish([]) == 0.0
    member = np.repeat(range(30), rng.integers(1, 60, 30))
    hits = (rng.random(len(member)) < rng.beta(6, 2, 30)[member]).astype(float)
    expected = sum((hits.mean() - hits[member != one].mean()) ** 2 for one in range(30))
    assert unit_variation([share_part(hits, member >= 0)], member).variance == pytest.approx(
        expected
    )


def test_shares_are_those_of_statsmodels(rng):
    from statsmodels.stats.proportion import proportion_confint

    hits = rng.random(4000) < 0.8
    alone = Units(np.arange(4000)).share(hits)
    assert_allclose(alone.interval, proportion_confint(hits.sum(), 4000, method="beta"))
    pairs = Units(np.arange(4000) // 2).share(hits)
    assert_allclose(
        pairs.interval, proportion_confint(hits.sum(), 4000, method="wilson"), atol=1e-3
    )


def test_what_one_unit_outweighs_cannot_be_estimated():
    hits = np.tile([True, True, False], 20)
    found = Units(np.repeat([0, 1, 2], [36, 12, 12])).share(hits)
    assert (found.interval, found.reason) == (None, "one group holds 60 % of the 60 images")
    everywhere = np.ones(60, dtype=bool)
    units = Units(np.repeat([0, 1, 2], [36, 12, 12]), noun="patient", row="patch")
    change = difference(share_part(hits, everywhere), share_part(~hits, everywhere))
    for one in (
        difference_interval([change], units),
        normal_interval(1.0, np.ones(3), units, model=1.0, few=3),
    ):
        assert (one.interval, one.reason) == (None, "one patient holds 60 % of the 60 patches")
    truth = np.arange(60) < 36
    assert interval(
        [auc_part(truth, hits * 1.0)], Units(np.repeat([0, 1, 2, 3], [18, 18, 12, 12]))
    ).interval
    alone = Units(np.r_[np.zeros(12, int), np.arange(48) // 6 + 1])
    assert (
        interval([auc_part(np.arange(60) < 12, hits * 1.0)], alone).reason
        == "only one group of a class"
    )


def test_the_mean_of_parts_that_are_all_1_is_not_certain():
    labels = np.repeat([0, 1], 10)
    recalls = [share_part(labels == labels, labels == one) for one in (0, 1)]
    low, high = interval(recalls, Units(np.arange(20))).interval
    assert 0.6 < low < 0.9
    assert high == 1.0
    low, high = interval([auc_part(labels > 0, labels * 1.0)], Units(np.arange(20))).interval
    # worth 40 rows of a share
    assert low == pytest.approx(40 / (40 + 2.0930240544082634**2), rel=0.01)
    assert high == 1.0


@pytest.mark.parametrize(("right", "rows"), [(0, 12), (3, 12), (11, 12), (12, 12)])
def test_mid_p_by_the_binomial_distribution(right, rows):
    """At each end, more (or fewer) right rows and half of as many have a probability of 2.5 %."""
    low, high = mid_p(right / rows, float(rows))
    as_many = [binom.pmf(right, rows, end) / 2 for end in (low, high)]
    assert (
        low == 0.0
        if right == 0
        else binom.sf(right, rows, low) + as_many[0] == pytest.approx(0.025)
    )
    assert (
        high == 1.0
        if right == rows
        else binom.cdf(right - 1, rows, high) + as_many[1] == pytest.approx(0.025)
    )


def by_hand(hits, inside, member, *, least, power):
    """Return the interval of a share of rows in units: Wilson's of statsmodels, for as many rows as vary as much."""
    from scipy.stats import norm, t
    from statsmodels.stats.proportion import proportion_confint

    share, units = hits[inside].mean(), np.unique(member[inside])
    size = np.array([(member[inside] == one).sum() for one in units])
    summed = (
        np.array([(hits[inside] - share)[member[inside] == one].sum() for one in units])
        / inside.sum()
    )
    squares = np.square(summed / (1 - size / size.sum()) ** power)
    rows = share * (1 - share) / squares.sum()
    worth = size.sum() ** 2 / np.square(size).sum()
    assert worth < rows < inside.sum()  # otherwise these bound it
    units_known = member.max() + 1
    free = 2 * squares.sum() ** 2 / (np.square(squares).sum() - squares.sum() ** 2 / len(units))
    free = min(max(least, min(free, max(worth - 1, least))), units_known - 1)
    alpha = 2 * norm.sf(t.ppf(0.975, free))
    return proportion_confint(share * rows, rows, alpha=alpha, method="wilson")


@pytest.fixture
def outweighed():
    """Rows of 16 patients, of whom one has 45 of 120; patients differ in truth and in how often they are called."""
    rng = np.random.default_rng(1)
    member = np.repeat(np.arange(16), [45] + [5] * 15)
    tilt = rng.normal(size=(2, 16))[:, member] * 1.5
    truth, right = rng.random((2, 120)) < 1 / (1 + np.exp(-tilt - [[0.0], [1.0]]))
    return member, truth, np.where(right, truth, ~truth)


def test_predictive_values_by_hand(outweighed):
    """With three quarters of the correction, and at least 5 degrees of freedom; sensitivity has neither."""
    member, truth, called = outweighed
    found = Units(member).share(truth, called, predictive=True).interval
    assert_allclose(found, by_hand(truth, called, member, least=5, power=0.75), rtol=1e-9)
    assert found != pytest.approx(by_hand(truth, called, member, least=1, power=0.75), rel=1e-3)
    sensitivity = Units(member).share(called, truth).interval
    assert_allclose(sensitivity, by_hand(called, truth, member, least=1, power=1), rtol=1e-9)


def test_likelihood_ratios_by_hand(outweighed):
    """Of terms with at least 8 degrees of freedom, on logarithms (Donner and Zou 2012)."""
    member, truth, called = outweighed
    found = point_figures(Units(member), truth, called)["lr_positive"].interval
    yes, no = called[truth].mean(), called[~truth].mean()
    (low, high), (least, most) = (
        by_hand(called, side, member, least=8, power=1) for side in (truth, ~truth)
    )
    down = np.hypot(np.log(yes / low), np.log(most / no))
    up = np.hypot(np.log(high / yes), np.log(no / least))
    assert_allclose(found, yes / no * np.exp([-down, up]), rtol=1e-9)


def test_a_case_is_worth_more_rows_if_several_classes_are_averaged(rng, monkeypatch):
    """In differences of AUCs of single images: eight rows of a proportion; else four."""
    labels = np.repeat([0, 1, 2, 3], [30, 30, 30, 2])
    scores = rng.normal(size=(2, 92, 4)) + 2.5 * np.eye(4)[labels]
    parts = [
        difference(*(auc_part(labels == k, of_table[:, k]) for of_table in scores))
        for k in range(4)
    ]
    images, pairs = Units(np.arange(92)), Units(np.r_[np.arange(90) // 2, 45, 46])

    for of, units, finer in ((parts, images, 8.0), (parts, pairs, 4.0), (parts[3:], images, 4.0)):
        calls = []
        monkeypatch.setattr(
            "bchisto.evaluate.intervals.unit_variation",
            lambda of, *args, to=calls, **more: to.append(of) or unit_variation(of, *args, **more),
        )
        difference_interval(of, units)
        assert [{part.finer for part in of_call} for of_call in calls] == [{finer}]


def scores_part(values, inside):
    """A mean of scores, which are no shares, of some rows."""
    value = values[inside].mean()
    return Part(float(value), np.where(inside, values - value, 0.0) / inside.sum(), (inside,))


def test_a_mean_of_scores_of_different_rows_lies_within_its_limits():
    """Their interval is not that of shares, whose ends would be none for a score below 0."""
    values = np.array([-1.0, -1.0, -0.5, -1.0, 0.5, 1.0, 1.0, 0.0])
    first = np.arange(8) < 4
    figure = interval(
        [scores_part(values, first), scores_part(values, ~first)],
        Units(np.arange(8)),
        limits=(-1.0, 1.0),
    )
    assert figure.reason is None
    assert -1.0 <= figure.low < figure.value < figure.high <= 1.0


@pytest.mark.parametrize(
    "counts",
    [
        [(2, 6, 8, 12), (4, 6, 4, 12)],  # what one class gains in a unit the other loses
        [(2, 5, 9, 15), (3, 5, 6, 15)],
        [(1, 5, 4, 5)],  # each unit has the share of all in each class
        [(1, 4, 3, 4)],
    ],
)
def test_a_mean_that_varies_only_by_rounding_is_worth_its_units(counts):
    """Of each unit: right rows and rows of the first class, and those of the second."""
    counts = np.array(counts * (8 // len(counts)))
    label = np.concatenate([np.repeat([0, 1], [first, last]) for _, first, _, last in counts])
    hits = [np.arange(size) < right for row in counts for right, size in (row[:2], row[2:])]
    units = Units(np.repeat(np.arange(8), counts[:, 1] + counts[:, 3]))
    parts = [share_part(np.concatenate(hits), label == number) for number in (0, 1)]
    figure = interval(parts, units)
    assert [figure.low, figure.high] == pytest.approx(wilson(0.5, 8, t.ppf(0.975, 7)))


@pytest.mark.parametrize("limits", [(0.0, 1.0), (-1.0, 1.0), (0.0, 5.0)])
def test_parts_that_balance_each_other_have_an_interval(limits):
    """What one part gains the other loses, so that their mean does not vary."""
    low, high = limits
    right = np.arange(12) % 3 == 0
    everywhere = np.ones(12, dtype=bool)
    parts = [
        scores_part(np.where(hits, high, low).astype(float), everywhere) for hits in (right, ~right)
    ]
    figure = interval(parts, Units(np.arange(12)), limits=limits)
    assert figure.value == pytest.approx((low + high) / 2)
    assert low < figure.low < figure.value < figure.high < high


def test_a_mean_with_a_part_of_free_rows_has_a_width():
    """The rows of a loss may each be worth any number of rows of a share."""
    values = np.linspace(0.1, 1.9, 10)
    part = replace(scores_part(values, np.ones(10, dtype=bool)), finer=np.inf)
    figure = interval([part, part], Units(np.arange(10)), limits=(0.0, 2.0))
    assert 0.0 <= figure.low < figure.value < figure.high <= 2.0
