"""What an interval rests on: rows, or groups of rows, each figure on its own."""

import numpy as np
import pytest
from bchisto.evaluate import PredictionTable, bootstrap_intervals, share_interval
from bchisto.evaluate.predictions import bootstrap_counts, sampling_units
from bchisto.evaluate.shares import Basis, kish


def table(hits, *, groups=None, labels=None, folds=None):
    hits = np.asarray(hits)
    labels = np.zeros(len(hits), int) if labels is None else np.asarray(labels)
    called = np.where(hits, labels, 1 - labels)
    return PredictionTable.from_probabilities(
        name="t", classes=("a", "b"), image_ids=[f"i{k}" for k in range(len(hits))], labels=["ab"[k] for k in labels],
        probabilities=np.where(called[:, None], [[0.1, 0.9]], [[0.9, 0.1]]),
        folds=folds or [None] * len(hits), groups=groups or [None] * len(hits),
    )  # fmt: skip


def test_one_row_without_a_group_changes_next_to_nothing(rng):
    hits = np.repeat(rng.random(40) < 0.8, 10)
    groups = [f"g{k // 10}" for k in range(400)]
    whole = bootstrap_intervals(table(hits, groups=groups), replicates=50)
    blank = bootstrap_intervals(table(hits, groups=[None, *groups[1:]]), replicates=50)
    assert (whole["unit"], whole["units"], whole["ungrouped"]) == ("group", 40, 0)
    assert (blank["unit"], blank["units"], blank["ungrouped"]) == ("group", 41, 1)
    np.testing.assert_allclose(blank["accuracy"], whole["accuracy"], atol=0.01)
    alone = bootstrap_intervals(table(hits), replicates=50)
    assert (alone["unit"], alone["units"], alone["ungrouped"]) == ("image", 400, 0)
    assert np.ptp(whole["accuracy"]) > 2 * np.ptp(alone["accuracy"])


def test_a_row_without_a_group_is_drawn_with_its_image():
    t = table([True] * 4, groups=["g", None, None, "g"])
    unit, member = sampling_units(t)
    assert (unit, len(set(member.tolist())), member[0] == member[3]) == ("group", 3, True)
    # a group that is called like an image is another unit
    assert len(set(sampling_units(table([True] * 3, groups=["i1", None, None]))[1].tolist())) == 3


def test_all_right_is_not_certain():
    found = bootstrap_intervals(table([True] * 20, labels=[0, 1] * 10), replicates=50)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "auc", "cohen_kappa", "matthews_corrcoef"):
        low, high = found[name]
        assert 0.6 < low < 0.87, name
        assert high == 1.0, name
    np.testing.assert_allclose(found["accuracy"], [0.8315666, 1.0], atol=1e-6)  # Clopper & Pearson 1934
    np.testing.assert_allclose(found["per_class"]["a"]["recall"], [0.6915029, 1.0], atol=1e-6)


def test_rows_of_groups_that_agree_wholly_are_worth_the_groups():
    """Ten groups of equal rows: the interval is that of ten rows. Three are wrong, which leaves four degrees."""
    hits = np.repeat([True] * 7 + [False] * 3, 20)
    found = share_interval(hits, np.repeat(range(10), 20))
    from scipy.stats import t as student

    middle = student.ppf(0.975, 4) ** 2 / 10  # its variance makes 9 rows, but no fewer than the groups count
    expected = [((0.7 + middle / 2) + sign * np.sqrt(middle * 0.21 + middle**2 / 4)) / (1 + middle) for sign in (-1, 1)]
    np.testing.assert_allclose([found.low, found.high], expected)
    assert (found.method, found.warning) == ("Wilson, effective rows, t", None)


def test_without_clusters_the_effective_rows_are_the_rows(rng):
    from statsmodels.stats.proportion import proportion_confint

    hits = rng.random(4000) < 0.8
    found = share_interval(hits, np.arange(4000) // 2)
    np.testing.assert_allclose(
        [found.low, found.high], proportion_confint(hits.sum(), 4000, method="wilson"), atol=1e-3
    )


def test_groups_agree_with_the_cluster_bootstrap(rng):
    share = rng.beta(6, 2, 150)
    hits = (rng.random((150, 12)) < share[:, None]).ravel()
    member = np.repeat(np.arange(150), 12)
    found = share_interval(hits, member)
    total, size = np.bincount(member, weights=hits), np.bincount(member)
    draws = [(counts @ total) / (counts @ size) for counts in bootstrap_counts(150, replicates=2000, seed=0)]
    other = np.percentile(np.concatenate(draws), [2.5, 97.5])
    np.testing.assert_allclose([found.low, found.high], other, atol=0.006)


def test_groups_that_are_wholly_right_say_little_of_how_groups_differ():
    """Two of twenty groups hold all errors: three degrees of freedom are left, not nineteen."""
    from scipy.stats import t as student

    hits = np.ones((20, 10))
    hits[:2, :5] = 0
    found = share_interval(hits.ravel(), np.repeat(range(20), 10))
    variance = 10**2 * (2 * 0.45**2 + 18 * 0.05**2) / 200**2 * (20 / 19) ** 2
    ratio = student.ppf(0.975, 3) ** 2 / max(0.95 * 0.05 / variance, 20)
    half = np.sqrt(ratio * 0.95 * 0.05 + ratio**2 / 4) / (1 + ratio)
    assert found.low == pytest.approx((0.95 + ratio / 2) / (1 + ratio) - half)
    assert found.warning is None


def test_the_variance_over_groups_of_unequal_size_is_that_of_a_jackknife(rng):
    """Without what a group draws the mean towards itself large groups seem to differ less than they do."""
    member = np.repeat(range(30), rng.integers(1, 60, 30))
    hits = (rng.random(len(member)) < rng.beta(6, 2, 30)[member]).astype(float)
    variance = sum((hits.mean() - hits[member != one].mean()) ** 2 for one in range(30))
    few = [kish(np.bincount(member, weights=one)) for one in (hits, 1 - hits)]
    units = kish(np.bincount(member))
    basis = Basis(units, len(hits), min(units, min(few) + 2), 30)
    assert share_interval(hits, member).ends == pytest.approx(basis.interval(hits.mean(), variance).ends)


def test_intervals_of_groups_of_unequal_size_cover(rng):
    """Eighty groups of a lognormal number of rows, 97 % right: 90 % with the variance of groups of one size."""
    held = 0
    for _ in range(1000):
        size = np.maximum(1, np.round(rng.lognormal(2.1, 1.5, 80)).astype(int))
        member = np.repeat(range(80), size)
        found = share_interval(rng.random(len(member)) < rng.beta(7.76, 0.24, 80)[member], member)
        held += found.low <= 0.97 <= found.high
    assert held / 1000 >= 0.925


def test_draws_are_the_same_however_many_come_at_a_time():
    once = np.concatenate(list(bootstrap_counts(9, replicates=700, seed=3)))
    parts = list(bootstrap_counts(9, replicates=700, seed=3, rows=60_000))
    assert max(map(len, parts)) * 60_000 <= 2_000_000
    np.testing.assert_array_equal(np.concatenate(parts), once)


@pytest.mark.slow
def test_intervals_of_many_rows_take_little_memory(rng):
    """Patches of 20,000 rows: 500 draws at once, as the rows have them, are 80 MB an array, of which there were ten."""
    import tracemalloc

    labels = np.arange(20_000) % 2
    many = table(rng.random(20_000) < 0.8, labels=labels, groups=[f"g{k // 500}" for k in range(20_000)])
    tracemalloc.start()
    found = bootstrap_intervals(many, replicates=2000)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 150e6
    assert found["replicates"] == 500  # what a spread takes, of 2,000


def test_few_units_are_said():
    found = share_interval([True, False] * 30, np.arange(60) // 15)
    assert found.warning == "rests on 4 groups: it may cover less than 95 %"
    uneven = share_interval([True, False] * 30, [0] * 50 + list(range(1, 11)))
    assert uneven.warning == "rests on 11 groups of unequal size, worth 1.4: it may cover less than 95 %"
    assert share_interval([], []) is None
    assert kish([]) == 0.0


def test_a_warning_follows_the_figure_it_is_about(rng):
    """A class of four patients in a table of forty."""
    labels = np.repeat([1] * 4 + [0] * 36, 10)
    found = bootstrap_intervals(
        table(rng.random(400) < 0.9, labels=labels, groups=[f"g{k // 10}" for k in range(400)]), replicates=100
    )
    assert found["warning"] is None
    assert "per_class.b.recall" in found["warnings"]
    assert "per_class.a.recall" not in found["warnings"]
    assert found["warnings"]["auc"] == "rests on 4 groups: it may cover less than 95 %"


def test_images_without_a_patient_do_not_make_a_patient_recognition_rate_sure(rng):
    """Five patients of ten images among 500 of nobody; one patient among 38."""
    hits = np.tile([True] * 6 + [False] * 4, 5)
    groups = [f"g{k // 10}" for k in range(50)]
    alone = bootstrap_intervals(table(hits, groups=groups), replicates=300)
    among = bootstrap_intervals(table(np.r_[hits, rng.random(500) < 0.9], groups=groups + [None] * 500), replicates=300)
    name = "patient_recognition_rate"
    np.testing.assert_allclose(alone[name], [0.153, 0.926], atol=0.001)  # all alike: worth the patients, not the images
    np.testing.assert_allclose(among[name], alone[name], atol=0.01)
    assert among["warnings"][name] == alone["warnings"][name] == "rests on 5 groups: it may cover less than 95 %"
    one = bootstrap_intervals(table([True] * 40, groups=["g"] * 2 + [None] * 38), replicates=300)
    assert one[name][0] < 0.1


def test_an_agreement_of_swapped_classes_is_in_its_interval(rng):
    """Of four classes, images of two alone, each taken for the other: kappa and Matthews' correlation reach -1."""
    labels = np.arange(40) % 2
    called = np.r_[0, 1 - labels[1:]]
    swapped = PredictionTable.from_probabilities(
        name="t", classes=tuple("abcd"), image_ids=[str(k) for k in range(40)], labels=["ab"[k] for k in labels],
        probabilities=np.eye(4)[called], folds=[None] * 40, groups=[None] * 40,
    )  # fmt: skip
    found = bootstrap_intervals(swapped, replicates=300)
    for name in ("cohen_kappa", "matthews_corrcoef"):
        assert found[name][0] < -0.95 < found[name][1] < -0.6, name


def test_an_agreement_of_four_classes_is_no_less_sure_than_its_accuracy(rng):
    """In classes of one size, and wrong answers that spread evenly, kappa is a line of the accuracy."""
    labels = np.arange(400) % 4
    called = np.where(rng.random(400) < 0.8, labels, (labels + rng.integers(1, 4, 400)) % 4)
    even = PredictionTable.from_probabilities(
        name="t", classes=tuple("abcd"), image_ids=[str(k) for k in range(400)], labels=["abcd"[k] for k in labels],
        probabilities=np.eye(4)[called], folds=[None] * 400, groups=[None] * 400,
    )  # fmt: skip
    found = bootstrap_intervals(even, replicates=500)
    assert np.ptp(found["cohen_kappa"]) == pytest.approx(np.ptp(found["accuracy"]) * 4 / 3, rel=0.08)


def test_several_folds_widen_every_interval(rng):
    hits, labels = rng.random(200) < 0.8, rng.integers(0, 2, 200)
    once = bootstrap_intervals(table(hits, labels=labels), replicates=200)
    crossed = bootstrap_intervals(table(hits, labels=labels, folds=[k % 5 for k in range(200)]), replicates=200)
    for name in ("accuracy", "balanced_accuracy", "auc", "macro_f1", "cohen_kappa"):
        assert 1.15 < np.ptp(crossed[name]) / np.ptp(once[name]) < 1.27, name
    assert crossed["methods"]["accuracy"] == "Clopper-Pearson; variance times 1.5 for folds"


@pytest.mark.parametrize(("share", "variance"), [(1.0, 0.0), (0.0, 0.0), (0.5, 0.0), (0.999, 1e-9)])
def test_what_has_no_spread_is_worth_few_rows(share, variance):
    found = Basis(10.0, 50.0, 10.0, 10).interval(share, variance)
    assert 0.0 <= found.low <= share <= found.high <= 1.0
    assert found.high - found.low > 0.05
