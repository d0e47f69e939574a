"""Rules of conclusions, by tables whose figures are counted by hand; what is printed of them is in test_situations."""

import html
import json

import numpy as np
import pytest
from bchisto.core import Banner, Kind
from bchisto.evaluate import (
    Panel,
    advice_of,
    compare_pairs,
    measure,
    rankings,
    verdict_of,
)
from written_tables import predictions

FOLDS = [k % 5 + 1 for k in range(200)]


def table_of(sensitivity, specificity, **known):
    """A table of 100 negative and 100 positive rows, of which these shares are called right."""
    labels = np.repeat([0, 1], 100)
    right = np.tile(np.arange(100), 2) < 100 * np.take([specificity, sensitivity], labels)
    called = np.where(right, labels, 1 - labels)
    return predictions(0.1 + 0.8 * called, labels, folds=FOLDS, **known)


def panel_of(*shares, run=None, **known):
    table = table_of(*shares, **known)
    return Panel(table, measure(table, bootstrap=0), run=run or {})


def test_one_patient_of_most_images_leaves_the_mean_over_patients():
    groups = ["large"] * 150 + [f"p{k % 10}" for k in range(50)]
    verdict = verdict_of(panel_of(0.9, 0.9, groups=groups).metrics)
    assert verdict.by == "patient_recognition_rate"
    # the large patient is one half positive, the others wholly
    assert verdict.chance == pytest.approx((10 + 1 / 3) / 11)


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


def test_what_may_help():
    bad = panel_of(0.2, 0.1)
    assert advice_of(bad).kind == "images"
    # scores rank, and calls do not
    labels = table_of(0.0, 1.0).labels
    ranked = predictions(0.1 + 0.2 * labels + np.linspace(0, 0.1, 200), labels, folds=FOLDS)
    assert advice_of(Panel(ranked, measure(ranked, bootstrap=0))).kind == "threshold"
    random = panel_of(0.2, 0.1, run={"banners": [Banner(Kind.RANDOM_WEIGHTS, "x").json()]})
    assert advice_of(random).kind == "weights"


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

    out, _ = completed("evaluate {} {} --out {}", paths[0], paths[2], tmp_path / "f")
    text = " ".join(out.split())
    assert f"{name if name == 'first' else 'first'} is best by balanced accuracy" in text
    assert "is shown to be better than the others (Holm's p of 1 comparison)" in text
