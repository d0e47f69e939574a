"""Operating points: against scikit-learn and by hand; thresholds for a wanted sensitivity."""

import csv
import html
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.evaluate import Panel, TwoClassView, Units, measure
from bchisto.evaluate.two_class import called_point, net_benefit, sensitive_threshold
from scipy.stats import norm
from written_tables import predictions, read_json, report_of, saved, write_lines

CLASSES = ("benign", "malignant")


def drawn(rng, n=400, folds=5, shift=None):
    truth = rng.random(n) < 0.4
    scores = 1 / (1 + np.exp(-rng.normal(2.0 * truth - 1, 1)))
    fold = np.arange(n) % folds + 1 if folds else np.zeros(n, int)
    if shift is not None:  # scores of fold 1 lie lower
        scores = np.where(fold == 1, scores * shift, scores)
    return predictions(scores, truth.astype(int), folds=[int(k) or None for k in fold])


def view(table, **options):
    return measure(table, TwoClassView("malignant", **options))["two_class"]


def shown(table, positive="malignant"):
    """Return the report of a table as a page, and what of it a reader sees."""
    return report_of([Panel(table, measure(table, TwoClassView(positive)))])


def test_predictive_values_by_hand():
    """Of 10 positive and 20 negative rows 8 and 5 are called."""
    scores = np.r_[np.full(8, 0.9), np.full(2, 0.1), np.full(5, 0.9), np.full(15, 0.1)]
    found = view(
        predictions(scores, [1] * 10 + [0] * 20), thresholds=[0.25, 0.0, 1.0], prevalences=[0.5]
    )
    point, all_called, none_called = found["thresholds"]
    assert (point["ppv"]["value"], point["npv"]["value"]) == (8 / 13, 15 / 17)
    assert point["at_prevalence"][0]["ppv"]["value"] == pytest.approx(0.8 / 1.05)
    assert (all_called["npv"], none_called["ppv"]) == (None, None)
    assert found["prevalence"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("patients", "wanted", "seen"),
    [(10, 0.9, 0.7), (20, 0.9, 0.85), (40, 0.9, 0.9), (40, 0.95, 0.75)],
)
def test_a_threshold_keeps_its_promise_to_new_patients(patients, wanted, seen):
    """Patients of very unequal size: images that count as patients promise too much; not all specificity is lost."""
    rng = np.random.default_rng(0)
    new = rng.standard_t(3, size=4000)  # what images of a new patient share
    reached = {"patients": [], "images": []}
    specificity = []
    for _ in range(400):
        sizes = np.maximum(1, np.exp(rng.normal(1.5, 1.2, patients)).astype(int))
        owner = np.repeat(np.arange(patients), sizes)
        scores = rng.standard_t(3, size=patients)[owner] + rng.normal(size=len(owner))
        for name, units in (("patients", owner), ("images", np.arange(len(owner)))):
            threshold, enough = sensitive_threshold(scores, wanted, units=units)
            reached[name].append(norm.sf(threshold - new).mean())
            assert enough or name == "patients"
            if name == "patients":
                assert enough == (patients >= wanted / (1 - wanted) - 1e-9)
                specificity.append(norm.cdf(threshold + 8 - new).mean())
    error = 2 * np.std(reached["patients"]) / 20
    assert wanted - error <= np.mean(reached["patients"]) <= wanted + 2 / (patients + 1) + error
    assert np.mean(reached["images"]) < wanted - 0.005
    assert np.mean(specificity) > seen


def test_the_threshold_of_unequal_patients_by_hand():
    """Of 10 patients the least of a row of each: with 14 of one's 20 rows (a share s), 1 - (1 - s)^10 is first half."""
    scores = np.r_[np.arange(20) / 100, np.full(9, 0.9)]
    owner = np.r_[np.zeros(20, int), np.arange(1, 10)]
    assert sensitive_threshold(scores, 0.9, units=owner) == (0.13, True)
    assert sensitive_threshold(scores, 0.9, units=np.arange(29)) == (0.02, True)
    lone_low = np.r_[np.full(20, 0.9), np.arange(9) / 100]
    assert sensitive_threshold(lone_low, 0.9, units=owner) == (0.0, True)
    assert sensitive_threshold(lone_low, 0.9, units=np.arange(29)) == (0.02, True)
    assert sensitive_threshold(scores[::-1], 0.9, units=owner[::-1]) == (0.13, True)
    assert sensitive_threshold(np.array([0.4, 0.7]), 0.9, units=np.arange(2)) == (0.4, False)
    assert sensitive_threshold(np.arange(1, 10) / 10, 0.9, units=np.arange(9)) == (
        0.1,
        True,
    )  # 0.1 x 10 is not quite 1
    assert sensitive_threshold(np.arange(1, 10) / 10, 1.0, units=np.arange(9)) == (0.1, False)


def test_a_threshold_is_that_of_draws():
    """Median and mean of the second least of 20 rows, drawn each of a patient who is drawn with replacement."""
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(20), rng.integers(1, 9, 20))
    scores = rng.random(len(owner)) ** 3
    rows = [scores[owner == patient] for patient in range(20)]
    draws = [[rng.choice(rows[k]) for k in rng.integers(20, size=20)] for _ in range(4000)]
    seconds = np.sort(draws)[:, 1]
    median, _ = sensitive_threshold(scores, 0.9, units=owner)
    mean, _ = sensitive_threshold(scores, 0.9, units=owner, averaged=True)
    assert (seconds < median).mean() - 0.03 < 0.5 < (seconds <= median).mean() + 0.03
    assert mean == pytest.approx(seconds.mean(), abs=4 * seconds.std() / 4000**0.5)


@pytest.mark.parametrize("images", [1, 6])
def test_means_of_models_reach_the_target(images):
    """A model scores a row by what holds of it, and by what only this model sees, and is far too sure of both."""
    rng = np.random.default_rng(0)
    reached = {"single": [], "mean": [], "mean as single": []}
    for _ in range(50):
        owner = np.repeat(np.arange(40), images)
        truth = owner % 2
        folds = owner // 2 % 5

        def seen(truth, models):
            held = (
                2.0 * truth
                + rng.normal(size=len(truth))
                + 0.5 * rng.normal(size=(models, len(truth)))
            )
            return 1.0 / (1.0 + np.exp(3.0 - 3.0 * held))

        scores = seen(truth, 1)[0]
        groups = [f"p{k}" for k in owner]
        table = replace(predictions(scores, truth, groups=groups), folds=tuple(folds + 1))
        (point,) = view(table, sensitivities=[0.9])["wanted"]
        new = seen(np.ones(500), 5)
        of_all, _ = sensitive_threshold(scores[truth == 1], 0.9, units=owner[truth == 1])
        reached["single"].append((new >= of_all).mean())
        reached["mean"].append((new.mean(axis=0) >= point["threshold"]).mean())
        reached["mean as single"].append((new.mean(axis=0) >= of_all).mean())
    means = {name: np.mean(values) for name, values in reached.items()}
    assert 0.88 <= means["single"] <= 0.94, means
    assert 0.88 <= means["mean"] <= 0.94, means
    # the mean spreads less, so that the threshold of single models calls too many
    assert means["mean as single"] > means["mean"] + 0.015, means


@pytest.mark.parametrize(("harder", "expected"), [(1.0, True), (0.0, False), (-1.0, False)])
def test_larger_patients_that_are_harder_are_named(rng, harder, expected):
    sizes = np.tile([1, 2, 4, 8, 16], 16)
    owner = np.repeat(np.arange(80), sizes)
    shift = np.where(owner // 5 % 2, 3.0 - harder * np.log(sizes[owner]), 0.0)
    scores = 1.0 / (1.0 + np.exp(-rng.normal(size=80)[owner] - shift))
    labels = owner // 5 % 2
    groups = [f"p{k}" for k in owner]
    table = replace(predictions(scores, labels, groups=groups), folds=tuple(owner % 5 + 1))
    (point,) = view(table, sensitivities=[0.9])["wanted"]
    page = report_of(
        [Panel(table, measure(table, TwoClassView("malignant", sensitivities=[0.9])))]
    )[1]
    text = "larger patients are harder, so of images it is lower than by patient"
    assert (point["by_unit"] is not None) == expected == (text in page)
    if expected:
        assert point["by_unit"] > point["sensitivity"]["value"] + 0.02


def test_recorded_thresholds_reach_the_target():
    """The rows of `tools/benchmarks/sensitivity.py` that methods.md sums up."""
    path = Path(__file__).parents[2] / "tools" / "benchmarks" / "sensitivity.csv"
    with path.open(encoding="utf-8") as handle:
        reached = [(row["models"], float(row["sensitivity"])) for row in csv.DictReader(handle)]
    for models, lowest, highest in (("single", 0.9, 0.92), ("mean", 0.89, 0.94)):
        values = [value for name, value in reached if name == models]
        assert lowest <= min(values) <= max(values) <= highest + 0.005


def test_each_fold_is_called_by_the_threshold_of_the_others(rng):
    table = drawn(rng, shift=0.3)
    (point,) = view(table, sensitivities=[0.95])["wanted"]
    folds, truth, scores = np.array(table.folds), table.labels == 1, table.probabilities[:, 1]
    for one in point["per_fold"]:
        rest = np.sort(scores[truth & (folds != one["fold"])])
        assert one["threshold"] == rest[int(0.05 * (len(rest) + 1) + 1e-9) - 1]
        inside = truth & (folds == one["fold"])
        assert one["sensitivity"] == (scores[inside] >= one["threshold"]).mean()
    called = np.array(
        [scores[k] >= point["per_fold"][folds[k] - 1]["threshold"] for k in range(len(table))]
    )
    assert point["sensitivity"]["value"] == called[truth].mean()
    assert point["specificity"]["value"] == (~called[~truth]).mean()
    assert point["fitted"] == "other folds"
    assert point["enough"] is True
    assert point["per_fold"][0]["sensitivity"] < 0.7  # in-sample it would look as wanted
    assert (
        point["sensitivity"]["interval"][0]
        < point["sensitivity"]["value"]
        < point["sensitivity"]["interval"][1]
    )
    alone = view(drawn(rng, folds=0), sensitivities=[0.95])["wanted"][0]
    assert (alone["fitted"], alone["per_fold"]) == ("same rows", [])
    assert alone["sensitivity"]["value"] >= 0.95


def test_predictive_values_elsewhere_have_intervals(rng):
    """Near those of the delta method on logarithms of likelihood ratios, where counts are large."""
    truth = np.arange(4000) < 1600
    called = np.where(rng.random(4000) < 0.85, truth, ~truth)
    table = replace(drawn(rng, n=4000, folds=0), labels=truth.astype(int))
    point = called_point(Units.of(table), truth, called, 0.5, [0.1])
    yes, no = point["sensitivity"]["value"], point["specificity"]["value"]
    spread = 1.96 * np.sqrt((1 - yes) / yes / 1600 + no / (1 - no) / 2400)
    (at,) = point["at_prevalence"]
    for name in ("ppv", "npv"):
        low, high = at[name]["interval"]
        assert low < at[name]["value"] < high
    odds = yes / (1 - no) * np.exp([-spread, spread]) / 9
    np.testing.assert_allclose(at["ppv"]["interval"], odds / (1 + odds), rtol=0.02)
    (all_right,) = called_point(Units.of(table), truth, truth, 0.5, [0.1])["at_prevalence"]
    assert (all_right["ppv"]["interval"][1], all_right["npv"]["interval"][1]) == (1.0, 1.0)


def test_the_precision_of_a_class_is_its_predictive_value(rng):
    """Also of patients of unequal size, of whom one has four in ten images: one quantity, one interval."""
    sizes = [40, *rng.integers(1, 9, 13)]
    groups = np.repeat([f"p{k}" for k in range(14)], sizes).tolist()
    table = replace(drawn(rng, n=len(groups), folds=0), groups=tuple(groups))
    metrics = measure(table, TwoClassView("malignant", thresholds=0.5), bootstrap=100)
    (point,) = metrics["two_class"]["thresholds"]
    assert point["ppv"] == metrics["per_class"]["malignant"]["precision"]
    assert point["npv"] == metrics["per_class"]["benign"]["precision"]


def test_default_points_are_those_of_bach_for_its_classes_alone(rng):
    points = lambda names: [one["threshold"] for one in names["thresholds"]]  # noqa: E731
    assert points(view(drawn(rng))) == [0.5]
    four = ("Normal", "Benign", "InSitu", "Invasive")
    assert TwoClassView().recorded(four)["thresholds"] == [0.33, 0.5]
    assert TwoClassView().recorded(("normal", "in situ"))["thresholds"] == [0.5]
    assert TwoClassView(thresholds=(0.2,)).recorded(four)["thresholds"] == [0.2]


def test_what_is_wanted_is_refused_or_recorded(rng, tmp_path, refused, completed):
    for options, message in (
        ({"sensitivities": 0}, "`sensitivities` 0.0: give a fraction above 0, up to 1"),
        ({"sensitivities": [1.5]}, "`sensitivities` 1.5: give a fraction above 0, up to 1"),
        ({"sensitivities": [float("nan")]}, "`sensitivities` nan: give a finite number"),
        ({"prevalences": 1}, "`prevalences` 1.0: give a fraction above 0, below 1"),
    ):
        with pytest.raises(InputError, match=message):
            TwoClassView(**options).check()
    wanted = TwoClassView(("malignant",), sensitivities=0.9, prevalences=(0.1,))
    assert TwoClassView(**json.loads(json.dumps(wanted.recorded(CLASSES)))).sensitivities == (0.9,)
    rows = saved(drawn(rng, n=60), tmp_path / "t.csv").read_text().splitlines()
    out, _ = completed(
        "evaluate -v T/t.csv --out T/e --bootstrap 0 --sensitivity 0.9 --prevalence 0.02"
    )
    assert (
        "target sensitivity 90.0 % by image, thresholds fitted on the other folds: sensitivity"
        in " ".join(out.split())
    )
    found = read_json(tmp_path / "e" / "metrics.json")["tables"]["t"]["two_class"]
    assert found["wanted"][0]["at_prevalence"][0]["prevalence"] == 0.02
    kept = [line for line in rows if ",malignant," not in line]
    write_lines(tmp_path / "negative.csv", *kept)
    completed("evaluate T/negative.csv --out T/n --bootstrap 0 --sensitivity 0.9")
    assert (
        read_json(tmp_path / "n" / "metrics.json")["tables"]["negative"]["two_class"]["wanted"]
        == []
    )
    err = refused("evaluate T/t.csv --out T/f --sensitivity 2")
    assert "--sensitivity 2.0: give a fraction above 0, up to 1" in err


def test_patients_are_what_a_promise_rests_on():
    """Two patients of 50 images each say no more of new patients than two images do."""
    scores = np.linspace(0.3, 0.9, 100)
    assert sensitive_threshold(scores, 0.9, units=np.arange(100))[1]
    assert not sensitive_threshold(scores, 0.9, units=np.repeat([4, 7], 50))[1]
    table = predictions(np.tile(scores, 2), [1, 0] * 100, groups=[f"p{k % 4}" for k in range(200)])
    (point,) = view(table, sensitivities=[0.9])["wanted"]
    assert not point["enough"]
    alone = replace(table, groups=(None,) * 200)
    assert view(alone, sensitivities=[0.9])["wanted"][0]["enough"]


def test_the_net_benefit_is_that_of_counts(rng):
    """Counted row by row (Vickers & Elkin 2006); at the least threshold nearly all are called."""
    truth = rng.random(60) < 0.3
    scores = np.round(rng.random(60) * 0.6 + 0.4 * truth, 2)
    thresholds, by_score, all_positive, none_positive = net_benefit(truth, scores).T
    for percent in range(1, 100):
        right = wrong = 0
        for positive, score in zip(truth, scores, strict=True):
            if round(100 * score) >= percent:
                right += positive
                wrong += not positive
        loss = percent / (100 - percent)
        assert by_score[percent - 1] == pytest.approx((right - wrong * loss) / 60)
        assert all_positive[percent - 1] == pytest.approx(
            (truth.sum() - (~truth).sum() * loss) / 60
        )
    np.testing.assert_allclose(thresholds, np.arange(1, 100) / 100)
    assert set(none_positive) == {0.0}


def test_two_classes_have_a_reliability_and_a_decision_curve_of_the_positive_score(rng):
    """Their numbers, recounted; none of four classes, nor of classes without probabilities."""
    table = drawn(rng, n=200)
    page, text = shown(table)
    page = html.unescape(page)
    scores, truth = table.probabilities[:, 1], table.labels == 1
    (reliability,) = re.findall(r'alt="Reliability of the score of malignant: (.*?)"', page)
    for k in range(15):
        inside = (scores > k / 15) & (scores <= (k + 1) / 15)
        entry = f"{scores[inside].mean():.2f}: {100 * truth[inside].mean():.1f} % of {inside.sum()}"
        assert entry in reliability
    assert "Reliability of the score of malignant: scores of 5 test folds together" in text
    (benefit,) = re.findall(r'alt="Net benefit of calling malignant by the score: (.*?)"', page)
    called = scores >= 0.3
    value = (called & truth).mean() - (called & ~truth).mean() * 3 / 7
    every = truth.mean() - (~truth).mean() * 3 / 7
    assert f"at 0.3 {value:.3f}, all called {every:.3f};" in benefit
    assert "decision curve" in text
    assert "net benefit of calls by the score of the positive class [" in text
    single = replace(table, folds=(None,) * 200)
    assert "scores of 1 test fold together" in shown(single)[1]
    four = predictions(rng.dirichlet(np.ones(4), 40), [k % 4 for k in range(40)], "abcd")
    named = replace(table, probabilities=None)
    for other, positive in ((four, "a"), (named, "malignant")):
        _, text = shown(other, positive)
        assert "Reliability of the score" not in text
        assert "et benefit" not in text
