"""Classes of anyone's own: any number, any names, with and without a positive side."""

from dataclasses import replace

import numpy as np
import pytest
from bchisto.evaluate import Panel, TwoClassView, evaluate, measure
from bchisto.evaluate.report import headline, write_evaluation, write_report
from outlines import drawn
from written_tables import predictions, rows_of, saved

NAMES = {
    2: ("grade1", "grade2"),
    3: ("Tissu sain", "Lésion $x_$", '<b>"50 %" & more</b>'),
    8: (
        "$\\frac{$",
        "b_c",
        "été 2",
        "[x]",
        "=1+1",
        "-1",
        "組織",
        "a very long name of a class, with a comma",
    ),
}


@pytest.fixture(autouse=True, scope="module")
def pictures():
    with drawn():
        yield


def own_table(classes, rng, folds=3):
    labels = np.arange(60) % len(classes)
    logits = rng.normal(0, 1, (60, len(classes))) + 1.5 * np.eye(len(classes))[labels]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return predictions(
        shares, labels, classes, folds=[1 + place // len(classes) % folds for place in range(60)]
    )


@pytest.mark.parametrize(("count", "known"), [(2, False), (3, True), (8, True)])
def test_a_report_of_any_classes(count, known, rng, tmp_path):
    classes = NAMES[count]
    table = saved(own_table(classes, rng), tmp_path / "t.csv")
    # names that a picture of a report holds: a sign of formulas, and letters that its font lacks
    positive = classes[::6] if known else ()
    result = write_evaluation(
        evaluate([table], out=tmp_path / "out", bootstrap=20, view=TwoClassView(positive))
    )
    assert ("two_class" in result["tables"]["t"]) == known
    text = (tmp_path / "out" / "report.html").read_text()
    assert "<b>" not in text
    assert text.count("data:image/svg+xml") == 2 + known
    rows = rows_of(tmp_path / "out" / "confusion.csv")
    named = list(dict.fromkeys(row["true"] for row in rows))
    assert [name.removeprefix("'") for name in named] == list(classes)
    assert [name for name in named if name.startswith("'")] == [
        f"'{name}" for name in classes if name[0] == "="
    ]


def test_a_class_tested_nowhere_and_one_fold(rng, tmp_path):
    """Classes without a row, one fold: no spread is shown where there is none."""
    table = own_table(("a", "b", "c"), rng, folds=1)
    kept = replace(table, labels=table.labels % 2)
    for view in (TwoClassView(), TwoClassView(("c",)), TwoClassView(("a", "b"))):
        metrics = measure(kept, TwoClassView(view.positive), bootstrap=20)
        write_report(
            tmp_path / "r.html", title="x", panels=[Panel(kept, metrics), Panel(kept, metrics)]
        )
        assert "± 0.0" not in (tmp_path / "r.html").read_text()
        lines = headline("t", metrics)
        assert "±" not in "".join(lines)
        assert "95 % CI" in lines[0]


def test_folds_that_hardly_trained_on_a_class_are_named(rng):
    table = replace(own_table(("a", "b"), rng), trained=((5, 4), (5, 5), (9, 0)))
    metrics = measure(table, bootstrap=0)
    assert metrics["trained_per_fold"] == [[5, 4], [5, 5], [9, 0]]
    lines = headline("t", metrics)
    assert [line for line in lines if line.startswith("  Fold")] == [
        "  Folds 1 and 3 trained on fewer than 5 images of b; their results mean little",
    ]
    alone = measure(replace(table, trained=((5, 4), (5, 5), (9, 9))), bootstrap=0)
    share = f"{100 * alone['accuracy_per_fold'][0]:.1f}"
    assert alone["fold_notes"] == [
        f"Fold 1 trained on 4 images of b, fewer than 5: its {share} % means little"
    ]
    both = measure(replace(table, trained=((4, 4), (5, 5), (4, 9))), bootstrap=0)
    assert both["fold_notes"] == [
        "Folds 1 and 3 trained on fewer than 5 images of a or b; their results mean little"
    ]


def test_a_fold_that_learnt_another_prevalence_is_named(rng):
    """Where one patient with most images of a class is tested, the others train; the table has 50 % of each class."""
    # 20 points are not over 20
    table = replace(own_table(("a", "b"), rng), trained=((20, 20), (28, 12), (29, 11)))
    (note,) = measure(table, bootstrap=0)["fold_notes"]
    assert note == (
        "Fold 3 trained on 72 % a, while 50 % of all images are: its scores do not compare with those of other folds"
    )
    assert note in " ".join(line.strip() for line in headline("t", measure(table, bootstrap=0)))
    many = replace(own_table(("a", "b"), rng, folds=4), trained=((30, 10),) * 4)
    assert measure(many, bootstrap=0)["fold_notes"] == [
        "4 folds trained on shares of classes far from those of all images"
    ]
    by_patient = replace(many, groups=many.image_ids)
    assert measure(by_patient, bootstrap=0)["fold_notes"] == []
