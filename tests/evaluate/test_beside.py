"""What stands beside an answer: what was measured, what the correction changed, why a verdict is none, and cautions."""

import html
import re
from dataclasses import replace

import numpy as np
import pytest
from bchisto.core import Banner, Kind, as_banner
from bchisto.evaluate import TwoClassView, advice_of, compare_pairs, conclude, measure, rankings
from bchisto.evaluate.panel import Panel
from bchisto.evaluate.predictions import take_rows
from bchisto.evaluate.report.answer import answer_lines, findings, leading, sentences
from bchisto.evaluate.report.methods import measured
from bchisto.evaluate.report.page import headings, p_value, page_templates, points
from written_tables import panels_of, predictions, report_of, right_at, visible


def dominated(name="t", *, right=0, seed=0):
    """A patient of 60 images, of which few are right, and 20 of one image, three in four right."""
    labels = np.r_[np.ones(60, int), np.arange(20) % 2]
    hits = np.r_[np.arange(60) < 3 + right, np.arange(20) % 4 != seed % 4]
    called = np.where(hits, labels, 1 - labels)
    return predictions(
        np.where(called == 1, 0.8, 0.2) + np.r_[np.arange(60) / 1000, np.zeros(20)],
        labels,
        name=name,
        folds=[1] * 60 + [k // 4 % 3 + 1 for k in range(20)],
        groups=["big"] * 60 + [f"p{k}" for k in range(20)],
        protocol="folds of a test",
    )


def leaders(*shares):
    """Return panels of 60 patients, each with this share of images right."""
    return panels_of(
        *(right_at(right, patients=60, seed=k, name="abcd"[k]) for k, right in enumerate(shares))
    )


def answers_of(panels, **more):
    pairs = compare_pairs([panel.table for panel in panels])
    ranked = rankings(panels, pairs)
    return " ".join([*leading(ranked), *findings(ranked, brief=True, comparisons=len(pairs))])


def test_what_was_measured_stands_beside_what_is_expected():
    (panel,) = panels_of(dominated())
    assert sum(panel.table.hits) == 18
    _, text = report_of([panel])
    balanced = panel.metrics["balanced_accuracy"].value
    start = text.partition("At a glance")[0]
    lead, _, rest = start.partition("18 of 80 images right: 22.5 % ")
    assert "right on average over 21 patients" in lead
    assert "expect about" in rest
    assert f"Balanced accuracy of these calls {100 * balanced:.1f} %" in rest


def test_of_a_corrected_answer_what_was_measured_comes_next():
    tables = [dominated(name, right=k, seed=k) for k, name in enumerate("abcdef")]
    panels = panels_of(*tables)
    (best,) = [panel for panel in panels if conclude(panel.metrics).lowered]
    right = int(best.table.hits.sum())
    balanced = best.metrics["balanced_accuracy"].value
    _, text = report_of([best])
    measured = text.partition("corrected for the choice")[2].partition("On average over new")[0]
    assert f"Measured, without the correction for the choice (BBC-CV): {right} of 80" in measured
    assert f"balanced accuracy {100 * balanced:.1f} %" in measured
    assert "by chance 50.0 %" in measured


def test_of_scores_that_rank_though_calls_are_below_chance_it_is_said_among_which():
    """Two tables, since the figures of one stand in its section."""
    tables = [dominated(name) for name in "ab"]
    panels = panels_of(*tables)
    view = panels[0].metrics["two_class"]
    assert view["auc"].value > 0.5 > panels[0].metrics["balanced_accuracy"].value
    text = answers_of(panels)
    assert f"The AUC ranks only scores of the same fold: {view['auc'].value:.3f}" in text
    turned = replace(panels[0].metrics["two_class"]["auc"], value=0.49)
    for panel in panels:
        panel.metrics["two_class"]["auc"] = turned
    assert "The AUC ranks" not in answers_of(panels)


def test_balanced_accuracy_below_chance_is_said_with_its_reason():
    (panel,) = panels_of(dominated())
    balanced = panel.metrics["balanced_accuracy"]
    assert balanced.value < 0.5
    assert not balanced.interval
    texts = " ".join(sentences("verdict.txt", a=conclude(panel.metrics)))
    below = f"Balanced accuracy, {100 * balanced.value:.1f} %, is below chance, 50.0 %, but has no 95 % CI: one patient"
    assert below in texts
    above = {**panel.metrics, "balanced_accuracy": replace(balanced, value=0.51)}
    assert "below chance" not in " ".join(sentences("verdict.txt", a=conclude(above)))


def test_a_caution_of_some_results_is_called_by_its_subject():
    texts = [
        as_banner("255 images name no patient: each is a unit").of("a-svm, a-lda"),
        as_banner("Fold 1 trained on 3 %").of("a"),
    ]
    assert headings(texts) == ["255 images name no patient", "Fold 1 trained on 3 %"]


def test_a_result_that_learnt_nothing_is_counted():
    flat = replace(right_at(0.9, seed=3), name="flat")
    flat = replace(flat, probabilities=np.full_like(flat.probabilities, 0.5))
    flat = replace(flat, predicted=np.zeros_like(flat.predicted))
    panels = panels_of(right_at(0.7, name="a"), right_at(0.8, seed=1, name="b"), flat)
    choice = panels[0].metrics["choice"]
    assert (choice["count"], choice["idle"]) == (2, 1)
    assert "Chosen among 2 results on the same images and folds (1 more learnt nothing) as" in (
        answers_of(panels)
    )
    _, text = report_of(panels)
    assert (
        "of the highest of 2 results (1 more learnt nothing, which nobody would choose) are corrected"
        in text
    )
    assert "corrected for the choice among 2 (BBC-CV)" in text
    assert "learnt nothing; not shown by balanced accuracy" in text
    (idle,) = panels_of(flat)
    _, text = report_of([idle])
    assert "Its models learnt nothing, so nothing is to be expected of them." in text
    assert "expect about" not in text


def test_a_correction_that_changes_nothing_is_not_said_to_correct():
    panels = leaders(1, 0.6)
    best = panels[0]
    for name in ("accuracy", "balanced_accuracy", "patient_recognition_rate"):
        assert best.metrics[f"{name}_chosen"].value == best.metrics[name].value
    text = answers_of(panels)
    assert "better than chance: 100.0 %" in text
    assert "and the correction for that changes nothing here (BBC-CV)." in text
    assert "corrected for the choice" not in text
    lower = {
        **best.metrics,
        "balanced_accuracy_chosen": replace(best.metrics["balanced_accuracy"], value=0.9),
    }
    text = answers_of([replace(best, metrics=lower), *panels[1:]])
    assert "better than chance: corrected 90.0 %" in text
    assert "so corrected for the choice (BBC-CV) expect balanced accuracy 90.0 %" in text
    assert "; the correction does not change accuracy 100.0 %" in text


def test_the_headline_says_that_folds_divide_patients():
    clean = [panel.table for panel in leaders(0.9, 0.6)]
    mixed = [replace(each, folds=tuple(j % 2 + 1 for j in range(120))) for each in clean]
    (first, *_) = leading(rankings(panels_of(*mixed)))
    assert first.endswith("by chance; too high for new patients: 60 patients train and test")
    (first, *_) = leading(rankings(panels_of(*clean)))
    assert "too high" not in first


def test_the_headline_says_once_what_is_not_shown_by_patient():
    tables = []
    for name, wrong in (("a", 24), ("b", 25), ("c", 26)):
        labels = np.repeat(np.r_[np.zeros(10, int), np.ones(90, int)], 2 + np.arange(100) % 2)
        patient = np.repeat(np.arange(100), 2 + np.arange(100) % 2)
        called = np.where((patient >= 1) & (patient < wrong), 0, 1)
        tables.append(
            predictions(
                called * 0.8 + 0.1,
                labels,
                name=name,
                folds=[None] * len(labels),
                groups=[f"p{k}" for k in patient],
            )
        )
    text = answers_of(panels_of(*tables))
    assert text.count("but not shown to be by the mean over patients") == 2
    assert text.index("not shown to be by the mean") < text.index("By balanced accuracy")
    assert (
        "b, c: The calls are better than chance by balanced accuracy, but not shown to be by the mean over patients."
        in text
    )


def test_the_headline_names_its_test_and_an_interval_that_it_does_not_follow():
    panels = leaders(0.8, 0.75)
    ranked = rankings(panels)
    (pair,) = compare_pairs([panel.table for panel in panels])
    low, high = pair["differences"]["by_unit"].interval
    assert low < 0 < high
    texts = findings(rankings(panels, [pair]), brief=True, comparisons=1)
    best = ranked[0].panels[0].table.name
    other = ranked[0].panels[1].table.name
    shown = f"{best} is not shown to be better than {other} (Holm's p {pair['p_holm']:.3f}, of 1 comparison)"
    assert f"{best}: By accuracy {shown}" in texts
    # ranked by balanced accuracy, tested by accuracy
    won = {**pair, "verdict": {best: "worse", other: "better"}[pair["second"]], "p_holm": 0.0004}
    texts = findings(rankings(panels, [won]), brief=True, comparisons=1)
    worse = (
        f"By accuracy {best} is shown to be worse than {other} (Holm's p < 0.001, of 1 comparison)"
    )
    assert f"{best}: {worse}" in texts
    assert "not shown to be better than" not in " ".join(texts)
    apart = replace(pair["differences"]["by_unit"], value=0.2, low=0.1, high=0.3)
    for swapped in (False, True):
        moved = {**pair, "differences": {**pair["differences"], "by_unit": apart}}
        if swapped == (pair["second"] == best):
            moved |= {"first": pair["second"], "second": pair["first"]}
        (second,) = [text for text in findings(rankings(panels, [moved])) if "By patient" in text]
        names = (other, best) if swapped else (best, other)
        assert second == (
            f"{best}: By patient, 95 % CIs of single differences, not corrected for the number of comparisons, do not "
            f"contain 0: {names[0]} minus {names[1]} +20.0 (+10.0 to +30.0) points"
        )


def test_nothing_is_written_as_minus_zero():
    assert points(-0.0004) == "+0.0"


def shown_by(macro, **values):
    template = "{% import 'show.html' as show with context %}{{ show." + macro + " }}"
    return visible(page_templates("bchisto.evaluate.report").from_string(template).render(**values))


def test_how_good_a_model_is_has_its_count_beside_what_to_expect():
    (panel,) = panels_of(dominated())
    known = measured("m", {"tables": {"t": panel.metrics}})
    text = shown_by("known(lines, verdict)", **known)
    assert (
        "cross-validation, by models of single folds; their mean, which predicts here, was not measured:"
        in text
    )
    lead, _, rest = text.partition(" 18 of 80 images right: 22.5 % ")
    assert "right on average over 21 patients" in lead
    count, _, expected = rest.partition("expect about")
    assert f"{100 * panel.metrics['balanced_accuracy'].value:.1f} %" in count
    assert expected
    assert not re.search(r"\.\s+\.", text)
    assert known["table"]["calibration"] == panel.metrics["calibration"]
    (panel,) = panels_of(right_at(0.8, folds=1))
    alone = measured("m", {"tables": {"t": panel.metrics}})
    assert "measured on images that it was not trained on:" in shown_by("known(lines)", **alone)


@pytest.mark.parametrize("right", [9, 19])
def test_a_mark_that_tells_nothing_is_called_so_beside_its_count(right):
    rule = {"sure": {"n": 80, "right": 64}, "unsure": {"n": 20, "right": right}}
    text = shown_by("by_class(['a'], [], rule)", rule=rule)
    sentence = "95.0 % of those marked were right, of the others 80.0 %"
    assert (sentence in text) == (right == 19)
    assert ("uninformative" in text) == (right == 19)
    origin = "of images predicted by models of single folds that had not trained on them, 95.0 %"
    assert (origin in text) == (right == 19)


@pytest.mark.parametrize(
    ("patients", "verdict"), [(6, "not shown"), (6, "better"), (40, "not shown")]
)
def test_few_patients_are_a_caution_if_no_verdict_rests_on_them(patients, verdict):
    (panel,) = panels_of(right_at(1.0 if verdict == "better" else 0.5, patients=patients, per=4))
    conclusion = conclude(panel.metrics)
    conclusion = replace(conclusion, verdict=replace(conclusion.verdict, kind=verdict))
    texts = sentences("cautions.txt", a=conclusion, doubts=None)
    caution = (
        "Only 3 patients of the class benign, 3 of malignant: what is right of so few says little "
        "of others"
    )
    assert (caution in texts) == (patients == 6 and verdict == "not shown")
    assert ("rests on only 3 patients" in "".join(sentences("verdict.txt", a=conclusion))) == (
        verdict == "better"
    )


@pytest.mark.parametrize(
    ("counts", "largest"), [([5, 3, 3], True), ([5, 5, 3], False), ([5, 0, 0], False)]
)
def test_only_a_class_that_is_larger_than_all_others_is_the_largest(counts, largest):
    labels = np.repeat(range(3), counts)
    table = predictions(np.eye(3)[labels], labels, "abc")
    assert conclude(measure(table)).has_majority == largest


def test_the_accuracy_by_patient_adds_nothing_if_it_differs_by_rounding():
    hits = np.concatenate([np.arange(5) < right for right in (3, 0, 3, 3, 2, 0, 3, 2)])
    groups = [f"p{k // 5}" for k in range(40)]
    metrics = measure(predictions(hits, np.ones(40), groups=groups))
    assert metrics["accuracy"].value != metrics["patient_recognition_rate"].value
    assert conclude(metrics).by_unit is None


def test_figures_without_interval_are_marked_in_sentences():
    (panel,) = panels_of(right_at(1.0, patients=40))
    figure = panel.metrics["balanced_accuracy"]
    bare = replace(figure, low=None, high=None, method="", reason="why")
    for shown, end in ((figure, f"({100 * figure.low:.1f} to "), (bare, "(no CI)")):
        text = page_templates("bchisto.evaluate.report").from_string(
            "{% import 'say.txt' as say %}{{ say.reached(point) }}"
        )
        both = {"sensitivity": shown, "specificity": shown}
        assert text.render(point=both).count(f"100.0 % {end}") == 2


def test_what_to_expect_of_a_table_from_elsewhere_depends_on_its_training():
    sure = "compatible with these data, if none of these patients trained the model."
    for folds in (3, 0):
        each = replace(right_at(0.8, patients=40, folds=folds), protocol="folds" if folds else "")
        (panel,) = panels_of(each)
        text = " ".join(sentences("terminal.txt", name="t", a=conclude(panel.metrics), warnings=[]))
        assert (sure in text) == (not folds)
        assert ("compatible with these data." in text) == bool(folds)


def rows_of_results(panels):
    """Return the rows of the first table of a report, each its class and cells, by the name of the row."""
    page, _ = report_of(panels, pairs=compare_pairs([panel.table for panel in panels]))
    table = page[page.index("<caption>All results") : page.index("</table>")]
    rows = {}
    for shape, row in re.findall(r"<tr(?: class=\"(\w+)\")?>(.*?)</tr>", table, re.DOTALL):
        texts = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        name, *cells = (
            html.unescape(re.sub("<[^>]*>", "", text)).replace("\u00a0", " ") for text in texts
        )
        rows[name] = (shape, cells)
    return rows


def test_the_table_of_results_says_what_is_shown_of_each(tmp_path):
    panels = leaders(0.8, 0.75, 0.5)
    pairs = compare_pairs([panel.table for panel in panels])
    rows = rows_of_results(panels)
    assert rows[""][1][-1] == "accuracy against the highest, Holm's p of 3 comparisons"
    assert not [title for title in rows[""][1] if "SD" in title]
    (ranking,) = rankings(panels, pairs)
    first = ranking.panels[0]
    for panel, beside in zip(ranking.panels, ranking.standings, strict=True):
        name, kind = panel.table.name, conclude(panel.metrics).verdict.kind
        shape, cells = rows[name]
        assert re.fullmatch(rf"(corrected: )?{kind} by balanced accuracy", cells[-2])
        left = panel.metrics.get("balanced_accuracy_chosen", panel.metrics["balanced_accuracy"])
        assert cells[-2].startswith("corrected") == (
            not cells[2].startswith(f"{100 * left.value:.1f} ")
        )
        of_pair = [
            p["p_holm"] for p in pairs if {p["first"], p["second"]} == {name, first.table.name}
        ]
        assert [(beside.pair or {}).get("p_holm")] == (of_pair or [None])
        words = {"lower": "lower", "not shown": "not shown to differ", "highest": "highest"}[
            beside.kind
        ]
        assert cells[-1].startswith(words)
        if of_pair:
            assert cells[-1].endswith(f", p {p_value(of_pair[0], sign=False)}")
        assert not shape
    assert [each.kind for each in ranking.standings] == ["highest", "not shown", "lower"]
    left = rows["corrected for the choice among 3 (BBC-CV)"][1]
    for name, place in (("accuracy", 1), ("balanced_accuracy", 2)):
        figure = first.metrics[f"{name}_chosen"]
        assert left[place].startswith(f"{100 * figure.value:.1f} ({100 * figure.low:.1f} to ")


def test_a_headline_without_a_best_cannot_be_read_as_success():
    panels = panels_of(*(dominated(name, right=k) for k, name in enumerate("ab")))
    (text,) = leading(rankings(panels))
    assert text.startswith(
        "No result is shown to be better than chance: b, highest by the mean over patients"
    )
    right = int(panels[1].table.hits.sum())
    assert text.endswith(f"; {right} of 80 right, fewer than 70 by predicting malignant")
    figure = panels[1].metrics["patient_recognition_rate_chosen"]
    assert f"has {100 * figure.value:.1f} % (95 % CI {100 * figure.low:.1f} to " in text
    balanced = [panel.metrics["balanced_accuracy"].reason for panel in panels]
    assert (
        f"* 95 % CI not estimable: {balanced[0]}, so the mean over patients decides"
        in answers_of(panels)
    )
    (text,) = leading(rankings(leaders(0.58, 0.4)))
    assert re.search(
        r"a, highest by balanced accuracy, has [\d.]+ % .* against 50.0 % by chance$", text
    )


def test_without_patients_the_accuracy_is_the_second_half_of_the_verdict():
    labels = (np.arange(240) % 12 == 0).astype(int)
    called = np.where(np.arange(240) % 10 == 1, 1 - labels, labels)
    unknown = predictions(called * 0.8 + 0.1, labels, folds=[k % 5 + 1 for k in range(240)])
    (panel,) = panels_of(unknown)
    verdict = conclude(panel.metrics).verdict
    accuracy = panel.metrics["accuracy"]
    assert (verdict.kind, verdict.by, verdict.less.by) == (
        "better",
        "balanced_accuracy",
        "accuracy",
    )
    assert (verdict.less.figure, verdict.less.chance) == (accuracy, 220 / 240)
    assert accuracy.low <= 220 / 240
    text = " ".join(sentences("verdict.txt", a=conclude(panel.metrics)))
    assert f"but not shown to be by accuracy: {100 * accuracy.value:.1f} %" in text
    assert "against 91.7 % by predicting benign." in text
    (sure,) = panels_of(replace(unknown, probabilities=np.eye(2)[labels], predicted=labels))
    assert conclude(sure.metrics).verdict.less is None


def test_a_page_says_why_patients_or_images_come_first():
    (panel,) = panels_of(dominated())
    _, text = report_of([panel])
    assert "patients come first" in text
    assert "so these come first" not in text
    even = right_at(0.8, patients=60)
    groups = tuple("p0" if k < 6 else name for k, name in enumerate(even.groups))
    (panel,) = panels_of(replace(even, groups=groups))
    assert conclude(panel.metrics).by_unit
    largest = panel.metrics["units"]["largest"]
    _, text = report_of([panel])
    assert (
        f"The largest patient holds only {100 * largest:.1f} % of the images, so these come first"
        in text
    )
    assert "patients come first" not in text


def test_a_probability_of_nothing_is_told_beside_the_likelihood():
    table = right_at(0.8)
    (panel,) = panels_of(table)
    assert panel.metrics["calibration"]["floored"] == 0
    assert "below 1e-12" not in report_of([panel])[1]
    sure = table.probabilities.copy()
    sure[~table.hits] = np.eye(2)[table.predicted[~table.hits]]
    (panel,) = panels_of(replace(table, probabilities=sure))
    wrong = int((~table.hits).sum())
    of_true_class = sure[np.arange(len(table)), table.labels][table.hits]
    total = wrong * np.log(1e12) - np.log(of_true_class).sum()
    assert panel.metrics["calibration"]["nll"] == pytest.approx(total / len(table))
    _, text = report_of([panel])
    assert f" ({wrong} of the probabilities of true classes are below 1e-12, and count as" in text


@pytest.mark.parametrize("threshold", [0.35, 0.5])
def test_why_an_interval_is_missing_stands_below_the_table_that_lacks_it(threshold):
    """At 0.35 few are called negative, and one patient holds most of these."""
    table = right_at(0.9, patients=20, per=4)
    scores = np.where(np.arange(80) < 5, 0.1, np.maximum(table.probabilities[:, 1], 0.36))
    table = replace(table, probabilities=np.c_[1 - scores, scores])
    metrics = measure(table, TwoClassView(["malignant"], thresholds=[threshold]))
    page, _ = report_of([Panel(table, metrics)])
    classes, _, rest = page.partition("Classes and errors")[2].partition("Calibration and operat")
    operating = rest.partition("Operating points:")[2].partition("<h2")[0]
    for part in (classes, operating):
        lacking = re.search(r"%\*", part) is not None
        assert ("95 % CI not estimable" in part) == lacking
    assert ("95 % CI not estimable" in operating) == (threshold == 0.35)
    assert "95 % CI not estimable" not in classes


def test_a_study_is_planned_for_the_figure_that_is_named():
    for per, name in ((1, "accuracy"), (3, "the mean over patients")):
        table = right_at(0.7, patients=20, per=per)
        rows = np.flatnonzero(np.arange(len(table)) % 7)  # patients of different size
        (panel,) = panels_of(table if per == 1 else take_rows(table, rows))
        (_, *texts) = sentences("terminal.txt", name="t", a=conclude(panel.metrics), warnings=[])
        assert f"A 95 % CI of {name} 10 points wide would take about" in " ".join(texts)


def test_a_page_without_a_positive_class_names_the_option():
    table = replace(right_at(0.8), classes=("even", "odd"))
    unknown = "bchisto does not know which of even and odd is the positive class, so there is no "
    unknown += (
        "sensitivity, ROC or decision curve; the command that wrote this report has them with"
    )
    for positive in ((), "odd"):
        metrics = measure(table, TwoClassView(positive))
        _, text = report_of([Panel(table, metrics)])
        assert (unknown in text) == (positive == ())
        assert ("decision curve)" in text) == (positive == "odd")


# Tables whose figures are counted by hand.

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


@pytest.mark.parametrize("equal", [0, 1])
def test_results_that_a_run_gets_later_are_not_called_the_highest_of_it(equal):
    """The run has another one, which is named instead; among equal ones, any may be."""
    choice = {
        "kind": "best",
        "count": 3,
        "chosen": "3-svm",
        "by": "balanced_accuracy",
        "equal": equal,
    }
    panels = [
        panel_of(0.9, right, name=name).chosen({"choice": choice})
        for name, right in (("3-knn", 0.9), ("3-lda", 0.5))
    ]
    ranked = rankings(panels)
    assert ranked[0].marks == ["highest", ""]
    lines = answer_lines(panels, [], room=9)
    verdict = "knn is better than chance by balanced accuracy; nothing is shown of new patients"
    is_told = " ".join(lines).startswith(verdict) and "of the run is 3-svm" in " ".join(lines)
    marked = any(line.startswith("highest ") for line in lines)
    assert (is_told, marked) == (not equal, bool(equal))
    (lead,) = leading(ranked)
    assert (lead == "3-knn is better than chance; the highest of the run is 3-svm") == (not equal)
    # not if it is among them
    panels[0] = panel_of(0.9, 0.9, name="3-svm").chosen({"choice": choice})
    assert "of the run" not in " ".join(answer_lines(panels, [], room=9))


def test_what_may_help():
    bad = panel_of(0.2, 0.1)
    assert advice_of(bad).kind == "images"
    # scores rank, and calls do not
    labels = table_of(0.0, 1.0).labels
    ranked = predictions(0.1 + 0.2 * labels + np.linspace(0, 0.1, 200), labels, folds=FOLDS)
    assert advice_of(Panel(ranked, measure(ranked, bootstrap=0))).kind == "threshold"
    random = panel_of(0.2, 0.1, run={"banners": [Banner(Kind.RANDOM_WEIGHTS, "x").json()]})
    assert advice_of(random).kind == "weights"


def test_of_two_the_best_is_named_with_its_test_and_its_sensitivity():
    panels = [panel_of(0.9, 0.9, name="first"), panel_of(0.5, 0.5, name="poor")]
    text = answers_of(panels)
    assert "first is best by balanced accuracy" in text
    assert "is shown to be better than the others (Holm's p of 1 comparison)" in text
    _, text = report_of(panels)
    assert "first, malignant: sensitivity 90.0 %" in text.partition("For the methods")[0]


def test_of_several_the_verdict_and_the_picture_come_before_the_cautions_and_the_table():
    page, text = report_of([panel_of(0.9, 0.9, name="first"), panel_of(0.5, 0.5, name="poor")])
    order = [
        "Better than guessing",
        "first is highest by balanced accuracy",
        "Balanced accuracy of 2 results",
    ]
    order += ["At a glance", "All results", "true class by row"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert page.count("Balanced accuracy of 2 results as measured") == 1
