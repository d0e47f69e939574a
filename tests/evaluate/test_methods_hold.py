"""The methods, the reporting form and the tables of a report say what was done with these tables, and nothing else."""

import re
from dataclasses import replace

import numpy as np
import pytest
from bchisto.evaluate import compare_pairs, conclude, evaluate, measure
from bchisto.evaluate.conclusions import BOOTSTRAPS
from bchisto.evaluate.report import write_evaluation
from bchisto.evaluate.report.answer import side_by_side
from bchisto.evaluate.report.methods import methods_text
from bchisto.evaluate.report.page import page_templates
from sklearn.metrics import brier_score_loss
from test_only_what_holds import form_of, panels_of, table, terminal, written


def methods(*tables, pairs=()):
    made = [measure(each) for each in tables]
    return methods_text(made, runs=[{}] * len(made), pairs=pairs)


def rows_of_form(text):
    """Return what the reporting form says of each item."""
    form = text.partition("Items of TRIPOD+AI")[2]
    return {
        number: rest for number, rest in re.findall(r"(?<= )(\d\d[a-g]?) ([A-Z].*?)(?= \d\d)", form)
    }


def test_a_corrected_figure_is_explained_and_another_is_not(tmp_path):
    panels = panels_of(*(table(0.6, seed=k, name=name) for k, name in enumerate("abc")))
    chosen = next(panel for panel in panels if conclude(panel.metrics).chosen)
    page, text = written(tmp_path, panels)
    for part in (
        "The figures of the best of 3 results are corrected for the choice by BBC-CV (Tsamardinos I, ",
        f"in each of {BOOTSTRAPS:,} bootstraps, patients are drawn with replacement, the result with the highest "
        "balanced accuracy among those drawn is chosen",
        "no figure is raised. Its interval is that of the measured figure, moved by as much.",
    ):
        assert text.count(part) == 1
    assert chosen.metrics["choice"]["by"] == "balanced_accuracy"
    for name in ("accuracy", "balanced_accuracy"):
        figure, corrected = chosen.metrics[name], chosen.metrics[f"{name}_chosen"]
        assert corrected.value <= figure.value
        moved = figure.value - corrected.value
        assert corrected.low == pytest.approx(max(0, figure.low - moved))
    assert page.count("<!-- choice -->") == page.count("<!-- end of choice -->") == 1
    page, text = written(tmp_path, panels[:1] if chosen is not panels[0] else panels[1:2])
    assert "BBC-CV (" not in text
    assert "<!-- choice -->" in page


def test_the_choice_is_written_anew_into_the_methods(tmp_path):
    from bchisto.evaluate.report.methods import choice_block
    from bchisto.evaluate.report.page import Section, page_text, renew_answer
    from bchisto.evaluate.report.sections import first_block, glance_section

    alone = panels_of(table(0.6), chosen=False)
    page, _ = written(tmp_path, alone)
    assert "BBC-CV" not in page
    panels = panels_of(*(table(0.6, seed=k, name=name) for k, name in enumerate("abc")))
    chosen = [panel for panel in panels if conclude(panel.metrics).chosen]
    changed = [glance_section(chosen, []), Section("", [choice_block(chosen)])]
    renew_answer(tmp_path / "r.html", page_text([first_block(chosen)], changed))
    assert (
        "are corrected for the choice by BBC-CV (Tsamardinos I, "
        in (tmp_path / "r.html").read_text()
    )


def test_whom_intervals_are_about():
    whole = table(0.8)
    divided = replace(whole, name="d", folds=tuple(k % 3 + 1 for k in range(24)))
    about = "With 12 patients in both training and test sets, intervals are about patients of whom other images trained the models, not about new patients."
    assert divided.divided == 12
    text = methods(divided)
    assert f"{about} Models and folds are taken as they are." in text
    assert "the trained models on new patients" not in text
    assert "both training and test sets" not in methods(whole)
    text = methods(whole, divided)
    assert "Of some results w" + about[1:] in text
    assert "Other intervals are about the trained models on new patients of the same kind;" in text
    trained = replace(whole, not_new=frozenset(whole.image_ids[:5]))
    assert (
        "With 5 images that trained the models, intervals are about images of training, not about new images."
        in methods(trained)
    )
    by_name = replace(whole, groups_of_training=frozenset(["p0", "p1"]))
    assert (
        "With 2 patients that trained the models, judging by names, intervals are about patients of training, "
        in methods(by_name)
    )


def test_only_the_intervals_that_were_made_are_described(tmp_path):
    bare = replace(table(0.8, known=False, folds=0), probabilities=None, group_is="patient")
    text = methods(bare)
    for absent in ("Wilson", "CR3", "Pan", "agresti", "DeLong", "Differences", "folds", "McNemar"):
        assert absent not in text.replace("Rows that name no fold count", "")
    assert "Clopper and Pearson [@clopper1934]" in text
    assert "models are taken as they are" in text
    assert "Rows that name no fold count as one test set." in text
    grouped = methods(table(0.8))
    for present in (
        "Wilson's interval",
        "CR3",
        "one right and one wrong row more in each [@agresti2000]",
    ):
        assert present in grouped
    for absent in ("half better", "Rows that name no fold", "Clopper"):
        assert absent not in grouped
    a, b, c = (table(0.7, seed=k, name=f"t{k}") for k in range(3))
    pairs = compare_pairs([a, b])
    two = methods(a, b, pairs=pairs)
    assert "half better" in two
    assert "Holm" not in two
    assert "Holm's correction over all comparisons" in methods(
        a, b, c, pairs=compare_pairs([a, b, c])
    )
    _, page = written(tmp_path, panels_of(a, b), pairs=pairs)
    assert re.search(
        r"influences of units, t; variance times 1.5 for folds [^–]*difference of balanced accuracy",
        page,
    )
    assert "difference of" not in written(tmp_path, panels_of(a))[1]


def test_the_score_and_brier_score_of_two_classes():
    two = table(0.8)
    text = methods(two)
    assert "Its score is the probability of that class." in text
    assert "the sum of their" not in text
    assert "of two classes it is twice the score of one class" in text
    value = measure(two)["calibration"]["brier"].value
    assert value == pytest.approx(2 * brier_score_loss(two.labels, two.probabilities[:, 1]))


def test_patients_are_not_patients_of_patients():
    images = table(0.8, per=1)
    by_patient = replace(images, image_ids=images.groups)
    assert "By patient, accuracy" not in methods(by_patient)
    assert "fraction of their images that is right" in methods(images)


def partly(**changes):
    """The last 10 of 24 images name no patient."""
    whole = table(0.8, **changes)
    return replace(whole, groups=(*whole.groups[:14], *[None] * 10))


def test_images_of_no_patient_are_not_counted_to_patients(tmp_path):
    panels = panels_of(partly())
    _, text = written(tmp_path, panels)
    assert "24 images: 14 of 7 patients, 10 of unknown patients" in text
    assert "24 images of 7 patients" not in text
    assert "on average over 7 patients, each counting the same (of 14 images)" in text + terminal(
        panels[0]
    )
    assert "images of no known patient are left out" in text
    # a table that knows no patients is not headed by those of another
    unknown = table(0.8, name="unknown", known=False)
    ranked = conclude_rankings(panels_of(partly(name="some"), unknown))
    rows = [cell for row in side_by_side(ranked) for cell in row]
    assert "folds of a test, 24 images" in rows
    assert "patient or image" in rows
    rows = [cell for row in side_by_side(conclude_rankings(panels)) for cell in row]
    assert "folds of a test, 24 images: 14 of 7 patients, 10 of unknown patients" in rows


def conclude_rankings(panels):
    from bchisto.evaluate import rankings

    return rankings(panels)


def test_the_form_claims_little(tmp_path):
    _, text = written(tmp_path, panels_of(partly(), table(0.7, name="b", seed=2), chosen=False))
    form = rows_of_form(text)
    assert (
        "24 images; units: 7 patients and 10 images of no known patient; 24 images; units: 12 patients."
        in form["10"]
    )
    assert "In the first lines" not in text
    for item in ("12a", "12d", "12g", "18a", "18f", "20a", "20b", "20c", "23a", "23b"):
        assert item in form
    assert "Counts" not in form["13"]
    assert form_of(text)


def test_comparisons_say_what_p_is_of(tmp_path):
    tables = [table(0.7, seed=k, name=f"t{k}") for k in range(3)]
    for some in (tables, tables[:2]):
        _, text = written(tmp_path, panels_of(*some), pairs=compare_pairs(some))
        assert "p of accuracy" in text
        assert ("p of accuracy, corrected by Holm" in text) == (len(some) == 3)
        assert "units needed" not in text
        assert "least possible" not in text


def test_predictive_values_hold_at_a_prevalence(tmp_path):
    _, text = written(tmp_path, panels_of(table(0.8)))
    assert "PPV and NPV hold at the prevalence of these images, 50.0 %" in text


def test_each_patient_has_a_row_and_no_name(tmp_path):
    base = table(1.0)
    wrong = np.where(np.arange(24) < 5, 1 - base.labels, base.labels)
    some = replace(base, predicted=wrong, groups=("p0",) * 6 + base.groups[6:])
    _, text = written(tmp_path, panels_of(some))
    part = text.partition("Right by patient: the largest first")[2]
    assert re.search(r"share right 1 6 1 16.7 % \d+ 2 2 100.0 %", part)
    assert "10 patients" in text.partition("Right by patient: ")[2]
    assert "Right by patient" not in written(tmp_path, panels_of(table(1.0, known=False)))[1]
    many = table(1.0, patients=40)
    page, text = written(tmp_path, panels_of(many))
    assert "the table of predictions has 10 others" in text
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
    notes = " ".join(evaluation.result["notes"])
    page = (tmp_path / "e" / "report.html").read_text()
    if said is None:
        assert "not read" not in notes + page
    else:
        assert said in notes
        assert said in page
        assert "call them p_ and the class, such as p_" in notes
    assert (
        evaluation.panels[0].metrics["protocol"] == "no column fold, so rows count as one test set"
    )


def test_a_drop_is_told_in_plain_words():
    from bchisto.evaluate import Figure

    def told(value, low, high):
        say = page_templates("bchisto.evaluate.report", autoescape=False).get_template("say.txt")
        return str(say.module.fell(Figure(value, low, high, "x")))

    assert told(0.2, 0.1, 0.3) == "lower by 20.0 points (95 % CI 10.0 to 30.0)"
    assert told(-0.2, -0.3, -0.1) == "higher by 20.0 points (95 % CI 10.0 to 30.0)"
    assert told(0.1, -0.05, 0.25) == "lower by 10.0 points (95 % CI 5.0 higher to 25.0 lower)"


def test_the_same_images_are_no_external_validation(tmp_path):
    for ids, validated in (("i", False), ("o", True)):
        for name, letter in (("a", "i"), ("b", ids)):
            rows = [
                f"{letter}{k},{'bm'[k % 2]},{'bm'[(k % 2 + k % 5 // 4) % 2]}" for k in range(40)
            ]
            (tmp_path / f"{name}.csv").write_text("\n".join(["image_id,label,predicted", *rows]))
        out = tmp_path / f"e{ids}"
        write_evaluation(evaluate([tmp_path / "a.csv"], out=out, against=[tmp_path / "b.csv"]))
        page = (out / "report.html").read_text()
        assert ("external validation" in page.lower()) == validated
        assert "Against other tables" in page
