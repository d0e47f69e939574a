"""What the choice of the best of several tables leaves of its figures (BBC-CV).

The paper: Tsamardinos, Greasidou & Borboudakis 2018, Machine Learning 107:1895.
"""

from dataclasses import replace

import numpy as np
import pytest
from bchisto.evaluate import (
    Figure,
    TwoClassView,
    as_json,
    choices_of,
    compare_pairs,
    conclude,
    measure,
    unlike_pairs,
    verdict_of,
    with_figures,
)
from bchisto.evaluate.conclusions import choose, corrected_figures, ranking_figure, rankings
from bchisto.evaluate.panel import Panel
from bchisto.evaluate.predictions import take_rows
from written_tables import predictions

RATES = ["accuracy", "balanced_accuracy", "patient_recognition_rate"]


def candidates(rng, count, *, rows=40, skill=0.5, classes="ab", groups=None, repeats=1, folds=5):
    """Return tables of the same images: each is right with its probability, whatever its class."""
    labels = np.arange(rows) % len(classes)
    tables = []
    for number in range(count):
        right = rng.random(rows * repeats) < np.broadcast_to(skill, count)[number]
        truth = np.tile(labels, repeats)
        others = (truth + rng.integers(1, len(classes), len(truth))) % len(classes)
        called = np.where(right, truth, others)
        scores = np.full((len(truth), len(classes)), 0.4 / len(classes))
        scores[np.arange(len(truth)), called] += 0.6
        tables.append(
            predictions(
                scores,
                truth,
                classes,
                name=f"t{number}",
                image_ids=[f"i{k}" for k in range(rows)] * repeats,
                folds=[k % folds + 1 + folds * (k // rows) for k in range(rows * repeats)],
                groups=(groups or [None] * rows) * repeats,
            )
        )
    return tables


def by_hand(tables, by, draws):
    """Return the corrected figures by a plain loop over the units that are drawn, with numbers from 0."""
    rng = np.random.default_rng(0)
    first = tables[0]
    # images of no patient come after the patients
    units = [
        (group is None, group or image)
        for group, image in zip(first.groups, first.image_ids, strict=True)
    ]
    names = sorted(set(units))
    rows_of = {name: np.flatnonzero([unit == name for unit in units]) for name in names}

    def figures(table, drawn):
        rows = np.concatenate([rows_of[name] for name in drawn])
        truth = table.labels[rows]
        hits = table.predicted[rows] == truth
        found = {
            "accuracy": hits.mean(),
            "balanced_accuracy": np.mean([hits[truth == k].mean() for k in np.unique(truth)]),
            "patient_recognition_rate": np.nan,
        }
        of_patients = [table.hits[rows_of[name]].mean() for name in drawn if not name[0]]
        if of_patients:
            found["patient_recognition_rate"] = np.mean(of_patients)
        return found

    outside = []
    for _ in range(draws):
        drawn = [names[place] for place in rng.integers(len(names), size=len(names))]
        others = [name for name in names if name not in drawn]
        if not others:
            continue
        scores = [figures(table, drawn)[by] for table in tables]
        best = [t for t, score in zip(tables, scores, strict=True) if score > max(scores) - 1e-9]
        of_best = [figures(table, others) for table in best]
        outside.append([np.mean([found[name] for found in of_best]) for name in RATES])
    known = np.array(outside)[:, ~np.isnan(outside).all(axis=0)]
    return dict(zip(RATES, np.nanmean(known, axis=0), strict=False))


PATIENTS = [f"p{k // 3}" for k in range(24)]
UNEQUAL = [f"p{min(k // 2, 7)}" for k in range(24)]
SOME = [f"p{k // 4}" if k < 16 else None for k in range(24)]


@pytest.mark.parametrize(
    ("known", "by"),
    [
        ({}, "balanced_accuracy"),
        ({"groups": PATIENTS}, "balanced_accuracy"),
        ({"groups": UNEQUAL}, "patient_recognition_rate"),
        ({"groups": SOME}, "balanced_accuracy"),
        ({"groups": PATIENTS, "repeats": 2}, "balanced_accuracy"),
        ({"classes": "abc", "repeats": 3}, "balanced_accuracy"),
        ({"count": 2}, "balanced_accuracy"),
    ],
    ids=["images", "patients", "by patient", "some patients", "repeated", "three classes", "two"],
)
def test_the_corrected_figures_equal_those_of_a_plain_loop(rng, known, by, monkeypatch):
    monkeypatch.setattr("bchisto.evaluate.conclusions.BOOTSTRAPS", 100)
    tables = candidates(rng, **{"count": 4, "rows": 24, "skill": 0.7} | known)
    found = corrected_figures(tables, by=by)
    assert found == pytest.approx(by_hand(tables, by, 100), abs=1e-12)
    assert found[by] < max(measure(table)[by].value for table in tables)


def test_the_same_draws_give_the_same_figures_in_any_order(rng, monkeypatch):
    monkeypatch.setattr("bchisto.evaluate.conclusions.BOOTSTRAPS", 100)
    tables = candidates(rng, 5, groups=[f"p{k // 4}" for k in range(40)])
    found = corrected_figures(tables, by="balanced_accuracy")
    shuffled = take_rows(tables[0], rng.permutation(40))
    for others in (tables, tables[::-1], [tables[1], shuffled, *tables[2:]]):
        again = corrected_figures(others, by="balanced_accuracy")
        assert again == pytest.approx(found, abs=1e-12)


def test_a_group_that_one_table_lacks_is_taken_from_another(rng, monkeypatch):
    monkeypatch.setattr("bchisto.evaluate.conclusions.BOOTSTRAPS", 100)
    named = candidates(rng, 3, groups=[f"p{k // 4}" for k in range(40)])
    lacking = [replace(named[0], groups=(None,) * 40), *named[1:]]
    found = corrected_figures(lacking, by="balanced_accuracy")
    assert found == pytest.approx(corrected_figures(named, by="balanced_accuracy"))


def test_the_interval_is_the_frozen_one_moved_by_as_much(rng):
    tables = candidates(rng, 9, groups=[f"p{k // 4}" for k in range(40)])
    metrics = [measure(table) for table in tables]
    choice = choose(tables, metrics)
    chosen = choice["choice"]["chosen"]
    frozen = next(m for t, m in zip(tables, metrics, strict=True) if t.name == chosen)
    assert list(choice) == ["choice", *(f"{name}_chosen" for name in RATES)]
    for name in RATES:
        figure = choice[f"{name}_chosen"]
        moved = frozen[name].value - figure.value
        assert moved >= 0
        low, high = frozen[name].interval
        measured = frozen[name].value
        assert figure.interval == pytest.approx([max(0, low - moved), max(measured, high - moved)])
    shown = frozen["balanced_accuracy"].value
    assert choice["balanced_accuracy_chosen"].value < shown - 0.03


def test_a_figure_that_does_not_rank_is_not_raised_to_that_of_other_tables():
    """The best by balanced accuracy has few right, and the second many; no choice makes the first one right more."""
    labels = [0] * 90 + [1] * 10
    right = np.r_[np.arange(90) < 54, np.ones(10, dtype=bool)]
    often = np.r_[np.ones(90, dtype=bool), np.arange(10) < 5]
    tables = [
        predictions(np.abs(np.array(labels) - np.where(hits, 0.2, 0.8)), labels, "ab", name=name)
        for name, hits in (("balanced", right), ("often", often))
    ]
    metrics = [measure(table) for table in tables]
    choice = choose(tables, metrics)
    assert choice["choice"]["chosen"] == "balanced"
    assert corrected_figures(tables, by="balanced_accuracy")["accuracy"] > 0.66
    assert choice["accuracy_chosen"] == metrics[0]["accuracy"]


def test_metrics_keep_the_choice_and_lose_an_older_one(rng):
    tables = candidates(rng, 3)
    other = replace(candidates(rng, 1, rows=20)[0], name="other")
    metrics = [measure(table) for table in (*tables, other)]
    added = choices_of([*tables, other], metrics, images=["x"] * 4)
    choice = choose(tables, metrics[:3])
    kept = {"kind": "highest", "count": 3, "by": "balanced_accuracy", "equal": 0}
    kept["chosen"] = chosen = choice["choice"]["chosen"]
    for table, before, found in zip(tables, metrics, added, strict=False):
        figures = {}
        if table.name == chosen:
            figures = {name: figure for name, figure in choice.items() if name != "choice"}
            assert list(figures) == ["accuracy_chosen", "balanced_accuracy_chosen"]
        assert found == {"choice": kept | {"idle": 0, "elsewhere": 1}} | figures
        assert with_figures(as_json(found)) == found
        panel = Panel(table, before).chosen(found)
        assert panel.metrics == before | found
        assert panel.chosen({}).metrics == before
    single = {"kind": "single", "count": 1, "chosen": "", "by": "", "equal": 0}
    single |= {"idle": 0, "elsewhere": 3}
    assert added[3] == {"choice": single}
    assert choices_of(tables[:1], metrics[:1]) == [{}]
    # of equal names, but other pixels
    changed = choices_of(tables, metrics[:3], images=["x", "y", "x"])
    assert [found["choice"]["count"] for found in changed] == [2, 1, 2]


def test_patches_of_known_patients_have_no_figure_by_patient(rng):
    tables = candidates(rng, 2, groups=[f"p{k // 4}" for k in range(40)])
    tables = [
        replace(table, image_ids=("i",) * 40, patches=table.image_ids, groups=tuple(table.groups))
        for table in tables
    ]
    metrics = [measure(table) for table in tables]
    assert metrics[0]["patient_recognition_rate"] is None
    names = ["choice", "accuracy_chosen", "balanced_accuracy_chosen"]
    assert list(choose(tables, metrics)) == names


def test_the_best_is_better_than_chance_after_the_correction(rng):
    tables = candidates(rng, 3, rows=100, skill=[0.9, 0.8, 0.6])
    found = choose(tables, [measure(table) for table in tables])
    assert found["choice"]["kind"] == "best"
    # equal ones, of which the best is no better: a verdict that the correction takes back
    tables = []
    for number in range(9):
        right = np.zeros((50, 2), dtype=bool)
        for k in range(2):
            right[rng.permutation(50)[: 32 + (number == 0)], k] = True
        labels = np.arange(100) % 2
        scores = np.where(right.ravel() == (labels == 1), 0.8, 0.2)
        tables.append(predictions(scores, labels, "ab", name=f"t{number}"))
    metrics = [measure(table) for table in tables]
    assert [verdict_of(each).kind for each in metrics] == ["better"] * 9
    choice = choose(tables, metrics)
    assert choice["choice"] == {
        "kind": "highest",
        "count": 9,
        "chosen": "t0",
        "by": "balanced_accuracy",
        "equal": 0,
    }


def test_others_that_are_equal_are_counted(rng):
    a, b, c = candidates(rng, 3, rows=100, skill=[0.9, 0.6, 0.6])
    tables = [a, b, replace(a, name="copy"), c]
    metrics = [measure(table) for table in tables]
    figure = metrics[2]["balanced_accuracy"]
    metrics[2]["balanced_accuracy"] = replace(figure, value=figure.value - 1e-16)  # by rounding
    choice = choose(tables, metrics)["choice"]
    assert (choice["chosen"], choice["equal"], choice["count"]) == ("t0", 1, 4)
    # of equal rows there is nothing to choose
    same = choose([a, replace(a, name="copy")], metrics[:1] * 2)
    assert {*same} == {"choice"}
    assert "accuracy_chosen" in choose([a, b], metrics[:2])


def test_tables_of_other_drawn_images_are_no_choice(rng):
    """A table may lack the column that says how images were chosen."""
    a, b = candidates(rng, 2, rows=60, skill=[0.9, 0.7])
    marked = replace(a, marks=("random", "not random") * 30)
    tables = [marked, b]
    assert choices_of(tables, [measure(table) for table in tables]) == [{}, {}]
    assert compare_pairs(tables) == []
    assert "different images as drawn at random" in unlike_pairs(tables)[0]
    assert len(compare_pairs([marked, replace(b, marks=marked.marks)])) == 1
    # of images that were all chosen nothing is concluded
    chosen = [replace(table, marks=("not random",) * 60) for table in (a, b)]
    assert compare_pairs(chosen) == []
    metrics = measure(chosen[0], TwoClassView("b"))
    assert conclude(metrics).m["auc"].interval is None
    assert conclude(metrics).m["two_class"]["thresholds"][0]["sensitivity"].interval is None
    assert metrics["auc"].interval


def test_tables_of_other_classes_are_no_choice(rng):
    """Nor those of other images, folds or labels: see `SITUATIONS`."""
    a, b = candidates(rng, 2)
    tables = [a, replace(b, classes=("a", "c"))]
    metrics = [measure(table) for table in tables]
    assert choices_of(tables, metrics) == [{}, {}]


def test_the_figure_that_ranks_has_an_interval_in_all(rng):
    figure, none = Figure(0.5, 0.4, 0.6, "x"), Figure(0.5, reason="one patient")
    assert (str(figure), str(none)) == ("0.500 [0.400, 0.600]", "0.500")
    assert (f"{figure}", f"{figure:.1f}", float(figure)) == (str(figure), "0.5", 0.5)
    both = {"balanced_accuracy": figure, "patient_recognition_rate": figure}
    assert ranking_figure([both, both]) == "balanced_accuracy"
    assert ranking_figure([both, both | {"balanced_accuracy": none}]) == "patient_recognition_rate"
    assert (
        ranking_figure([both, {"balanced_accuracy": none, "patient_recognition_rate": None}]) == ""
    )
    a, b = candidates(rng, 2, groups=["p"] * 30 + [f"q{k % 2}" for k in range(10)])
    metrics = [dict(measure(table), patient_recognition_rate=None) for table in (a, b)]
    chosen = choices_of([a, b], metrics)
    assert [m["choice"]["kind"] for m in chosen] == ["unranked"] * 2
    assert [m["choice"]["chosen"] for m in chosen] == [""] * 2
    assert all("accuracy_chosen" not in m for m in chosen)


def constant(table, name):
    """Return a table whose models give all images of a fold the same probabilities, and are right in most folds."""
    scores = np.zeros((len(table), 2))
    for number, fold in enumerate(table.fold_numbers):
        rows = table.fold_array == fold
        majority = np.bincount(table.labels[rows]).argmax()
        scores[rows, majority] = 0.6 + number / 100
        scores[rows, 1 - majority] = 0.4 - number / 100
    return replace(table, name=name, probabilities=scores, predicted=scores.argmax(axis=1))


def by_class(table):
    """Return a table with folds of mostly one class, in which models of nothing can be right."""
    folds = [1 + label if k % 9 else 2 - label for k, label in enumerate(table.labels.tolist())]
    return replace(table, folds=tuple(folds))


def test_models_that_learnt_nothing_come_last_and_are_not_chosen(rng):
    good, poor = map(by_class, candidates(rng, 2, rows=80, skill=[0.75, 0.4]))
    same = constant(good, "same")
    tables = [same, poor, good]
    metrics = [measure(table) for table in tables]
    values = [each["balanced_accuracy"].value for each in metrics]
    assert values[0] == max(values) > 0.8, "it would be the highest"
    assert [each["learnt"] for each in metrics] == [False, True, True]
    assert verdict_of(metrics[0]).kind == "not shown"

    (ranking,) = rankings(list(map(Panel, tables, metrics)))
    assert [panel.table.name for panel in ranking.panels] == ["t0", "t1", "same"]
    assert ranking.marks == ["highest", "", ""]
    added = choices_of(tables, metrics)
    assert added[0]["choice"] == added[2]["choice"] == added[2]["choice"] | {"count": 2}
    assert added[2]["choice"]["chosen"] == "t0"
    assert added[0].keys() == {"choice"}


def test_nothing_is_chosen_if_one_or_none_learnt(rng):
    (good,) = map(by_class, candidates(rng, 1, rows=80, skill=0.75))
    same = constant(good, "same")
    for other, names, leaders in ((good, ["t0", "same"], 1), (constant(good, "again"), None, 0)):
        tables = [same, other]
        metrics = [measure(table) for table in tables]
        (ranking,) = rankings(list(map(Panel, tables, metrics)))
        added = choices_of(tables, metrics)
        assert ranking.leaders == leaders
        if names:
            assert added == [{}, {}]
            assert [panel.table.name for panel in ranking.panels] == names
        else:
            assert added[0]["choice"]["kind"] == "highest"


def test_calls_that_are_the_same_in_each_fold_learnt_nothing(rng):
    (good,) = map(by_class, candidates(rng, 1, rows=80, skill=0.75))
    called = replace(constant(good, "same"), probabilities=None)
    assert not measure(called)["learnt"]
    assert measure(replace(good, probabilities=None))["learnt"]
