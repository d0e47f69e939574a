"""Influences and their variance, against other programs, leaving units out, and numbers by hand."""

from dataclasses import replace
from functools import partial

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
)
from bchisto.evaluate.metrics import agreement, f1_part, matrix_part, matthews
from bchisto.evaluate.two_class import auc_part, point_figures
from numpy.testing import assert_allclose
from scipy.special import expit, logit
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
            matrix_part(partial(agreement, weights=np.eye(3)), table_of(labels, called)),
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
    part = matrix_part(partial(agreement, weights=np.eye(3)), table_of(labels, called))
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
    # worth 100 pairs / (1 + 9 other cases of a side / 2) rows of a share (Newcombe 2006, method 5)
    worth = 100 / 5.5
    assert low == pytest.approx(worth / (worth + t.ppf(0.975, 19) ** 2), rel=1e-6)
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


def by_hand(hits, inside, member):
    """Return the interval of a share of rows in units: Wilson's of statsmodels, with the moderated design effect."""
    from scipy.stats import norm
    from statsmodels.stats.proportion import proportion_confint

    share, count = hits[inside].mean(), inside.sum()
    size = np.array([(inside & (member == one)).sum() for one in np.unique(member[inside])])
    wrong = np.array(
        [(hits - share)[inside & (member == one)].sum() for one in np.unique(member[inside])]
    )
    units = count**2 / np.square(size).sum()
    of_units = np.square(wrong / count / (1 - size / count)).sum()
    with_four = (units * share + 2) / (units + 4)
    usual = 6 * with_four * (1 - with_four) / count
    alike = 1 + 0.22 * (count / units - 1)
    effect = (usual * alike + units * of_units) / (usual + units * share * (1 - share) / count)
    alpha = 2 * norm.sf(t.ppf(0.975, units - 1 + min(6, units)))
    rows = count / max(effect, 1)
    return proportion_confint(share * rows, rows, alpha=alpha, method="wilson")


@pytest.fixture
def outweighed():
    """Rows of 16 patients, of whom one has 45 of 120; patients differ in truth and in how often they are called."""
    rng = np.random.default_rng(1)
    member = np.repeat(np.arange(16), [45] + [5] * 15)
    tilt = rng.normal(size=(2, 16))[:, member] * 1.5
    truth, right = rng.random((2, 120)) < 1 / (1 + np.exp(-tilt - [[0.0], [1.0]]))
    return member, truth, np.where(right, truth, ~truth)


def test_shares_of_rows_in_units_by_hand(outweighed):
    member, truth, called = outweighed
    for hits, inside in ((truth, called), (called, truth), (truth == called, member >= 0)):
        assert_allclose(
            Units(member).share(hits, inside).interval, by_hand(hits, inside, member), rtol=1e-9
        )


def test_likelihood_ratios_by_hand(outweighed):
    """Of terms, on logarithms (Donner and Zou 2012)."""
    member, truth, called = outweighed
    ratio = point_figures(Units(member), truth, called)["lr_positive"].interval
    yes, no = called[truth].mean(), called[~truth].mean()
    (low, high), (least, most) = (by_hand(called, side, member) for side in (truth, ~truth))
    down = np.hypot(np.log(yes / low), np.log(most / no))
    up = np.hypot(np.log(high / yes), np.log(no / least))
    assert_allclose(ratio, yes / no * np.exp([-down, up]), rtol=1e-9)


def random_table(rng, equal):
    """Draw patients who differ, with the class and the result of each image, and the factor of folds."""
    patients = int(rng.integers(3, 25))
    if equal:
        sizes = np.full(patients, rng.integers(2, 12))
    else:
        sizes = np.maximum(1, rng.lognormal(0, 1, patients) * rng.integers(2, 8)).astype(int)
    member = np.repeat(np.arange(patients), sizes)
    skill = logit(rng.uniform(0.4, 0.99)) + rng.choice([0, 0.3, 1.5]) * rng.normal(size=patients)
    hits = rng.random(len(member)) < expit(skill)[member]
    label = rng.integers(0, 2, patients)[member]
    if rng.random() < 0.5:
        label = rng.integers(0, 2, len(member))
    return Units(member, rng.choice([1.0, 1.5])), hits, label


def figures_of(hits, label, units):
    sizes = np.bincount(units.member)
    means = np.bincount(units.member, hits) / sizes
    effect = (hits - means.mean()) / sizes[units.member] / len(sizes)
    by_unit = Part(float(means.mean()), effect, (label >= 0,), by_unit=True)
    classes = [share_part(hits, label == one) for one in np.unique(label)]
    return [interval(parts, units) for parts in ([share_part(hits)], classes, [by_unit])]


@pytest.mark.parametrize(
    "tables", [pytest.param(range(400)), pytest.param(range(400, 5400), marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(("equal", "most"), [(True, 0.005), (False, 0.03)])
def test_one_more_right_row_never_looks_worse(equal, most, tables):
    """Neither end of an interval falls; with equal patients no verdict is lost."""
    flips = 0
    for number in tables:
        rng = np.random.default_rng([number, equal])
        units, hits, label = random_table(rng, equal)
        if hits.all():
            continue
        better = hits.copy()
        better[rng.choice(np.flatnonzero(~hits))] = True
        both = zip(figures_of(hits, label, units), figures_of(better, label, units), strict=True)
        for before, after in both:
            if before.interval is None or after.interval is None:
                continue
            flips += 1
            assert after.low >= before.low - most
            assert after.high >= before.high - most
            assert not equal or not before.low > 0.5 >= after.low
    assert flips > 2 * len(tables)


def test_perfect_patients_are_worth_no_less_than_nearly_perfect_ones():
    """Six patients of five images each, all right, or one or two wrong."""
    lows = []
    for wrong in ([], [0], [0, 5]):
        hits = ~np.isin(np.arange(30), wrong)
        lows.append(Units(np.repeat(np.arange(6), 5), 1.5).share(hits).low)
    assert lows == sorted(lows, reverse=True)
    assert lows[0] > 0.6


def test_an_auc_of_single_pairs_is_a_share_of_pairs():
    """Ten folds of one positive and one negative image, each ranked rightly: ten rows."""
    truth = np.arange(20) % 2 == 0
    part = auc_part(truth, truth * 1.0, np.arange(20) // 2)
    low, high = Units(np.arange(20)).figure(part).interval
    assert (low, high) == (pytest.approx(10 / (10 + t.ppf(0.975, 19) ** 2)), 1.0)


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


def test_what_one_class_gains_the_other_loses():
    """Patients whose images of one class are the worse, the better those of the other, tell their mean better."""
    member = np.repeat(np.arange(20), 10)
    label = np.tile(np.arange(10) % 2, 20)
    tilt = np.where(member % 2 == 0, 1, -1) * np.where(label == 0, 1, -1)
    hits = np.random.default_rng(0).random(200) < expit(0.5 + tilt)
    alone = [interval([share_part(hits, label == one)], Units(member)) for one in (0, 1)]
    both = interval([share_part(hits, label == one) for one in (0, 1)], Units(member))
    independent = np.hypot(*(figure.high - figure.low for figure in alone)) / 2
    assert both.high - both.low < 0.9 * independent


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
