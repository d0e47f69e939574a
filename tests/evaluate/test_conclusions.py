"""Rules of conclusions, by tables whose figures are counted by hand; what is printed of them is in test_situations."""

from dataclasses import replace

import numpy as np
import pytest
from bchisto.evaluate import (
    Panel,
    advice_of,
    conclude,
    measure,
    rankings,
    verdict_of,
)
from written_tables import predictions

FOLDS = [k % 5 + 1 for k in range(200)]


def table_of(sensitivity, specificity, *, positives=100, name="t", groups=None, score=0.9):
    """A table of 200 rows, the positive ones last, of which these shares are called right with this score."""
    labels = np.r_[np.zeros(200 - positives, int), np.ones(positives, int)]
    right = np.r_[
        np.arange(200 - positives) < round(specificity * (200 - positives)),
        np.arange(positives) < round(sensitivity * positives),
    ]
    called = np.where(right, labels, 1 - labels)
    known = {} if groups is None else {"groups": groups, "group_is": "patient"}
    return predictions(
        np.where(called == 1, score, 1 - score), labels, name=name, folds=FOLDS, **known
    )


def panel_of(*shares, run=None, **known):
    table = table_of(*shares, **known)
    return Panel(table, measure(table, bootstrap=0), run=run or {})


@pytest.mark.parametrize(
    ("shares", "positives", "kind"),
    [
        ((0.9, 0.9), 100, "better"),
        ((0.0, 1.0), 100, "not shown"),
        ((0.0, 1.0), 6, "not shown"),
        ((1.0, 0.0), 6, "not shown"),
        ((0.2, 0.2), 100, "worse"),
        # 88 of 100 right, where the largest class is 95 of 100
        ((0.9, 0.88), 10, "better"),
        ((0.52, 0.5), 100, "not shown"),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_the_balanced_accuracy_decides(shares, positives, kind, known):
    groups = [f"p{k}" for k in range(200)] if known else None
    verdict = verdict_of(panel_of(*shares, positives=positives, groups=groups).metrics)
    assert (verdict.kind, verdict.by, verdict.chance) == (kind, "balanced_accuracy", 0.5)


def test_one_patient_of_most_images_leaves_the_mean_over_patients():
    groups = ["large"] * 150 + [f"p{k % 10}" for k in range(50)]
    verdict = verdict_of(panel_of(0.9, 0.9, groups=groups).metrics)
    assert verdict.by == "patient_recognition_rate"
    # the large patient is one half positive, the others wholly
    assert verdict.chance == pytest.approx((10 + 1 / 3) / 11)


def test_rows_of_one_class_leave_nothing_to_tell_apart():
    assert verdict_of(panel_of(0.9, 1.0, positives=200).metrics).kind == "not estimable"


def test_a_threshold_is_wrong_if_scores_rank_and_calls_do_not():
    table = table_of(0.0, 1.0)
    labels = table.labels
    scores = 0.1 + 0.2 * labels + np.linspace(0, 0.1, 200)
    panel = replace(panel_of(0.0, 1.0), table=predictions(scores, labels, folds=FOLDS))
    metrics = measure(panel.table, bootstrap=0)
    verdict = verdict_of(metrics)
    assert (verdict.kind, verdict.ranking) == ("not shown", metrics["auc"])
    # constant scores rank nothing
    assert verdict_of(panel_of(0.0, 1.0).metrics).ranking is None
    # nothing is wrong with a threshold whose calls are right
    assert verdict_of(panel_of(0.9, 0.9).metrics).ranking is None
    assert advice_of(replace(panel, metrics=metrics)).kind == "threshold"


def test_nothing_is_the_best_below_chance():
    (ranking,) = rankings([panel_of(0.2, 0.1, name="x"), panel_of(0.3, 0.2, name="y")])
    assert [panel.table.name for panel in ranking.panels] == ["y", "x"]
    assert (ranking.by, ranking.leaders, ranking.marks) == ("balanced_accuracy", 0, ["", ""])


def test_equal_ones_are_both_the_best_and_a_single_one_is_not():
    good = [panel_of(0.9, 0.8, name=name) for name in "xy"]
    (ranking,) = rankings([panel_of(0.1, 0.9, name="z"), *good])
    assert ranking.marks == ["best", "best", ""]
    (single,) = rankings(good[:1])
    assert (single.leaders, single.marks) == (1, [""])


def test_the_order_is_by_a_figure_that_has_an_interval_in_every_table():
    """One patient holds three quarters of the images, so only the mean over patients has one."""
    groups = ["large"] * 150 + [f"p{k}" for k in range(50)]
    # of the last class, whose first images are the large patient's
    balanced = panel_of(0.5, 1.0, groups=groups, name="balanced")
    by_patient = panel_of(1.0, 0.2, groups=groups, name="by patient")
    assert (
        by_patient.metrics["balanced_accuracy"].value < balanced.metrics["balanced_accuracy"].value
    )
    (ranking,) = rankings([balanced, by_patient])
    assert ranking.by == "patient_recognition_rate"
    assert ranking.panels[0] is by_patient


def test_what_may_help():
    bad = panel_of(0.2, 0.1)
    assert advice_of(bad).kind == "images"
    random = panel_of(0.2, 0.1, run={"banners": ["RANDOM WEIGHTS: tiny ran untrained"]})
    assert advice_of(random).kind == "weights"


@pytest.mark.parametrize(
    ("changes", "kind", "count"),
    [
        ({"groups": [None] * 200}, "no patient", 0),
        # 40 patients of five images, in five folds
        ({"groups": [f"p{k // 5}" for k in range(200)]}, "divided", 40),
        ({"groups": ["one"] * 200, "folds": [None] * 200}, "not estimable", 0),
    ],
)
def test_why_nothing_is_known_of_new_patients(changes, kind, count):
    base = table_of(0.9, 0.9)
    table = replace(base, **{name: tuple(values) for name, values in changes.items()})
    unknown = conclude(measure(table, bootstrap=0)).unknown
    assert (unknown.kind, unknown.count) == (kind, count)
