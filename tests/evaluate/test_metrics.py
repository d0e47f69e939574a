from dataclasses import replace

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.evaluate import PredictionTable, bootstrap_intervals, compute_metrics, default_positive, two_class_scores
from bchisto.evaluate.weighted import auc_influence, weighted_auc, weighted_aurc, weighted_precision


def table(rng, count=120, classes=("a", "b", "c"), folds=4, groups=None, sharp=1.5):
    labels = rng.integers(0, len(classes), count)
    logits = rng.normal(size=(count, len(classes)))
    logits[np.arange(count), labels] += sharp
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return PredictionTable.from_probabilities(
        name="t",
        classes=classes,
        image_ids=[f"i{k}" for k in range(count)],
        labels=[classes[k] for k in labels],
        probabilities=p,
        folds=[k % folds + 1 for k in range(count)],
        groups=groups or [None] * count,
        protocol="test",
    )


def test_equal_scikit_learn(rng):
    from sklearn import metrics

    t = table(rng)
    found = compute_metrics(t, positive=["c"], thresholds=[0.2, 0.6])
    assert found["accuracy"] == metrics.accuracy_score(t.labels, t.predicted)
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(t.labels, t.predicted))
    assert found["confusion"] == metrics.confusion_matrix(t.labels, t.predicted).tolist()
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(t.labels, t.probabilities, multi_class="ovr"))
    report = metrics.classification_report(t.labels, t.predicted, output_dict=True, target_names=t.classes)
    for name in t.classes:
        assert found["per_class"][name]["f1"] == pytest.approx(report[name]["f1-score"])
        assert found["per_class"][name]["precision"] == pytest.approx(report[name]["precision"])
        assert found["per_class"][name]["recall"] == pytest.approx(report[name]["recall"])
        k = t.classes.index(name)
        truth, called = t.labels == k, t.predicted == k
        assert found["per_class"][name]["specificity"] == pytest.approx(metrics.recall_score(~truth, ~called))
        ranked = metrics.average_precision_score(truth, t.probabilities[:, k])
        assert found["per_class"][name]["average_precision"] == pytest.approx(ranked)
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(t.labels, t.predicted, average="macro"))
    per_fold = [np.mean((t.predicted == t.labels)[np.array(t.folds) == fold]) for fold in (1, 2, 3, 4)]
    assert found["accuracy_per_fold"] == pytest.approx(per_fold)
    assert found["accuracy_std"] == pytest.approx(np.std(per_fold, ddof=0))


def test_two_class_view_equals_scikit_learn_at_any_threshold(rng):
    from sklearn import metrics

    t = table(rng)
    truth, scores = t.labels == 2, t.probabilities[:, 2]
    view = compute_metrics(t, positive=["C"], thresholds=np.linspace(0, 1, 11))["two_class"]
    assert view["auc"] == pytest.approx(metrics.roc_auc_score(truth, scores))
    for point in view["thresholds"]:
        called = scores >= point["threshold"]
        assert point["sensitivity"] == pytest.approx(metrics.recall_score(truth, called))
        assert point["specificity"] == pytest.approx(metrics.recall_score(~truth, ~called))


def test_both_rules_of_the_two_class_score():
    p = np.array([[0.40, 0.10, 0.30, 0.20], [0.0, 0.0, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4]])
    mask = np.array([False, False, True, True])
    np.testing.assert_allclose(two_class_scores(p, mask, rule="sum"), [0.5, 0.0, 0.7])
    np.testing.assert_allclose(two_class_scores(p, mask, rule="max"), [0.3 / 0.7, 0.5, 0.4 / 0.6])


def test_positive_classes(rng):
    assert default_positive(["Normal", "Benign", "InSitu", "Invasive"]) == ("InSitu", "Invasive")
    assert default_positive(["benign", "malignant"]) == ("malignant",)
    assert default_positive(["InSitu", "Invasive"]) == ()
    assert default_positive(["a", "b"]) == ()
    with pytest.raises(InputError, match="`positive` d: no such class; choose among a, b, c"):
        compute_metrics(table(rng), positive=["d"])
    with pytest.raises(InputError, match="every class is positive"):
        compute_metrics(table(rng), positive=["a", "b", "c"])


def test_a_class_without_images_leaves_auc_undefined(rng):
    t = table(rng, classes=("a", "b"))
    wide = PredictionTable.from_probabilities(
        name="w", classes=("a", "b", "never"), image_ids=t.image_ids, labels=[t.classes[k] for k in t.labels],
        probabilities=np.column_stack([t.probabilities, np.zeros(len(t))]), folds=t.folds, groups=t.groups,
    )  # fmt: skip
    found = compute_metrics(wide, positive=["never"])
    assert found["auc"] is None
    assert found["two_class"]["auc"] is None
    assert found["two_class"]["thresholds"][0]["sensitivity"] is None


def test_weighted_auc_equals_scikit_learn_with_ties(rng):
    from sklearn.metrics import roc_auc_score

    truth, scores = rng.random(80) < 0.4, rng.integers(0, 12, 80) / 12
    weights = rng.integers(0, 4, (20, 80)).astype(float)
    expected = [roc_auc_score(truth, scores, sample_weight=w) for w in weights]
    np.testing.assert_allclose(weighted_auc(truth, scores, weights), expected)


def test_intervals_of_shares_of_single_images_are_exact(rng):
    from statsmodels.stats.proportion import proportion_confint

    t = replace(table(rng, count=400), folds=(None,) * 400)
    found = bootstrap_intervals(t, replicates=20)
    hits = t.predicted == t.labels
    np.testing.assert_allclose(found["accuracy"], proportion_confint(hits.sum(), 400, method="beta"))
    for place, name in enumerate(t.classes):
        true, called = t.labels == place, t.predicted == place
        for metric, part, whole in (("recall", hits & true, true), ("precision", hits & true, called)):
            expected = proportion_confint(part.sum(), whole.sum(), method="beta")
            np.testing.assert_allclose(found["per_class"][name][metric], expected)
    assert (found["methods"]["accuracy"], found["warnings"], found["warning"]) == ("Clopper-Pearson", {}, None)


def test_groups_widen_intervals(rng):
    base = table(rng, count=200)
    hits = np.repeat(rng.random(20) < 0.6, 10)
    labels = np.zeros(200, int)
    p = np.where(hits[:, None], [[0.9, 0.1]], [[0.1, 0.9]])

    def make(groups):
        return PredictionTable.from_probabilities(
            name="g", classes=("a", "b"), image_ids=base.image_ids, labels=["ab"[k] for k in labels], probabilities=p,
            folds=base.folds, groups=groups,
        )  # fmt: skip

    alone = bootstrap_intervals(make([None] * 200))
    grouped = bootstrap_intervals(make([f"g{k // 10}" for k in range(200)]))
    assert (alone["unit"], grouped["unit"], grouped["units"]) == ("image", "group", 20)
    width = [interval[1] - interval[0] for interval in (alone["accuracy"], grouped["accuracy"])]
    assert width[1] > 2 * width[0]


def test_intervals_are_named_like_the_metrics_and_hold_them(rng):
    t = table(rng)
    found = compute_metrics(t, positive=["c"], thresholds=[0.4])
    intervals = bootstrap_intervals(t, positive=["c"], thresholds=[0.4])
    for name in ("accuracy", "balanced_accuracy", "auc"):
        assert intervals[name][0] <= found[name] <= intervals[name][1]
    point, interval = found["two_class"]["thresholds"][0], intervals["two_class"]["thresholds"][0]
    assert interval["sensitivity"][0] <= point["sensitivity"] <= interval["sensitivity"][1]
    assert bootstrap_intervals(t, replicates=0) == {}
    assert bootstrap_intervals(t) == bootstrap_intervals(t)


def test_weighted_average_precision_equals_scikit_learn_with_ties(rng):
    from sklearn.metrics import average_precision_score

    truth, scores = rng.random(80) < 0.4, rng.integers(0, 12, 80) / 12
    weights = rng.integers(0, 4, (20, 80)).astype(float)
    expected = [average_precision_score(truth, scores, sample_weight=w) for w in weights]
    np.testing.assert_allclose(weighted_precision(truth, scores, weights), expected)


def test_agreement_beyond_chance_equals_scikit_learn(rng):
    from sklearn.metrics import cohen_kappa_score, matthews_corrcoef

    t = table(rng, classes=("grade 1", "grade 2", "grade 3"))
    found = compute_metrics(t)
    assert found["matthews_corrcoef"] == pytest.approx(matthews_corrcoef(t.labels, t.predicted))
    assert found["cohen_kappa"] == pytest.approx(cohen_kappa_score(t.labels, t.predicted))
    weighted = cohen_kappa_score(t.labels, t.predicted, weights="quadratic")
    assert found["weighted_kappa"] == pytest.approx(weighted)
    for classes in (("grade 1", "grade 3", "grade 2"), ("a", "b", "c"), ("a 1", "b 2", "c 3")):
        assert compute_metrics(replace(t, classes=classes))["weighted_kappa"] is None
    bach = table(rng, classes=("Normal", "Benign", "InSitu", "Invasive"))
    weighted = cohen_kappa_score(bach.labels, bach.predicted, weights="quadratic")
    assert compute_metrics(bach)["weighted_kappa"] == pytest.approx(weighted)


def test_agreement_of_one_class_is_not_defined():
    t = PredictionTable("t", ("a", "b"), ("x", "y"), np.zeros(2, int), None, np.zeros(2, int), (None,) * 2, (None,) * 2)
    found = compute_metrics(t)
    assert (found["accuracy"], found["cohen_kappa"], found["matthews_corrcoef"], found["aurc"]) == (
        1.0,
        None,
        None,
        None,
    )


def test_the_area_under_risk_and_coverage_by_hand():
    hits, sure = np.array([True, False, True, True]), np.array([0.9, 0.8, 0.7, 0.6])
    area = weighted_aurc(hits, sure, np.array([[1.0, 1, 1, 1], [1, 0, 2, 0]]))
    np.testing.assert_allclose(area, [(0 + 1 / 2 + 1 / 3 + 1 / 4) / 4, 0.0])
    # where two are equally sure it is the mean over both orders
    tied = weighted_aurc(hits, np.array([0.9, 0.8, 0.8, 0.6]), np.ones((1, 4)))
    other = weighted_aurc(hits, np.array([0.9, 0.7, 0.8, 0.6]), np.ones((1, 4)))
    np.testing.assert_allclose(tied, (area[0] + other) / 2)


def test_the_patient_recognition_rate_by_hand():
    hits = np.array([1, 1, 1, 1, 0, 1, 0, 0])
    p = np.where(hits[:, None], [[0.8, 0.2]], [[0.2, 0.8]])
    groups = ["p", "p", "p", "p", "q", "q", "r", None]
    t = PredictionTable.from_probabilities(
        name="t", classes=("a", "b"), image_ids=list("stuvwxyz"), labels=["a"] * 8, probabilities=p,
        folds=[1, 1, 1, 1, 2, 2, 2, 2], groups=groups,
    )  # fmt: skip
    found = compute_metrics(t)
    assert found["patient_recognition_rate"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert found["patient_recognition_rate_per_fold"] == [1.0, pytest.approx(1 / 4)]
    low, high = bootstrap_intervals(t, replicates=200)["patient_recognition_rate"]
    assert low < 0.5 < high
    assert compute_metrics(replace(t, groups=(None,) * 8))["patient_recognition_rate"] is None


def test_the_influence_of_cases_gives_the_variance_of_delong(rng):
    """Against the structural components, pair by pair."""
    truth, scores = rng.random(60) < 0.4, rng.integers(0, 20, 60) / 20
    yes, no = scores[truth][:, None], scores[~truth][None]
    wins = (yes > no) + 0.5 * (yes == no)
    parts = [wins.mean(axis=1), wins.mean(axis=0)]
    expected = sum(np.square(part - part.mean()).sum() / len(part) ** 2 for part in parts)
    assert np.square(auc_influence(truth, scores)).sum() == pytest.approx(expected)
    assert weighted_auc(truth, scores, np.ones((1, 60)))[0] == pytest.approx(wins.mean())
