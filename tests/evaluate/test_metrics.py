import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.evaluate import (
    Panel,
    TwoClassView,
    compare_pairs,
    default_positive,
    measure,
    two_class_scores,
)
from bchisto.evaluate.external import external_validation
from written_tables import called_table, predictions, saved


def table(rng, count=120, classes=("a", "b", "c"), folds=4, sharp=1.5):
    labels = rng.integers(0, len(classes), count)
    logits = rng.normal(size=(count, len(classes)))
    logits[np.arange(count), labels] += sharp
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return predictions(p, labels, classes, folds=[k % folds + 1 for k in range(count)])


def test_equal_scikit_learn(rng):
    from sklearn import metrics

    t = table(rng)
    found = measure(t, TwoClassView("c", thresholds=[0.2, 0.6]))
    assert found["accuracy"]["value"] == metrics.accuracy_score(t.labels, t.predicted)
    assert found["balanced_accuracy"]["value"] == pytest.approx(
        metrics.balanced_accuracy_score(t.labels, t.predicted)
    )
    assert found["confusion"] == metrics.confusion_matrix(t.labels, t.predicted).tolist()
    assert found["auc_pooled"] == pytest.approx(
        metrics.roc_auc_score(t.labels, t.probabilities, multi_class="ovr")
    )
    whole = measure(replace(t, folds=(None,) * len(t)))
    assert whole["auc"]["value"] == pytest.approx(found["auc_pooled"])
    assert "auc_pooled" not in whole
    report = metrics.classification_report(
        t.labels, t.predicted, output_dict=True, target_names=t.classes
    )
    for name in t.classes:
        assert found["per_class"][name]["f1"]["value"] == pytest.approx(report[name]["f1-score"])
        assert found["per_class"][name]["precision"]["value"] == pytest.approx(
            report[name]["precision"]
        )
        assert found["per_class"][name]["recall"]["value"] == pytest.approx(report[name]["recall"])
        k = t.classes.index(name)
        truth, called = t.labels == k, t.predicted == k
        assert found["per_class"][name]["specificity"]["value"] == pytest.approx(
            metrics.recall_score(~truth, ~called)
        )
    assert found["macro_f1"]["value"] == pytest.approx(
        metrics.f1_score(t.labels, t.predicted, average="macro")
    )
    per_fold = [
        np.mean((t.predicted == t.labels)[np.array(t.folds) == fold]) for fold in (1, 2, 3, 4)
    ]
    assert found["accuracy_per_fold"] == pytest.approx(per_fold)
    assert found["accuracy_std"] == pytest.approx(np.std(per_fold, ddof=0))


def test_two_class_view_equals_scikit_learn_at_any_threshold(rng):
    from sklearn import metrics

    t = table(rng)
    truth, scores = t.labels == 2, t.probabilities[:, 2]
    view = measure(t, TwoClassView("C", thresholds=np.linspace(0, 1, 11)))["two_class"]
    assert view["auc_pooled"] == pytest.approx(metrics.roc_auc_score(truth, scores))
    for point in view["thresholds"]:
        called = scores >= point["threshold"]
        assert point["confusion"] == metrics.confusion_matrix(truth, called).tolist()
        assert point["sensitivity"]["value"] == pytest.approx(metrics.recall_score(truth, called))
        assert point["specificity"]["value"] == pytest.approx(metrics.recall_score(~truth, ~called))


def test_both_rules_of_the_two_class_score():
    p = np.array([[0.40, 0.10, 0.30, 0.20], [0.0, 0.0, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4]])
    mask = np.array([False, False, True, True])
    np.testing.assert_allclose(two_class_scores(p, mask, rule="sum"), [0.5, 0.0, 0.7])
    np.testing.assert_allclose(two_class_scores(p, mask, rule="max"), [0.3 / 0.7, 0.5, 0.4 / 0.6])


@pytest.mark.parametrize(
    "names",
    [
        "Normal Benign InSitu* Invasive*",
        "InSitu Invasive",
        "InSitu in_situ Invasive x",
        "in_situ* Invasive* x",
        "a b",
        "normal stroma tumor",
        "normal not_normal",
        "normal gutartig BÖSARTIG*",
        "be\u0301nin malin*",
        "złośliwy* łagodny",
        "Cancer* benign normal",
        "benign_tumor tumor*",
        "Tumor* kein_Tumor",
        "no-IDC IDC*",
    ],
)
def test_the_positive_classes_by_their_names(names):
    positive = re.findall(r"(\S+)\*", names)
    assert default_positive(names.replace("*", "").split()) == tuple(positive)


def test_positive_classes(rng):
    with pytest.raises(InputError, match="`positive` d: no such class; choose among a, b, c"):
        measure(table(rng), TwoClassView("d"))
    with pytest.raises(InputError, match="every class is positive"):
        measure(table(rng), TwoClassView(["a", "b", "c"]))
    with pytest.raises(InputError, match="`rule` mean: choose one of sum, max"):
        TwoClassView(rule="mean")
    with pytest.raises(InputError, match=r"`thresholds` 2\.0: give 0 to 1"):
        TwoClassView(thresholds=(2.0,))


def test_a_class_without_images_leaves_auc_undefined(rng):
    t = table(rng, classes=("a", "b"))
    wide = predictions(
        np.column_stack([t.probabilities, np.zeros(len(t))]),
        t.labels,
        ("a", "b", "never"),
        folds=t.folds,
    )
    found = measure(wide, TwoClassView("never"))
    assert found["auc"] is None
    assert found["two_class"]["auc"] is None
    assert found["two_class"]["thresholds"][0]["sensitivity"] is None


def test_the_patient_recognition_rate_by_hand():
    hits = np.array([1, 1, 1, 1, 0, 1, 0, 0])
    groups = ["p", "p", "p", "p", "q", "q", "r", None]
    t = predictions(
        np.where(hits, 0.2, 0.8), "a" * 8, "ab", folds=[1, 1, 1, 1, 2, 2, 2, 2], groups=groups
    )
    found = measure(t)
    assert found["patient_recognition_rate"]["value"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert found["patient_recognition_rate_per_fold"] == [1.0, pytest.approx(1 / 4)]
    low, high = found["patient_recognition_rate"]["interval"]
    assert low < 0.5 < high
    assert measure(replace(t, groups=(None,) * 8))["patient_recognition_rate"] is None


def test_chance_and_what_is_not_defined():
    found = measure(called_table([0, 0, 0, 1, 1], [0] * 5, "abc"))
    assert found["chance"] == {"largest_class": 0.6, "balanced": 0.5}
    assert (found["per_class"]["b"]["precision"], found["per_class"]["c"]["recall"]) == (None, None)


def test_macro_f1_counts_a_class_that_is_only_predicted():
    from sklearn.metrics import f1_score

    labels, predicted = [0, 0, 1, 1, 1, 0], [0, 2, 1, 1, 0, 0]
    found = measure(called_table(labels, predicted, "abc"))["macro_f1"]
    assert found["value"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert found["interval"][0] < found["value"] < found["interval"][1]


TOGETHER = "scores of models of different folds are ranked together"


def by_patient(classes, patients=12, seed=0, folds=None):
    """Return a table of patients of one class each, one a fold unless the folds of patients are given."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), 6)
    labels = owner % len(classes)
    shares = rng.dirichlet(np.ones(len(classes)), len(owner))
    fold_of = folds or list(range(1, patients + 1))
    return predictions(
        shares,
        labels,
        classes,
        folds=[fold_of[p] for p in owner],
        groups=[f"p{p}" for p in owner],
    )


def all_aucs(found):
    """Yield each AUC of a table, of its view and of its classes."""
    yield found["auc"]
    yield found["two_class"]["auc"]
    yield from (of_class["auc"] for of_class in found["per_class"].values())


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
def test_a_pooled_auc_has_no_interval_and_is_named(classes):
    """One patient a fold, one image a fold, and both repeated: no fold holds a pair."""
    table = by_patient(classes)
    single = replace(table, groups=(None,) * len(table), folds=tuple(range(len(table))))
    twice = [*range(1, 13), *range(13, 25)]
    repeated = replace(
        by_patient(classes, patients=24, folds=twice),
        image_ids=table.image_ids * 2,
        groups=table.groups * 2,
    )
    for t in (table, single, repeated):
        found = measure(t, TwoClassView("b"))
        for figure in all_aucs(found):
            assert figure.reason == TOGETHER
            assert figure.interval is None
            assert 0 < figure.value < 1
        assert "auc_pooled" not in found
        assert "auc_pooled" not in found["two_class"]
    whole = measure(replace(table, folds=(None,) * len(table)), TwoClassView("b"))
    one_fold = measure(replace(table, folds=(1,) * len(table)), TwoClassView("b"))
    pairs = measure(by_patient(classes, folds=[1, 1, 1, 2, 2, 2] * 2), TwoClassView("b"))
    for found in (whole, one_fold, pairs):
        assert all(figure.interval for figure in all_aucs(found))


def test_a_class_that_is_tested_by_itself_makes_the_mean_a_pooled_one():
    """Class c stands in folds of its own: only the AUC of a and b rank within a fold, and the mean does not."""
    folds = [2 if patient % 3 == 2 else 1 + 2 * (patient % 2) for patient in range(12)]
    table = by_patient(("a", "b", "c"), folds=folds)
    found = measure(table, TwoClassView("c"))
    assert found["auc"].reason == TOGETHER
    assert found["two_class"]["auc"].reason == TOGETHER
    of_class = {name: figures["auc"] for name, figures in found["per_class"].items()}
    assert of_class["c"].reason == TOGETHER
    assert of_class["a"].interval
    assert of_class["b"].interval


def test_what_is_made_of_a_pooled_auc_has_no_interval_either():
    first = by_patient(("a", "b"))
    second = replace(by_patient(("a", "b"), seed=1), name="u")
    (pair,) = compare_pairs([first, second])
    assert pair["differences"]["auc"].reason == TOGETHER
    assert pair["differences"]["accuracy"].interval
    fixed = replace(second, folds=(None,) * len(second))
    inside, outside = (Panel(t, measure(t, TwoClassView("b"))) for t in (first, fixed))
    drops = external_validation(outside, inside)["figures"]
    assert drops["auc"]["drop"].reason == TOGETHER
    assert "two_class_auc" not in drops  # of two classes it is the other AUC
    assert drops["accuracy"]["drop"].interval


def test_a_pooled_auc_is_named_wherever_it_stands(tmp_path, completed):
    saved(by_patient(("a", "b", "c")), tmp_path / "alone.csv")
    out, _ = completed("evaluate -v T/alone.csv --out T/e --positive b")
    said = f"(95 % CI not estimable: {TOGETHER})"
    assert said in " ".join(out.split())
    report = (tmp_path / "e" / "report.html").read_text()
    assert f"* 95 % CI not estimable: {TOGETHER}" in report
    assert "of pairs of all folds, since no fold tests each class beside another" in report
    assert "Forman G" in report
    assert "of pairs within a fold" not in report


def test_what_a_table_without_an_error_may_still_hide():
    """The sentence of docs/report.md: of 20 images, all right, in a cross-validation."""
    labels = [k % 2 for k in range(20)]
    scores = [0.9 if label else 0.1 for label in labels]
    crossed = measure(predictions(scores, labels, folds=[k // 4 + 1 for k in range(20)]))
    low = f"{100 * crossed['accuracy'].low:.0f} %"
    text = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    assert (
        f"With 20 of 20 images right in a cross-validation, the true value may still be {low}"
        in text
    )
    assert measure(predictions(scores, labels))["accuracy"].low > crossed["accuracy"].low + 0.04
