import numpy as np
import pytest
from bchisto.evaluate import PredictionTable, calibration, compare_pairs, compare_tables, latex_table


def table(name, hits, *, folds=5, groups=None, order=None, repeated=False):
    hits = np.asarray(hits)
    p = np.where(hits[:, None], [[0.8, 0.2]], [[0.2, 0.8]])
    ids = [f"i{k % 10 if repeated else k}" for k in range(len(hits))]
    number = [k * folds // len(hits) + 1 if repeated else k % folds + 1 for k in range(len(hits))]
    rows = list(range(len(hits))) if order is None else list(order)
    return PredictionTable.from_probabilities(
        name=name, classes=("a", "b"), image_ids=[ids[k] for k in rows], labels=["a"] * len(hits),
        probabilities=p[rows], folds=[number[k] for k in rows],
        groups=[None if groups is None else groups[k] for k in rows],
    )  # fmt: skip


@pytest.fixture
def hits(rng):
    first = rng.random(100) < 0.75
    return first, np.where(rng.random(100) < 0.2, rng.random(100) < 0.9, first)


def test_mcnemar_equals_statsmodels(hits):
    from statsmodels.stats.contingency_tables import mcnemar

    a, b = hits
    found = compare_tables(table("a", a), table("b", b), replicates=0)
    counts = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    assert found["mcnemar"]["p"] == pytest.approx(mcnemar(counts, exact=True).pvalue)
    assert (found["mcnemar"]["only_first"], found["mcnemar"]["only_second"]) == (counts[0][1], counts[1][0])
    assert found["difference"] == pytest.approx(b.mean() - a.mean())
    assert found["interval"] is None


def test_corrected_t_by_hand(hits):
    from scipy.stats import t as student

    a, b = hits
    found = compare_tables(table("a", a), table("b", b), replicates=0)["corrected_t"]
    d = np.array([(b.astype(float) - a)[k::5].mean() for k in range(5)])
    value = d.mean() / np.sqrt((1 / 5 + 20 / 80) * d.var(ddof=1))
    assert found["t"] == pytest.approx(value)
    assert found["p"] == pytest.approx(2 * student.sf(abs(value), 4))


def test_bootstrap_interval_is_that_of_a_mean_difference(hits):
    from scipy.stats import bootstrap

    a, b = hits
    low, high = compare_tables(table("a", a), table("b", b), replicates=4000)["interval"]
    rng = np.random.default_rng(1)
    other = bootstrap((b.astype(float) - a,), np.mean, method="percentile", n_resamples=4000, rng=rng)
    np.testing.assert_allclose([low, high], other.confidence_interval, atol=0.015)


def test_groups_widen_the_interval(rng):
    a = np.repeat(rng.random(10) < 0.5, 10)
    b = np.repeat(rng.random(10) < 0.5, 10)
    groups = [f"g{k // 10}" for k in range(100)]
    width = [
        np.ptp(compare_tables(table("a", a, groups=g), table("b", b, groups=g))["interval"]) for g in (None, groups)
    ]
    assert width[1] > 2 * width[0]


def test_the_order_of_rows_does_not_matter(hits, rng):
    a, b = hits
    shuffled = compare_tables(table("a", a), table("b", b, order=rng.permutation(100)))
    assert shuffled == compare_tables(table("a", a), table("b", b))


def test_equal_tables_and_tables_of_other_images(hits):
    a, _ = hits
    same = compare_tables(table("a", a), table("b", a))
    assert (same["difference"], same["mcnemar"]["p"], same["corrected_t"]) == (0.0, 1.0, None)
    assert compare_pairs([table("a", a), table("b", a[:50])], replicates=0) == []
    (pair,) = compare_pairs([table("a", a), table("b", ~a)], replicates=0)
    assert (pair["first"], pair["second"]) == ("a", "b")


def test_hold_outs_have_no_corrected_t(rng):
    a, b = rng.random(50) < 0.5, rng.random(50) < 0.5
    found = compare_tables(table("a", a, repeated=True), table("b", b, repeated=True), replicates=0)
    assert found["corrected_t"] is None


def test_calibration_by_hand():
    p = np.array([[0.95, 0.05], [0.91, 0.09], [0.6, 0.4], [0.45, 0.55]])
    t = PredictionTable.from_probabilities(
        name="t", classes=("a", "b"), image_ids=list("wxyz"), labels=["a", "b", "a", "b"], probabilities=p,
        folds=[None] * 4, groups=[None] * 4,
    )  # fmt: skip
    found = calibration(t, bins=10)
    assert [entry["n"] for entry in found["bins"]] == [2, 2] or [entry["n"] for entry in found["bins"]] == [1, 1, 2]
    by_bin = {(0.9, 1.0): [0, 1], (0.5, 0.6): [2, 3]}
    hits, confidence = np.array([1, 0, 1, 1]), p.max(axis=1)
    expected = sum(len(rows) / 4 * abs(hits[rows].mean() - confidence[rows].mean()) for rows in by_bin.values())
    assert found["ece"] == pytest.approx(expected)
    one_hot = np.array([[1, 0], [0, 1], [1, 0], [0, 1]])
    assert found["brier"] == pytest.approx(np.mean(((p - one_hot) ** 2).sum(axis=1)))


def test_brier_equals_scikit_learn(rng):
    from sklearn.metrics import brier_score_loss

    p = rng.dirichlet([1, 1, 1], size=60)
    labels = rng.integers(0, 3, 60)
    t = PredictionTable.from_probabilities(
        name="t", classes=("a", "b", "c"), image_ids=[str(k) for k in range(60)], labels=["abc"[k] for k in labels],
        probabilities=p, folds=[None] * 60, groups=[None] * 60,
    )  # fmt: skip
    assert calibration(t)["brier"] == pytest.approx(brier_score_loss(labels, p, scale_by_half=False))


def test_a_table_without_probabilities_has_no_calibration():
    t = PredictionTable("t", ("a",), ("x",), np.array([0]), None, np.array([0]), (None,), (None,))
    assert calibration(t) is None


def test_latex_escapes_what_latex_reads():
    text = latex_table(["model", "a & b"], [["x_1 50%", "{1}"]])
    assert r"a \& b" in text
    assert r"x\_1 50\% & \{1\} \\" in text
