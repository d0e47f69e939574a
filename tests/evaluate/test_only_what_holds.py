"""A report says only what holds of each of its tables: units, figures drawn, few patients, methods, its form."""

import hashlib
import html
import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from bchisto import __version__
from bchisto.evaluate import (
    TableChoice,
    TwoClassView,
    compare_pairs,
    conclude,
    evaluate,
    list_metrics,
    measure,
    rankings,
    with_figures,
)
from bchisto.evaluate.conclusions import BOOTSTRAPS
from bchisto.evaluate.panel import PaperTable
from bchisto.evaluate.report import headline, write_evaluation
from bchisto.evaluate.report.answer import side_by_side, warnings
from bchisto.evaluate.report.methods import methods_text
from bchisto.evaluate.report.page import headings
from sklearn.metrics import brier_score_loss
from written_tables import panels_of, predictions, report_of, report_text, right_at, saved, visible

THREE = [right_at(0.6, seed=k, name=name) for k, name in enumerate("abc")]


def terminal(panel):
    return " ".join(" ".join(headline(panel.table.name, panel.metrics)).split())


def ends(figure):
    low, high = figure.interval
    return f"{100 * figure.value:.1f} % ({100 * low:.1f} to {100 * high:.1f} %)"


def test_what_is_drawn_can_be_compared():
    """All as measured; the corrected figure of what was chosen is a second mark, also in a report of its own."""
    panels = panels_of(*THREE)
    lowered = [panel for panel in panels if conclude(panel.metrics).lowered]
    (best,) = lowered
    for shown, names in ((panels, "abc"), ([best], ())):
        page, _ = report_of(shown)
        (alt,) = re.findall(
            r'<img src="data:image/svg[^"]*" alt="((?:Results|Balanced)[^"]*)"', page
        )
        for panel in shown:
            title = panel.table.name if names else "balanced accuracy"
            assert f"{title} {ends(panel.metrics['balanced_accuracy'])}, chance 50.0 %" in alt
        corrected = (
            f"corrected for the choice (BBC-CV) {ends(best.metrics['balanced_accuracy_chosen'])}"
        )
        assert alt.count(corrected) == 1
        assert "; the diamond: corrected for the choice (BBC-CV)</figcaption>" in page
    page, _ = report_of(panels_of(right_at(0.6), chosen=False))
    assert "diamond" not in page


def test_units_that_differ_are_marked():
    """Of one table patients are known, of the other not."""
    known, unknown = right_at(0.8, name="known"), right_at(0.8, name="unknown", known=False)
    page, text = report_of(panels_of(known, unknown))
    assert re.search(r"CI by accuracy, %.* known \d+\sof\s24 patient \d", text)
    assert re.search(r"unknown \d+\sof\s24 image \d", text)
    assert "known (CI by patient) " in page
    assert "unknown (CI by image) " in page
    page, text = report_of(panels_of(known, replace(known, name="again")))
    assert "CI by " not in page + text


def test_which_pairs_an_auc_is_of():
    """Of several folds within them; and two classes have one AUC unless probabilities are rounded."""
    page, text = report_of(panels_of(right_at(0.8), right_at(0.7, name="b")))
    assert page.count('<th scope="col">AUC within folds</th>') == 3
    assert "AUC of two classes differs" not in text
    (crossed,) = panels_of(right_at(0.8))
    assert f"AUC within folds {crossed.metrics['two_class']['auc'].value:.3f}" in terminal(crossed)
    (single,) = panels_of(right_at(0.8, folds=0))
    page, text = report_of([single])
    assert "within folds" not in page + terminal(single)
    # the scores of benign differ where those of malignant are all 1
    shares = np.array(
        [[k * 1e-20, 1.0] for k in range(1, 9)] + [[0.5 + k / 100, 0.5 - k / 100] for k in range(8)]
    )
    rounded = predictions(shares, [1, 0, 1, 1, 1, 1, 1, 1, *[0] * 8])
    (panel,) = panels_of(rounded)
    aucs = [figures["auc"].value for figures in panel.metrics["per_class"].values()]
    assert aucs[0] != aucs[1]
    _, text = report_of([panel])
    assert "The AUC of two classes differs if probabilities are rounded" in text


@pytest.mark.parametrize("patients", [8, 10])
def test_a_verdict_on_few_patients_says_so_and_plans_no_study(patients):
    """Four or five patients of each class: of fewer than five the variance tells too little."""
    (panel,) = panels_of(right_at(0.93, patients=patients, per=12, seed=3))
    conclusion = conclude(panel.metrics)
    assert conclusion.verdict.kind == "better"
    few = "This rests on only 4 patients of the class benign, 4 patients of the class malignant."
    assert (few in terminal(panel)) == (patients == 8)
    needed = panel.metrics["units"]["needed"]["accuracy"]
    assert needed > patients
    assert ("10 points wide" in terminal(panel)) == (patients == 10)
    assert conclusion.scarce == ({"benign": 4, "malignant": 4} if patients == 8 else {})
    rival = right_at(0.6, patients=patients, per=12, seed=9, name="rival")
    text = report_text(panel.table, rival)
    few = "What is shown against chance rests on only 4 patients of the class benign"
    assert (few in text) == (patients == 8)


def methods_of(*tables, pairs=()):
    made = [measure(each) for each in tables]
    return methods_text(made, runs=[{}] * len(made), pairs=pairs)


def test_the_methods_keep_estimands_apart_and_repeat_nothing():
    known, unknown = right_at(0.8, name="known"), right_at(0.8, name="unknown", known=False)
    one = methods_of(known)
    assert (
        one.count("Intervals are about the trained models on new patients of the same kind;") == 1
    )
    both = methods_of(known, unknown)
    assert (
        "Intervals over patients are about the trained models on new patients, those over images are about the "
        "trained models on new images of the same kind; models and folds are taken as they are."
        in both
    )
    # a table whose rows are all right has no slope
    right = right_at(1.0, name="right")
    assert [bool(measure(each)["calibration"].get("slope")) for each in (known, right)] == [
        True,
        False,
    ]
    text = methods_of(known, right)
    assert text.count("Calibration was judged by") == 1
    assert "; not every result has a slope." in text
    assert "not every result" not in one


def form_of(text):
    """Return the items of the reporting form by their topic."""
    form = text.partition("Items of TRIPOD+AI")[2]
    return re.search(r"15 Model output (.*?) 16 Training and evaluation (.*?)_____", form).groups()


def test_the_form_claims_of_each_table_what_holds_of_it():
    whole = right_at(0.8, name="whole")
    no_scores = replace(whole, name="called", probabilities=None)
    divided = replace(whole, name="divided", folds=tuple(k % 3 + 1 for k in range(24)))
    unknown = right_at(0.8, name="unknown", known=False)
    held_out = right_at(0.8, name="held", folds=0)
    for table, of_output, of_training in (
        (
            whole,
            "The table has a probability for each class; operating points",
            "Each patient or slide is tested whole: the protocol",
        ),
        (no_scores, "The table has only the predicted class.", ""),
        (divided, "", "Patients or slides are in both training and test sets: "),
        (held_out, "", "One test set of known patients or slides: "),
    ):
        output, way = form_of(report_text(table))
        assert output.startswith(of_output)
        assert way.startswith(of_training)
    output, way = form_of(report_of(panels_of(whole, no_scores, divided, unknown, chosen=False))[1])
    assert "; the table has only the predicted class (called)" in output
    assert "The table has a probability for each class (whole, divided, unknown)" in output.replace(
        "(whole, unknown, divided)", "(whole, divided, unknown)"
    )
    for part in (
        "each patient or slide is tested whole (whole, called)",
        "patients or slides are in both training and test sets (divided)",
        "no patient is known (unknown)",
    ):
        assert part in way.replace("(called, whole)", "(whole, called)").lower()
    assert way[0].isupper()


@pytest.mark.parametrize(
    ("doubts", "names"),
    [
        (
            {"stains": 14, "pairs": 1, "mpp": [0.049, 0.49]},
            [
                "14 images of doubtful stains",
                "1 pair of images that seem to show the same pixels",
                "10-fold range of magnification",
            ],
        ),
        (
            {"stains": 0, "pairs": 0, "mpp": [0.1, 0.2]},
            ["2-fold range of magnification"],
        ),
        ({"stains": 0, "pairs": 0, "mpp": []}, []),
    ],
)
def test_what_feature_extraction_doubted(doubts, names):
    run = {"flow": {"found": 80, "used": 80}, "doubts": doubts}
    panels = panels_of(right_at(0.9, patients=40), run=run)
    assert headings(warnings(panels)) == names


def test_a_corrected_figure_is_explained_and_another_is_not():
    panels = panels_of(*THREE)
    chosen = next(panel for panel in panels if conclude(panel.metrics).chosen)
    _, text = report_of(panels)
    for part in (
        "The figures of the highest of 3 results are corrected for the choice by BBC-CV (Tsamardinos I, ",
        f"in each of {BOOTSTRAPS:,} bootstraps, patients are drawn with replacement, the result with the highest "
        "balanced accuracy among those drawn is chosen",
        "no figure is raised. Its interval is that of the measured figure, moved by as much, and reaches what was "
        "measured.",
    ):
        assert text.count(part) == 1
    assert chosen.metrics["choice"]["by"] == "balanced_accuracy"
    for name in ("accuracy", "balanced_accuracy"):
        figure, corrected = chosen.metrics[name], chosen.metrics[f"{name}_chosen"]
        assert corrected.value <= figure.value
        moved = figure.value - corrected.value
        assert corrected.low == pytest.approx(max(0, figure.low - moved))
    _, text = report_of(panels[:1] if chosen is not panels[0] else panels[1:2])
    assert "BBC-CV (" not in text


def test_whom_intervals_are_about():
    whole = right_at(0.8)
    divided = replace(whole, name="d", folds=tuple(k % 3 + 1 for k in range(24)))
    about = (
        "With 12 patients in both training and test sets, intervals are about patients of whom other images trained "
        "the models, not about new patients."
    )
    assert divided.divided == 12
    text = methods_of(divided)
    assert f"{about} Models and folds are taken as they are." in text
    assert "the trained models on new patients" not in text
    assert "both training and test sets" not in methods_of(whole)
    text = methods_of(whole, divided)
    assert "Of some results w" + about[1:] in text
    assert "Other intervals are about the trained models on new patients of the same kind;" in text
    trained = replace(whole, not_new=frozenset(whole.image_ids[:5]))
    assert (
        "With 5 images that trained the models, intervals are about images of training, not about new images."
        in methods_of(trained)
    )
    by_name = replace(whole, groups_of_training=frozenset(["p0", "p1"]))
    assert (
        "With 2 patients that trained the models, judging by names, intervals are about patients of training, "
        in methods_of(by_name)
    )


def test_only_the_intervals_that_were_made_are_described():
    bare = replace(right_at(0.8, known=False, folds=0), probabilities=None, group_is="patient")
    text = methods_of(bare)
    for absent in ("Wilson", "pan2002", "agresti", "DeLong", "Differences", "folds", "McNemar"):
        assert absent not in text.replace("Rows that name no fold count", "")
    assert "Clopper and Pearson [@clopper1934]" in text
    assert "models are taken as they are" in text
    assert "Rows that name no fold count as one test set." in text
    grouped = methods_of(right_at(0.8))
    for present in (
        "Wilson's interval",
        "CR3",
        "the design effect [@kish1965] is moderated [@smyth2004]",
    ):
        assert present in grouped
    for absent in ("half better", "Rows that name no fold", "Clopper"):
        assert absent not in grouped
    pairs = compare_pairs(THREE[:2])
    two = methods_of(*THREE[:2], pairs=pairs)
    assert "half better" in two
    assert "Holm" not in two
    assert "Holm's correction over all comparisons" in methods_of(
        *THREE, pairs=compare_pairs(THREE)
    )
    _, page = report_of(panels_of(*THREE[:2]), pairs=pairs)
    assert re.search(
        r"influences of units, t; variance times 1.5 for folds [^–]*difference of balanced accuracy",
        page,
    )
    assert "difference of" not in report_text(THREE[0])


def test_the_score_and_brier_score_of_two_classes():
    two = right_at(0.8)
    text = methods_of(two)
    assert "Its score is the probability of that class." in text
    assert "the sum of their" not in text
    assert "of two classes it is twice the score of one class" in text
    value = measure(two)["calibration"]["brier"].value
    assert value == pytest.approx(2 * brier_score_loss(two.labels, two.probabilities[:, 1]))
    assert "is twice that of scikit-learn" in measure.__doc__
    text = report_text(two)
    assert f"Brier score {value:.3f}" in text


def test_patients_are_not_patients_of_patients():
    images = right_at(0.8, per=1)
    by_patient = replace(images, image_ids=images.groups)
    assert "By patient, accuracy" not in methods_of(by_patient)
    assert "fraction of their images that is right" in methods_of(images)


def partly(**changes):
    """The last 10 of 24 images name no patient."""
    whole = right_at(0.8, **changes)
    return replace(whole, groups=(*whole.groups[:14], *[None] * 10))


def test_images_of_no_patient_are_not_counted_to_patients():
    panels = panels_of(partly())
    _, text = report_of(panels)
    assert "24 images: 14 of 7 patients, 10 of unknown patients" in text
    assert "24 images of 7 patients" not in text
    assert "on average over 7 patients, each counting the same (of 14 images)" in text + terminal(
        panels[0]
    )
    assert "images of no known patient are left out" in text
    # a table that knows no patients is not headed by those of another
    unknown = right_at(0.8, name="unknown", known=False)
    ranked = rankings(panels_of(partly(name="some"), unknown))
    rows = [cell for row in side_by_side(ranked) for cell in row]
    assert "folds of a test, 24 images" in rows
    assert "patient or image" in rows
    rows = [cell for row in side_by_side(rankings(panels)) for cell in row]
    assert "folds of a test, 24 images: 14 of 7 patients, 10 of unknown patients" in rows


def test_the_form_claims_little():
    _, text = report_of(panels_of(partly(), right_at(0.7, name="b", seed=2), chosen=False))
    form = text.partition("Items of TRIPOD+AI")[2]
    for units in ("7 patients and 10 images of no known patient", "12 patients"):
        assert f"24 images; units: {units}" in form.partition("10 Sample size")[2][:150]
    assert "In the first lines" not in form
    for item in ("12a Use", "12d Het", "12g Pred", "18a Fund", "18f Shar", "20a Flow", "20c Eval"):
        assert f" {item}" in form
    assert (
        " 13 Class imbalance Methods against it, and recalibration after them, or none: __" in form
    )


def run_with(*sentences, **facts):
    """Return what a run records that trained models, with these sentences of its methods."""
    return {"methods": [("Network", text) for text in ("It was trained.", *sentences)], **facts}


def test_the_form_tells_how_classes_were_balanced():
    weighted = "Class imbalance was handled by class weights."
    plain = "No weights or sampling by class, unless section Settings has a parameter for it"
    panels = {
        name: panels_of(right_at(0.8, name=name), run=run)[0]
        for name, run in {"a": run_with(weighted), "b": run_with(), "c": {}}.items()
    }
    for names, said in {
        "a": f"{weighted} Recalibration",
        "b": f"{plain}. Recalibration",
        "c": "Methods against it",
        "ab": f"Class imbalance was handled by class weights (a); {plain[0].lower()}{plain[1:]} (b).",
    }.items():
        _, text = report_of([panels[name] for name in names])
        assert f" 13 Class imbalance {said}" in text, names


def test_the_form_has_the_topics_of_claim_that_a_run_fills():
    (plain,) = panels_of(right_at(0.8))
    (trained,) = panels_of(right_at(0.8), run=run_with(flow={"found": 24, "used": 24}))
    forms = [
        report_of([panel])[1].partition("Topics of CLAIM 2024")[2] for panel in (plain, trained)
    ]
    for form in forms:
        assert "are disjoint Each patient or slide is tested whole: the protocol" in form
        assert "Testing on external data" not in form
        assert "Errors Confusion matrix" in form
    for topic in ("Model, training, software", "Missing data; flow of images"):
        assert [topic in form for form in forms] == [False, True]


def test_methods_name_a_search_for_near_duplicates():
    metrics = measure(right_at(0.8))
    said = "Near-duplicates were searched for among all images"
    for run, text in (
        ({"duplicates_sought": True}, f"Images. {said}.\n"),
        ({"duplicates_sought": True, "doubts": {"pairs": 1}}, f"{said}; 1 pair found."),
        ({"duplicates_sought": True, "doubts": {"pairs": 0}}, f"{said}; 0 pairs found."),
    ):
        assert text in methods_text([metrics], runs=[run], pairs=[])
    for run in ({}, {"duplicates_sought": False, "doubts": {"pairs": 0}}):
        assert said not in methods_text([metrics], runs=[run], pairs=[])


def test_comparisons_say_what_p_is_of_and_are_counted():
    for some in (THREE, THREE[:2]):
        _, text = report_of(panels_of(*some), pairs=compare_pairs(some))
        assert "p of accuracy" in text
        assert ("p of accuracy, corrected by Holm" in text) == (len(some) == 3)
        assert ("overlap; corrected for 3 comparisons" in text) == (len(some) == 3)
        for absent in ("corrected for 1", "units needed", "least possible"):
            assert absent not in text


def test_predictive_values_hold_at_a_prevalence():
    text = report_text(right_at(0.8))
    assert "PPV and NPV hold at the prevalence of these images, 50.0 %" in text


def test_each_patient_has_a_row_and_no_name():
    base = right_at(1.0)
    wrong = np.where(np.arange(24) < 5, 1 - base.labels, base.labels)
    some = replace(base, predicted=wrong, groups=("p0",) * 6 + base.groups[6:])
    text = report_text(some)
    caption = "numbered here in the order of their names, which the table of predictions has"
    part = text.partition(f"Right by patient, the largest first; {caption}")[2]
    assert re.search(r"share right no. 1 6 1 16.7 % no. \d+ 2 2 100.0 %", part)
    assert "10 patients" in text.partition("Right by patient")[2]
    assert "Right by patient" not in report_text(right_at(1.0, known=False))
    many = right_at(1.0, patients=40)
    page, text = report_of(panels_of(many))
    assert "the table of predictions has; not shown: 10 others" in text
    assert "<details><summary>Right by patient: 40 patients" in page


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("score_oak,birch,prob red maple", "score_oak, birch, prob red maple; if these are"),
        ("p_oak,p_birch,p_red maple", None),
        ("area,site,soak", None),
    ],
)
def test_probabilities_that_are_not_read_are_named(columns, said, tmp_path):
    rows = [f"i{k},{name},{name},1,0,0" for k, name in enumerate(["oak"] * 9)]
    rows += [f"j{k},{name},{name},0,1,0" for k, name in enumerate(["birch"] * 9)]
    rows += [f"k{k},red maple,red maple,0,0,1" for k in range(9)]
    source = tmp_path / "t.csv"
    source.write_text("\n".join([f"image_id,label,predicted,{columns}", *rows]) + "\n")
    evaluation = evaluate([source], out=tmp_path / "e")
    write_evaluation(evaluation)
    foot = page_of(tmp_path / "e").partition("<footer")[2].partition("</footer>")[0]
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    assert (
        f"Made on {datetime.now(UTC):%Y-%m-%d} by bchisto {__version__} from t.csv (SHA-256 {digest})."
        in foot
    )
    notes = " ".join(evaluation.notes)
    page = page_of(tmp_path / "e")
    if said is None:
        assert "not read" not in notes + page
    else:
        assert said in notes
        assert said in page
        assert "call them p_ and the class, such as p_" in notes
    assert (
        evaluation.panels[0].metrics["protocol"] == "no column fold, so rows count as one test set"
    )


def page_of(folder):
    return (folder / "report.html").read_text() + (folder / "tripod.html").read_text()


def test_the_same_images_are_no_external_validation(tmp_path):
    for ids, validated in (("i", False), ("o", True)):
        for name, letter in (("a", "i"), ("b", ids)):
            rows = [
                f"{letter}{k},{'bm'[k % 2]},{'bm'[(k % 2 + k % 5 // 4) % 2]}" for k in range(40)
            ]
            (tmp_path / f"{name}.csv").write_text("\n".join(["image_id,label,predicted", *rows]))
        out = tmp_path / f"e{ids}"
        write_evaluation(evaluate([tmp_path / "a.csv"], out=out, against=[tmp_path / "b.csv"]))
        page = page_of(out)
        assert ("external validation" in page.lower()) == validated
        for item in (
            "Numbers of images and figures, internal and external: first lines and section Against other tables.",
            "The models as they are trained, on other images: first lines and section Against other tables.",
        ):
            assert (item in page) == validated
        assert "Against other tables" in page


def test_the_methods_say_what_is_called_better_than_chance():
    rule = (
        "Calls are called better than chance if the interval of balanced accuracy, or without one that of accuracy by "
        "patient, lies above what chance reaches."
    )
    every = [right_at(right, patients=40, seed=1) for right in (0.9, 0.5)]
    for each, kind in zip(every, ("better", "not shown"), strict=True):
        assert rule in methods_of(each)
        verdict = conclude(measure(each)).verdict
        assert (verdict.kind, verdict.by) == (kind, "balanced_accuracy")
        assert (verdict.figure.low > verdict.chance) == (kind == "better")


KEYS = {
    "accuracy of the surest tenth": "surest_right",
    "accuracy by patient": "patient_recognition_rate",
    "accuracy by patient chosen": "patient_recognition_rate_chosen",
    "by_unit": "patient_recognition_rate",
    "Brier score": "brier",
    "mean over patients": "patient_recognition_rate",
}


def test_whatever_has_an_interval_has_its_method_in_the_table(tmp_path):
    """A walk over all figures, differences and drops; and the table names no other."""
    for name, seed in (("a", 0), ("b", 1), ("inside", 2)):
        table = right_at(0.8, patients=40, seed=seed)
        saved(replace(table, name=name), tmp_path / f"{name}.csv")
        lines = (tmp_path / f"{name}.csv").read_text().splitlines()
        sites = ["site", *("AB"[k // 2 % 2] for k in range(80))]
        rows = (",".join(pair) for pair in zip(lines, sites, strict=True))
        (tmp_path / f"{name}.csv").write_text("\n".join(rows))
    evaluation = evaluate(
        [tmp_path / "a.csv", tmp_path / "b.csv"],
        out=tmp_path / "e",
        view=TwoClassView("malignant", sensitivities=0.8, prevalences=0.1),
        against=[tmp_path / "inside.csv"],
        tables=TableChoice(by="site"),
    )
    write_evaluation(evaluation)
    page = html.unescape(page_of(tmp_path / "e"))
    assert "The table below names the method of each." in page
    part = page.partition("<caption>How each 95 % CI was computed</caption>")[2]
    listed = set()
    for row in part.partition("</table>")[0].split("<tr>")[2:]:
        method, names, _ = re.findall(r">([^<>]+)</t[hd]>", row)
        listed |= {(method, name) for name in names.split(", ")}
    figures = [
        (name.rpartition(" ")[2], figure)
        for panel in evaluation.panels
        for name, figure in panel.figures.items()
    ]
    result = with_figures(evaluation.result)
    for pair in result["comparisons"]:
        figures += pair["differences"].items()
    for validation in result["external"]:
        figures += [(name, each["drop"]) for name, each in validation["figures"].items()]
    hidden = {spec.name for spec in list_metrics() if not spec.shown}
    keys = set()
    for method, name in listed:
        *_, words = re.split("(?:: |drop of |difference of )", name)
        words = words.replace("calibration ", "").replace(" of the positive score", "")
        words = words.replace("AUC", "auc").replace("PPV", "ppv").replace("NPV", "npv")
        words = words.replace(" (corrected for the choice)", " chosen")
        keys.add((method, KEYS.get(words, words.lower()).replace(" ", "_")))
    assert keys == {
        (figure.method, KEYS.get(name, name))
        for name, figure in figures
        if figure.interval and name not in hidden
    }
    for name in (
        "operating points: specificity",
        "another prevalence: PPV",
        "calibration slope of the positive score",
        "subgroups: accuracy",
        "subgroups: difference",
        "two classes: AUC",
        "external drop of mean over patients",
        "difference of accuracy",
    ):
        assert name in {each for _, each in listed}


def test_methods_are_paragraphs_that_begin_with_a_word():
    """Each once, in order, and nothing between them is lost; without a content none."""
    tables = [right_at(right, patients=40, name=name) for name, right in (("a", 0.8), ("b", 0.6))]
    run = {
        "methods": [
            ("Images", "Stains were normalised."),
            ("Features", "Features are outputs."),
            ("Classifiers", "Classifiers were trees."),
            ("Classifiers", "The prediction of an image averages 2 seeds."),
        ]
    }
    panels = [replace(panel, run=run) for panel in panels_of(*tables)]
    page, text = report_of(panels, pairs=compare_pairs(tables))
    part = page.partition("<h2>Methods</h2>")[2].partition("<ol")[0]
    leads = re.findall(r"<p><strong>([\w ]+)\.</strong> ", part)
    assert leads == [
        *("Images", "Features", "Classifiers", "Protocol", "Figures", "Intervals"),
        *("Comparisons", "Calibration", "Operating points", "Software"),
    ]
    assert "Images. Stains were normalised. Features. Features are" in text
    assert "Classifiers were trees. The prediction of an image averages 2 seeds." in text
    bare = methods_text(
        [], runs=[{"methods": [("Network", "The network x was trained.")]}], pairs=[]
    )
    assert bare.startswith("Network. The network x was trained.\n")
    assert "Images." not in bare


def test_operating_points_are_the_defaults_or_were_given():
    table = right_at(0.8)
    for thresholds, words in (
        ((), ["The operating point at a score of 0.5 is the default of bchisto."]),
        ((0.2,), ["The operating point at a score of 0.2 was given."]),
        (
            (0.2, 0.33, 0.5),
            [
                "The operating point at a score of 0.5 is the default of bchisto.",
                "Operating points at scores of 0.2 and 0.33 were given.",
            ],
        ),
    ):
        metrics = measure(table, TwoClassView("malignant", thresholds=thresholds))
        text = methods_text([metrics], runs=[{}], pairs=[])
        assert [each for each in words if each in text] == words
        assert text.count("operating point at") + text.count("Operating points at") == len(words)
    scores = np.tile(np.eye(4) * 0.6 + 0.1, (6, 1))
    bach = predictions(scores, [0, 1, 2, 3] * 6, ("Normal", "Benign", "InSitu", "Invasive"))
    text = methods_text([measure(bach)], runs=[{}], pairs=[])
    assert "Operating points at scores of 0.33 and 0.5 are the defaults of bchisto." in text


def test_rows_without_a_label_are_counted(tmp_path):
    lines = saved(right_at(0.8), tmp_path / "t.csv").read_text().splitlines()
    cells = lines[1].split(",")
    place = lines[0].split(",").index("label")
    lines[1] = ",".join([*cells[:place], "", *cells[place + 1 :]])
    (tmp_path / "u.csv").write_text("\n".join(lines))
    for name, counted in (("t", False), ("u", True)):
        write_evaluation(evaluate([tmp_path / f"{name}.csv"], out=tmp_path / name))
        text = visible(page_of(tmp_path / name))
        flow = "left out, since they have no label evaluated u 1 23"
        assert (flow in text) == counted
        form = text.partition("11 Missing data ")[2].partition(" 12a ")[0].strip()
        expected = "Missing data: ________"
        if counted:
            expected = "Of u, 1 row without label left out: section Images."
        assert form == expected


def test_what_is_not_read_first_is_folded_but_printed():
    """Calibration of the first of several is seen at once, of the others by a click; on paper all is."""
    panels = panels_of(*THREE)
    paper = PaperTable([1, 2], [{"name": "x", "per_fold": [0.5, 0.6], "averaged": None}])
    page, _ = report_of([replace(panel, paper=paper) for panel in panels])
    for heading in ("Calibration and operating points", "Accuracy per fold"):
        assert page.count(f"<details><summary>{heading}</summary>") == 2
    assert page.count("<h3>Calibration and operating points</h3>") == 1
    assert page.count("<details") == page.count("</details>")
    printed = page.partition("@media print")[2]
    assert "details::details-content { content-visibility: visible; display: block; }" in printed
    page, _ = report_of(panels[:1])
    assert "<summary>Calibration" not in page


def test_the_intercept_is_said_to_be_of_a_slope_of_one():
    (panel,) = panels_of(right_at(0.7, patients=60, seed=2), chosen=False)
    assert panel.metrics["calibration"]["slope"]
    _, text = report_of([panel])
    for part in (
        "logistic recalibration of the confidence in the predicted class, the intercept with the slope held at 1",
        "of the confidence in the predicted class: 1 and 0 are perfect",
        "and intercept (with the slope held at 1) ",
        "Calibration slope of the score",
        ", intercept (with the slope held at 1) ",
    ):
        assert part in text
