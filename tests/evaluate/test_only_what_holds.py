"""A report says only what holds of each of its tables: units, figures drawn, few patients, methods, its form."""

import html
import re
from dataclasses import replace

import numpy as np
import pytest
from bchisto.evaluate import TwoClassView, conclude, measure, with_choices
from bchisto.evaluate.panel import Panel
from bchisto.evaluate.report import headline, write_report
from bchisto.evaluate.report.methods import methods_text
from written_tables import predictions


def table(right, *, patients=12, per=2, folds=3, name="t", seed=0, known=True):
    """Two classes of as many patients each, right at a rate; folds keep patients whole."""
    rng = np.random.default_rng(seed)
    count = patients * per
    patient = np.arange(count) // per
    labels = patient % 2
    hits = rng.random(count) < right
    scores = np.where(hits == (labels == 1), 0.6, 0.3) + 0.1 * rng.random(count)
    return predictions(
        scores,
        labels,
        name=name,
        folds=[int(k) % folds + 1 for k in patient] if folds else [None] * count,
        groups=[f"p{k}" if known else None for k in patient],
        protocol="folds of a test",
    )


def panels_of(*tables, chosen=True):
    metrics = [measure(each, TwoClassView(positive=["malignant"])) for each in tables]
    if chosen:
        metrics = with_choices(tables, metrics)
    return [Panel(each, m) for each, m in zip(tables, metrics, strict=True)]


def written(tmp_path, panels, **more):
    path = tmp_path / "r.html"
    write_report(path, title="x", panels=panels, **more)
    text = re.sub(r"<[^>]+>|data:image[^\"]*", " ", path.read_text())
    return path.read_text(), html.unescape(re.sub(r"\s+", " ", text))


def terminal(panel):
    return " ".join(" ".join(headline(panel.table.name, panel.metrics)).split())


def ends(figure):
    low, high = figure.interval
    return f"{100 * figure.value:.1f} % ({100 * low:.1f} to {100 * high:.1f} %)"


def test_what_is_drawn_can_be_compared(tmp_path):
    """All as measured; the corrected figure of what was chosen is a second mark, also in a report of its own."""
    panels = panels_of(*(table(0.6, seed=k, name=name) for k, name in enumerate("abc")))
    lowered = [panel for panel in panels if conclude(panel.metrics).lowered]
    (best,) = lowered
    for shown, names in ((panels, "abc"), ([best], ())):
        page, _ = written(tmp_path, shown)
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
    page, _ = written(tmp_path, panels_of(table(0.6), chosen=False))
    assert "diamond" not in page


def test_units_that_differ_are_marked(tmp_path):
    """Of one table patients are known, of the other not."""
    known, unknown = table(0.8, name="known"), table(0.8, name="unknown", known=False)
    page, text = written(tmp_path, panels_of(known, unknown))
    assert re.search(r"CI by accuracy, %.* known \d+\sof\s24 patient \d", text)
    assert re.search(r"unknown \d+\sof\s24 image \d", text)
    assert "known (CI by patient) " in page
    assert "unknown (CI by image) " in page
    page, text = written(tmp_path, panels_of(known, replace(known, name="again")))
    assert "CI by " not in page + text


def test_which_pairs_an_auc_is_of(tmp_path):
    """Of several folds within them; and two classes have one AUC unless probabilities are rounded."""
    page, text = written(tmp_path, panels_of(table(0.8), table(0.7, name="b")))
    assert page.count('<th scope="col">AUC within folds</th>') == 3
    assert "AUC of two classes differs" not in text
    (crossed,) = panels_of(table(0.8))
    assert f"AUC within folds {crossed.metrics['two_class']['auc'].value:.3f}" in terminal(crossed)
    (single,) = panels_of(table(0.8, folds=0))
    page, text = written(tmp_path, [single])
    assert "within folds" not in page + terminal(single)
    # the scores of benign differ where those of malignant are all 1
    shares = np.array(
        [[k * 1e-20, 1.0] for k in range(1, 9)] + [[0.5 + k / 100, 0.5 - k / 100] for k in range(8)]
    )
    rounded = predictions(shares, [1, 0, 1, 1, 1, 1, 1, 1, *[0] * 8])
    (panel,) = panels_of(rounded)
    aucs = [figures["auc"].value for figures in panel.metrics["per_class"].values()]
    assert aucs[0] != aucs[1]
    _, text = written(tmp_path, [panel])
    assert "The AUC of two classes differs if probabilities are rounded" in text


@pytest.mark.parametrize("patients", [8, 10])
def test_a_verdict_on_few_patients_says_so_and_plans_no_study(patients, tmp_path):
    """Four or five patients of each class: of fewer than five the variance tells too little."""
    (panel,) = panels_of(table(0.93, patients=patients, per=12, seed=3))
    conclusion = conclude(panel.metrics)
    assert conclusion.verdict.kind == "better"
    few = "This rests on only 4 patients of the class benign, 4 patients of the class malignant."
    assert (few in terminal(panel)) == (patients == 8)
    needed = panel.metrics["units"]["needed"]["accuracy"]
    assert needed > patients
    assert ("10 points wide" in terminal(panel)) == (patients == 10)
    assert conclusion.scarce == ({"benign": 4, "malignant": 4} if patients == 8 else {})
    rival = table(0.6, patients=patients, per=12, seed=9, name="rival")
    _, text = written(tmp_path, panels_of(panel.table, rival))
    assert ("; this rests on only 4 patients of the class benign" in text) == (patients == 8)


def test_calls_not_shown_to_be_better_rest_on_nothing():
    (panel,) = panels_of(table(0.5, patients=6))
    assert conclude(panel.metrics).verdict.kind == "not shown"
    assert "rests on" not in terminal(panel)


def methods(*panels):
    return methods_text([panel.metrics for panel in panels], runs=[{}] * len(panels), pairs=[])


def test_the_methods_keep_estimands_apart_and_repeat_nothing():
    known, unknown = table(0.8, name="known"), table(0.8, name="unknown", known=False)
    one = methods(*panels_of(known))
    assert (
        one.count("Intervals are about the trained models on new patients of the same kind;") == 1
    )
    both = methods(*panels_of(known, unknown))
    assert (
        "Intervals over patients are about the trained models on new patients, those over images are about the "
        "trained models on new images of the same kind; models and folds are taken as they are."
        in both
    )
    # a table whose rows are all right has no slope
    right = table(1.0, name="right")
    mixed = panels_of(known, right)
    assert [bool(panel.metrics["calibration"].get("slope")) for panel in mixed] == [True, False]
    text = methods(*mixed)
    assert text.count("Calibration was judged by") == 1
    assert "; not every result has a slope." in text
    assert "not every result" not in one


def form_of(text):
    """Return the items of the reporting form by their topic."""
    form = text.partition("Items of TRIPOD+AI")[2]
    return re.search(r"15 Model output (.*?) 16 Training and evaluation (.*?)_____", form).groups()


def test_the_form_claims_of_each_table_what_holds_of_it(tmp_path):
    whole = table(0.8, name="whole")
    no_scores = replace(whole, name="called", probabilities=None)
    divided = replace(whole, name="divided", folds=tuple(k % 3 + 1 for k in range(24)))
    unknown = table(0.8, name="unknown", known=False)
    held_out = table(0.8, name="held", folds=0)
    output, way = form_of(written(tmp_path, panels_of(whole))[1])
    assert output.startswith("The table has a probability for each class; operating points")
    assert way.startswith("Each patient or slide is tested whole: the protocol")
    output, way = form_of(written(tmp_path, panels_of(no_scores))[1])
    assert output.startswith("The table has only the predicted class.")
    _, way = form_of(written(tmp_path, panels_of(divided))[1])
    assert way.startswith("Patients or slides are in both training and test sets: ")
    _, way = form_of(written(tmp_path, panels_of(held_out))[1])
    assert way.startswith("One test set of known patients or slides: ")
    output, way = form_of(
        written(tmp_path, panels_of(whole, no_scores, divided, unknown, chosen=False))[1]
    )
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
    ("doubts", "said"),
    [
        (
            {"stains": 14, "pairs": 1, "mpp": [0.049, 0.49]},
            "14 images of doubtful stains; 1 pair of images that",
        ),
        (
            {"stains": 0, "pairs": 0, "mpp": [0.1, 0.2]},
            "In doubt: 0.1 to 0.2 micrometres per pixel",
        ),
        ({"stains": 0, "pairs": 0, "mpp": []}, None),
        (None, None),
    ],
)
def test_what_feature_extraction_doubted(doubts, said, tmp_path):
    (panel,) = panels_of(table(0.8))
    run = {"flow": {"found": 24, "used": 24}, **({"doubts": doubts} if doubts else {})}
    _, text = written(tmp_path, [replace(panel, run=run)])
    if said is None:
        assert "In doubt" not in text
    else:
        assert said in text
        assert "bchisto data check with these images names them." in text
