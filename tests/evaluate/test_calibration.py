"""Calibration and temperatures: against statsmodels, scikit-learn, simulation and by hand."""

from dataclasses import replace

import numpy as np
import pytest
from bchisto.evaluate import (
    Units,
    aggregate,
    apply_temperature,
    measure,
    shrunk_temperature,
    unsure_rule,
)
from bchisto.evaluate.calibration import fold_temperatures, recalibration
from bchisto.evaluate.intervals import freedom
from scipy.special import expit, logit, softmax
from scipy.stats import binomtest
from written_tables import predictions

CLASSES = ("a", "b", "c")


def drawn(rng, n=300, sure=1.0):
    """Return a table whose probabilities are right if `sure` is 1."""
    right = softmax(2 * rng.normal(size=(n, 3)), axis=1)
    labels = [rng.choice(3, p=row) for row in right]
    scaled = apply_temperature(right, 1 / sure)
    return predictions(scaled, labels, CLASSES, folds=[1 + k % 5 for k in range(n)])


def test_slope_and_intercept_are_those_of_statsmodels(rng):
    import statsmodels.api as sm
    from scipy.stats import t

    member = np.repeat(np.arange(40), 10)
    units = Units(member)
    scores = expit(rng.normal(0, 1.5, 400) + np.repeat(rng.normal(0, 1, 40), 10))
    truth = rng.random(400) < expit(0.4 + 0.6 * logit(scores))
    found = recalibration(scores, truth, units=units)
    slope = sm.Logit(truth, sm.add_constant(logit(scores))).fit(disp=0)
    offset = sm.GLM(truth, np.ones(400), family=sm.families.Binomial(), offset=logit(scores)).fit(
        tol=1e-12
    )
    assert found["slope"]["value"] == pytest.approx(slope.params[1], rel=1e-6)
    assert found["intercept"]["value"] == pytest.approx(offset.params[0], rel=1e-6)
    design = sm.add_constant(logit(scores))
    fits = [sm.Logit(truth[member != one], design[member != one]).fit(disp=0) for one in range(40)]
    left_out = np.array([slope.params[1] - fit.params[1] for fit in fits])
    width = t.ppf(0.975, freedom(left_out, 40, 39.0)) * np.sqrt(np.square(left_out).sum())
    np.testing.assert_allclose(
        found["slope"]["interval"],
        [found["slope"]["value"] - width, found["slope"]["value"] + width],
        rtol=0.02,
    )


def test_sure_scores_decide_no_more_than_one_of_0_9999(rng):
    """A wrong image of 0.999999999 beside 60 others: by its own log odds it takes more than a quarter of the slope."""
    import statsmodels.api as sm

    scores = np.r_[expit(rng.normal(0, 1.5, 60)), 1 - 1e-9]
    truth = np.r_[rng.random(60) < scores[:60], False]
    found = recalibration(scores, truth, units=Units(np.arange(61)))
    at_most = np.minimum(scores, 0.9999)
    slope = sm.Logit(truth, sm.add_constant(logit(at_most))).fit(disp=0).params[1]
    unbounded = sm.Logit(truth, sm.add_constant(logit(scores))).fit(disp=0).params[1]
    assert found["slope"]["value"] == pytest.approx(slope, rel=1e-6)
    assert unbounded < 0.75 * slope


def test_the_interval_of_a_slope_is_bounded_by_that_of_the_model():
    """Without the one right image below 0.9, a threshold separates the others, and no step bounds the slope."""
    import statsmodels.api as sm
    from scipy.stats import t

    scores = np.r_[np.full(4, 0.55), 0.57, np.linspace(0.9, 0.99, 25)]
    truth = np.r_[np.zeros(4, bool), True, np.ones(25, bool)]
    truth[5] = False  # so that there is a slope at all
    scores[5] = 0.58
    low, high = recalibration(scores, truth, units=Units(np.arange(30)))["slope"]["interval"]
    wald = sm.Logit(truth, sm.add_constant(logit(scores))).fit(disp=0).bse[1]
    few = int((~truth).sum())
    assert (high - low) / 2 <= t.ppf(0.975, few + 9) * wald * (
        (few * 4 + 10) / (few + 10)
    ) ** 0.5 * (1 + 1e-6)


def test_slope_says_too_sure_and_separation_has_none(rng):
    assert measure(drawn(rng, n=2000))["calibration"]["slope"]["value"] == pytest.approx(
        1, abs=0.15
    )
    assert measure(drawn(rng, n=2000, sure=2.0))["calibration"]["slope"]["value"] == pytest.approx(
        0.5, abs=0.1
    )
    apart = recalibration(
        np.array([0.1, 0.2, 0.7, 0.9]),
        np.array([False, False, True, True]),
        units=Units(np.arange(4)),
    )
    assert apart["slope"] is None
    assert apart["intercept"] is not None
    assert set(
        recalibration(np.array([0.1, 0.2]), np.ones(2, bool), units=Units(np.arange(2))).values()
    ) == {None}


def test_the_error_of_perfect_calibration_is_what_simulation_gives(rng):
    table = drawn(rng, n=400)
    found = measure(table)["calibration"]
    confidence = table.probabilities.max(axis=1)
    errors = []
    for _ in range(500):  # anew, bin by bin
        hits = rng.random(400) < confidence
        inside = [(confidence > k / 15) & (confidence <= (k + 1) / 15) for k in range(15)]
        errors.append(sum(abs(hits[one].sum() - confidence[one].sum()) for one in inside) / 400)
    assert found["ece_expected"] == pytest.approx(np.mean(errors), abs=0.002)
    # what a table of this size has at best, which nobody was told
    assert 0.03 < found["ece_expected"] < 0.08
    assert measure(table) == measure(table)


def test_vote_shares_are_not_scored_as_probabilities(rng):
    """One unanimous error would cost what the clip of logarithms says, and nothing that anybody claimed."""
    rows = drawn(rng, n=120)
    table = replace(
        rows,
        image_ids=tuple(f"i{k // 3}" for k in range(120)),
        labels=np.repeat(rows.labels[::3], 3),
        patches=tuple(str(k % 3) for k in range(120)),
        folds=(None,) * 120,
    )
    vote = aggregate(table, rule="vote", level="image")
    found = measure(vote)
    assert found["calibration"] is None
    assert found["calibration_note"] == "its shares are votes, no probabilities"
    assert found["auc"] is not None
    assert shrunk_temperature(vote) is None
    average = measure(aggregate(table, rule="average", level="image"))
    assert average["calibration"]["nll"] > 0
    assert average["calibration_note"] is None
    sure = replace(rows, probabilities=np.eye(3)[rows.predicted])
    assert measure(sure)["calibration"] is None
    assert "0 or 1" in measure(sure)["calibration_note"]


def test_a_table_that_is_all_right_does_not_sink_the_temperature():
    """Of 59 right images the likeliest temperature is 0.05; one wrong image then costs 20 times what it did."""
    labels = [0, 1, 2] * 20
    table = predictions(
        0.15 + 0.55 * np.eye(3)[labels], labels, CLASSES, folds=[1 + k % 2 for k in range(60)]
    )
    assert 0.3 < shrunk_temperature(table) < 0.7
    wrong = replace(table, labels=np.r_[table.labels[:-1], 0])
    found = measure(wrong)["calibration"]
    assert found["temperature"]["nll"] < found["nll"]
    # three patients say less than 60 images
    few = replace(table, groups=tuple(f"p{k % 3}" for k in range(60)))
    assert shrunk_temperature(table) < shrunk_temperature(few) < 1


def test_the_confidence_is_that_of_the_class_that_is_called():
    """Of two rows one is called against its probabilities, as a threshold does: it is the less sure one."""
    table = replace(predictions([[0.9, 0.1], [0.6, 0.4]], "xx", "xy"), predicted=np.array([1, 0]))
    np.testing.assert_array_equal(table.confidence, [0.1, 0.6])
    found = measure(table)
    assert [(one["confidence"], one["accuracy"]) for one in found["calibration"]["bins"]] == [
        (0.1, 0),
        (0.6, 1),
    ]
    assert found["calibration"]["ece"] == pytest.approx(0.25)


def table_of(confidence, right, **known):
    """A table of two classes of which the first is always predicted."""
    return predictions(1 - np.array(confidence), np.where(right, 0, 1), "ab", **known)


def test_what_is_unsure_by_hand():
    """Of ten the two least sure lie below the third: one of them is right, and seven of the other eight."""
    confidence = [0.9, 0.55, 0.8, 0.7, 0.6, 0.95, 0.85, 0.75, 0.99, 0.65]
    right = [True, False, True, True, True, True, False, True, True, True]
    rule = unsure_rule(table_of(confidence, right))
    low, high = binomtest(7, 8).proportion_ci(method="exact")
    assert rule["sure"].pop("interval") == pytest.approx([low, high])
    rule["unsure"].pop("interval")
    assert rule == {
        "below": 0.65,
        "share": 0.2,
        "calibrated": False,
        "unit": "image",
        "sure": {"n": 8, "right": 7},
        "unsure": {"n": 2, "right": 1},
    }
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
    # the class of a share over 0.5 keeps one over 0.5
    scaled = np.sort(fold_temperatures(table)[1][:, 0])
    assert rule["calibrated"] is True
    assert rule["below"] == round(float(scaled[12]), 3)
    grouped = unsure_rule(
        table_of(confidence, right, folds=folds, groups=[f"P{k // 6}" for k in range(60)])
    )
    assert (grouped["unit"], rule["unit"]) == ("group", "image")
    assert np.diff(grouped["sure"]["interval"]) != np.diff(rule["sure"]["interval"])


def test_no_rule_where_all_are_equally_sure():
    assert unsure_rule(table_of([0.8] * 10, [True] * 10)) is None
