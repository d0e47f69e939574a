import numpy as np
import pytest
from bchisto.evaluate import unsure_rule
from bchisto.evaluate.calibration import fold_temperatures
from scipy.stats import binomtest
from written_tables import predictions


def table_of(confidence, right, **known):
    """A table of two classes of which the first is always predicted."""
    return predictions(1 - np.array(confidence), np.where(right, 0, 1), "ab", **known)


def test_by_hand():
    """Of ten the two least sure lie below the third: one of them is right, and seven of the other eight."""
    confidence = [0.9, 0.55, 0.8, 0.7, 0.6, 0.95, 0.85, 0.75, 0.99, 0.65]
    right = [True, False, True, True, True, True, False, True, True, True]
    rule = unsure_rule(table_of(confidence, right))
    low, high = binomtest(7, 8).proportion_ci(method="exact")
    assert rule["sure"].pop("interval") == pytest.approx([low, high])
    rule["unsure"].pop("interval")
    assert rule == {
        "below": 0.65, "share": 0.2, "calibrated": False, "unit": "image", "sure": {"n": 8, "right": 7},
        "unsure": {"n": 2, "right": 1},
    }  # fmt: skip
    assert unsure_rule(table_of(confidence, right), share=0.5)["below"] == 0.8


def test_labels_do_not_move_the_confidence(rng):
    confidence = rng.uniform(0.5, 1.0, 60).tolist()
    found = {unsure_rule(table_of(confidence, rng.random(60) < 0.7))["below"] for _ in range(5)}
    assert len(found) == 1


def test_folds_are_calibrated_and_groups_widen(rng):
    confidence, folds = rng.uniform(0.5, 1.0, 60).tolist(), [k % 3 for k in range(60)]
    right = rng.random(60) < 0.8
    table = table_of(confidence, right, folds=folds)
    rule = unsure_rule(table)
    scaled = np.sort(fold_temperatures(table)[1][:, 0])  # the class of a share over 0.5 keeps one over 0.5
    assert rule["calibrated"] is True
    assert rule["below"] == round(float(scaled[12]), 3)
    grouped = unsure_rule(table_of(confidence, right, folds=folds, groups=[f"P{k // 6}" for k in range(60)]))
    assert (grouped["unit"], rule["unit"]) == ("group", "image")
    assert np.diff(grouped["sure"]["interval"]) != np.diff(rule["sure"]["interval"])


def test_no_rule_where_all_are_equally_sure():
    assert unsure_rule(table_of([0.8] * 10, [True] * 10)) is None
