"""Rules of conclusions, by tables whose figures are counted by hand; what is printed of them is in test_situations."""

import html
import json
from dataclasses import replace

import numpy as np
import pytest
from bchisto.core import Banner, Kind
from bchisto.evaluate import (
    Panel,
    advice_of,
    compare_pairs,
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


def test_equal_ones_are_both_the_best_if_that_is_shown_and_a_single_one_is_not():
    good = [panel_of(0.9, 0.8, name=name) for name in "xy"]
    (ranking,) = rankings([panel_of(0.1, 0.9, name="z"), *good])
    assert ranking.marks == ["highest", "highest", ""]
    pairs = compare_pairs([panel.table for panel in ranking.panels])
    (ranking,) = rankings(ranking.panels, pairs)
    assert ranking.marks == ["best", "best", ""]
    assert [each.kind for each in ranking.standings] == ["best", "best", "lower"]
    (higher,) = [pair["p_holm"] for pair in pairs if {pair["first"], pair["second"]} == {"x", "z"}]
    assert ranking.standings[2].pair["p_holm"] == higher
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
    random = panel_of(0.2, 0.1, run={"banners": [Banner(Kind.RANDOM_WEIGHTS, "x").json()]})
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


def test_the_best_is_not_called_better_than_those_it_is_not_shown_to_surpass(tmp_path, completed):
    """The first by a hair, beside one that is much worse; with a headline, and sensitivity beside it."""
    rng = np.random.default_rng(3)
    truth = np.arange(400) % 2
    for name, wrong in (("first", 39), ("close", 40), ("poor", 120)):
        called = truth.copy()
        called[rng.permutation(400)[:wrong]] ^= 1
        rows = [
            f"i{k},{'ab'[truth[k]]},p{k // 4},{called[k]:.0f},{1 - called[k]:.0f}"
            for k in range(400)
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(["image_id,label,group,p_b,p_a", *rows]))
    paths = [tmp_path / f"{name}.csv" for name in ("poor", "close", "first")]
    out, _ = completed("evaluate", *paths, "--out", tmp_path / "e", "--positive", "b")
    first = " ".join(out.partition("right")[0].split())
    content = json.loads((tmp_path / "e" / "metrics.json").read_text())
    name = content["tables"]["poor"]["choice"]["chosen"]
    assert name in ("first", "close")
    other = {"first": "close", "close": "first"}[name]
    figure = content["tables"][name]["balanced_accuracy_chosen"]
    low, high = figure["interval"]
    (holm,) = [
        pair["p_holm"]
        for pair in content["comparisons"]
        if {pair["first"], pair["second"]} == {name, other}
    ]
    headline = (
        f"{name} is highest by balanced accuracy and better than chance: corrected {100 * figure['value']:.1f} % "
        f"(95 % CI {100 * low:.1f} to {100 * high:.1f}) against 50.0 % by chance"
    )
    assert first == headline
    assert (
        f"By accuracy {name} is not shown to be better than {other} (Holm's p {holm:.3f}, of 3 comparisons)"
        in " ".join(out.split())
    )
    page = html.unescape((tmp_path / "e" / "report.html").read_text())
    start = page.partition("<h1>")[2].partition("<table")[0]
    assert headline in start
    point = content["tables"][name]["two_class"]["thresholds"][0]
    of_page = page.partition('class="methods"')[0]
    assert f"{name}, b: sensitivity {100 * point['sensitivity']['value']:.1f} %" in of_page
    assert f"specificity {100 * point['specificity']['value']:.1f} %" in of_page

    out, _ = completed("evaluate", paths[0], paths[2], "--out", tmp_path / "f")
    text = " ".join(out.split())
    assert f"{name if name == 'first' else 'first'} is best by balanced accuracy" in text
    assert "is shown to be better than the others (Holm's p of 1 comparison)" in text


def test_better_by_balanced_accuracy_but_not_by_patient(tmp_path, completed):
    """Ten of a hundred patients are benign: of these nine are called so, and a sixth of the others too."""
    rows = []
    for k in range(100):
        label = "benign" if k < 10 else "malignant"
        called = "benign" if 1 <= k < 25 else "malignant"
        rows += [f"i{k}-{n},{label},p{k},{called}" for n in range(2 + k % 2)]
    (tmp_path / "t.csv").write_text("\n".join(["image_id,label,group,predicted", *rows]))
    out, _ = completed("evaluate", tmp_path / "t.csv", "--out", tmp_path / "e")
    (metrics,) = json.loads((tmp_path / "e" / "metrics.json").read_text())["tables"].values()
    figure = metrics["patient_recognition_rate"]
    assert metrics["balanced_accuracy"]["interval"][0] > 0.5
    assert figure["interval"][0] < metrics["chance"]["by_group"]
    text = " ".join(out.split())
    assert (
        "better than chance by balanced accuracy, but not shown to be by the mean over patients: "
        in text
    )
    assert (
        f"expect about {100 * figure['value']:.0f} % of the images of each right (90 if all were called malignant)"
        in text
    )


def test_the_score_of_brier_is_what_its_words_say(tmp_path, completed):
    rows = [
        "image_id,label,p_a,p_b",
        *(f"i{k},{'ab'[k % 2]},0.{k % 7 + 2},0.{8 - k % 7}" for k in range(20)),
    ]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    completed("evaluate", tmp_path / "t.csv", "--out", tmp_path / "e")
    p = np.array([0.1 * (k % 7 + 2) for k in range(20)])
    truth = np.arange(20) % 2 == 0
    of_one = float(np.mean((p - truth) ** 2))
    page = (tmp_path / "e" / "report.html").read_text()
    assert f"Brier score {2 * of_one:.3f}" in page
    assert "of two classes twice the score of one" in page
