"""Of each image there is one answer: its class, how sure that is, and whether it is uncertain, in every output."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from archives import RULE, altered
from bchisto.boost import Bundle
from bchisto.core.formats import file_sha256
from bchisto.evaluate import TwoClassView, measure, read_predictions, two_sides
from bchisto.evaluate.calibration import fold_temperatures
from bchisto.predict import OperatingPoint, PredictSettings
from bchisto.predict.outputs import measured_at
from bchisto.predict.table import answers_of
from conftest import typed
from packs import model_file
from written_tables import flat, lines, predictions, read_json, rows_of, saved, write_lines, written

ALIKE = ("Zeta ü", "alpha")
"""Classes whose order is not that of the alphabet's letters, since a capital comes first."""

MIXED = "the folds mixed patients, or may have: of new patients expect fewer right than the confidence says"


def embeddings(path, count, *, seed=0):
    """Write embeddings that say nothing; return names and classes of their images."""
    path.parent.mkdir(exist_ok=True)
    names = [f"{path.parent.name} {number}.png" for number in range(count)]
    labels = [ALIKE[number % 2] for number in range(count)]
    rows = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    np.savez(path, features=rows, image_id=np.array(names))
    return list(zip(names, labels, strict=True))


def listed(path, rows, *, patients):
    """Write a table of labels, of two images a patient or without patients."""
    header = ["image_id", "label", *["patient"] * patients]
    cells = ([*row, *[f"P{number // 2}"] * patients] for number, row in enumerate(rows))
    return lines(path, header, cells)


@pytest.fixture(scope="module")
def indifferent(tmp_path_factory):
    """A folder with embeddings, their labels with and without patients, and embeddings of new images."""
    folder = tmp_path_factory.mktemp("indifferent")
    rows = embeddings(folder / "old" / "emb.npz", 12)
    for patients in (False, True):
        listed(folder / f"labels-{patients}.csv", rows, patients=patients)
    embeddings(folder / "new" / "emb.npz", 5, seed=1)
    return folder


@pytest.mark.parametrize("positive", ALIKE)
def test_a_tie_is_what_is_predicted_in_every_output(indifferent, tmp_path, completed, positive):
    """LightGBM learns nothing of twelve images, and gives both classes one half."""
    completed(
        *typed("boost --features {} --out T/run", indifferent / "old" / "emb.npz"),
        *typed("--labels {} --folds 3", indifferent / "labels-True.csv"),
        *typed("--positive {} --seeds 1", positive.upper()),
    )
    model, new = model_file(tmp_path), indifferent / "new" / "emb.npz"
    for more in ((), ("--calibrated",), ("--threshold", 0.5)):
        out = tmp_path / f"p{len(more)}.csv"
        said, _ = completed("predict {} --features {} --out {}", model, new, out, *more)
        rows = rows_of(out)
        assert {row[f"p_{name}"] for row in rows for name in ALIKE} == {"0.5"}
        assert {row["predicted"] for row in rows} == {ALIKE[0]}
        assert {row["called"] for row in rows} == {
            "positive" if positive == ALIKE[0] else "negative"
        }
        called = 5 * (positive == ALIKE[0])
        assert f"predicted positive: {called} of 5" in said
        assert list(rows[0])[6:9] == ["predicted", "confidence", "uncertain"]
        if more[1:]:
            continue  # the same table
        known = out.with_suffix(".known.csv")
        written(known, [{**row, "label": ALIKE[n % 2]} for n, row in enumerate(rows)])
        folder = out.with_suffix(".evaluation")
        completed("evaluate {} --out {} --positive {}", known, folder, positive)
        (table,) = read_json(folder / "metrics.json")["tables"].values()
        (point,) = table["two_class"]["thresholds"]
        assert sum(row[1] for row in point["confusion"]) == called


TIED = np.array([[0.5, 0.5], [0.67, 0.33], [0.4, 0.6], [0.5004, 0.5001], [0.4996, 0.5]])
FOUR = np.array(
    [[0.4, 0.1, 0.4, 0.1], [0.5, 0.0, 0.25, 0.25], [0.1, 0.4, 0.1, 0.4], [0.34, 0.33, 0.17, 0.16]]
)


@pytest.mark.parametrize("threshold", [0.33, 0.5, 0.6])
@pytest.mark.parametrize("rule", ["sum", "max"])
@pytest.mark.parametrize(
    ("classes", "positive", "shares"),
    [
        (ALIKE, ALIKE[0], TIED),
        (ALIKE, ALIKE[1], TIED),
        (("N", "B", "I", "V"), ("I", "V"), FOUR),
        (("N", "B", "I", "V"), ("N", "B"), FOUR),
    ],
)
def test_predict_calls_as_evaluate(classes, positive, shares, rule, threshold):
    """A threshold that is hit exactly, ties of classes and of sums of them, and probabilities that were rounded."""
    positive = (positive,) if isinstance(positive, str) else positive
    table = predictions(shares, [0] * len(shares), classes)
    called = two_sides(table, positive, rule).called(threshold)
    point = OperatingPoint(classes, positive, rule, threshold)
    np.testing.assert_array_equal(point.is_positive(shares, table.predicted), called)
    if threshold == 0.5 and (len(classes) == 2 or rule == "max"):
        by_class = [classes[number] in positive for number in table.predicted]
        assert called.tolist() == by_class


def test_a_tie_of_another_table_goes_to_the_class_that_it_names(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("image_id,label,predicted,p_a,p_b\nx,a,b,0.5,0.5\ny,b,a,0.4999,0.4999\n")
    (table,) = read_predictions(path)
    metrics = measure(table, TwoClassView("b"))
    assert metrics["confusion"] == metrics["two_class"]["thresholds"][0]["confusion"]
    assert metrics["two_class"]["accuracy"]["value"] == metrics["accuracy"]["value"] == 0.0


def test_a_tie_of_a_patient_is_what_the_images_are_predicted(tmp_path, completed):
    """One patient of a tied image, and one of two that are tied together; without the column, the first class."""
    lines = ["image_id,label,group,predicted,p_a,p_b"]
    lines += ["x,b,P1,b,0.5,0.5", "y,b,P2,b,0.5,0.5", "z,b,P2,b,0.5,0.5"]
    lines += ["v,a,P3,a,0.5,0.5"]
    write_lines(tmp_path / "t.csv", *lines)
    completed("evaluate T/t.csv --out T/e --level group")
    tables = read_json(tmp_path / "e" / "metrics.json")["tables"]
    assert [table["accuracy"]["value"] for table in tables.values()] == [1.0]


def test_a_positive_class_that_is_given_replaces_that_of_the_model():
    view = {"positive": ["b"], "rule": "sum", "thresholds": [0.5], "wanted": []}
    kept, other = (PredictSettings(positive=x).point_of(("a", "b"), view, None, "m") for x in "BA")
    assert f"{kept}; {other}" == "b at 0.5; a at 0.5, not measured for this positive class"
    metrics = {"two_class": {**view, "thresholds": [{"threshold": 0.5}]}}
    assert measured_at(metrics, kept)
    assert not measured_at(metrics, other)


def test_a_fitted_threshold_is_no_tie():
    """It promises that positive images reach it; that a class is named at 0.5 would break this."""
    table = predictions([0.5] * 40, [0, 1] * 20, folds=[k // 8 for k in range(40)])
    (wanted,) = measure(table, TwoClassView("malignant", sensitivities=0.9))["two_class"]["wanted"]
    assert wanted["threshold"] == 0.5
    assert wanted["sensitivity"]["value"] == 1.0
    point = OperatingPoint(table.classes, ("malignant",), "sum", 0.5, sensitivity=0.9)
    assert point.is_positive(table.probabilities, table.predicted).all()


def test_calibration_chooses_no_other_class(boosted_model):
    """Two probabilities that differ by rounding are equal after calibration."""
    facts = Bundle.load(boosted_model)
    close = np.array([[np.nextafter(0.5, 0), np.nextafter(0.5, 1)]])
    calibrated, answers = answers_of(replace(facts, temperature=20.0), close)
    assert calibrated.tolist() == [[0.5, 0.5]]
    assert answers.predicted == ["malignant"]
    assert answers.confidence.tolist() == [0.5]


def cells(page):
    """Name, class, confidence and mark of each image of a prediction report."""
    body = page.partition('<table id="images">')[2]
    return re.findall(
        r"<tr[^>]*><th scope=\"row\">.*?<span>(.*?)</span></th><td.*?>(.*?)</td>"
        r"<td[^>]*data-value=\"(.*?)\">.*?</td><td.*?>(.*?)</td>",
        body,
    )


@pytest.mark.parametrize("more", [(), ("--calibrated",)])
def test_the_table_says_what_the_report_shows(tissue, tmp_path, completed, more, boosted_model):
    model = altered(
        boosted_model,
        tmp_path / "model.bchisto",
        unsure=RULE,
        calibration={"temperature": 1.7},
    )
    words = typed("predict {} --images {} --out T/p.csv", model, tissue)
    said, _ = completed(*words, "--html", tmp_path / "p.html", "--jobs", 1, *more)
    rows = {row["image_id"]: row for row in rows_of(tmp_path / "p.csv")}
    page = (tmp_path / "p.html").read_text()
    shown = cells(page)
    assert len(shown) == len(rows) == 12
    for name, kind, confidence, mark in shown:
        assert rows[name]["predicted"] == kind
        assert rows[name]["confidence"] == confidence
        assert rows[name]["trained"] == "yes"
        reasons = {"uncertain; seen in training": "yes", "seen in training": "no"}
        assert rows[name]["uncertain"] == reasons[mark]
    uncertain = [row["uncertain"] for row in rows.values()].count("yes")
    assert 0 < uncertain < 12
    marked = f"uncertain: {uncertain} of 12 images, column uncertain"
    assert f"{marked}; {MIXED}" in flat(said)
    assert MIXED[1:] in page
    if more:
        return
    said, _ = completed(*words[:-1], tmp_path / "q.csv", "--jobs", 1)
    assert f"uncertain: {uncertain} of 12 images, column uncertain; {MIXED}" in " ".join(
        said.split()
    )
    (tmp_path / "options.yaml").write_text("format: iciar2018")
    said, _ = completed(*words[:-1], "T/r.csv", *typed("--jobs 1 --config T/options.yaml"))
    assert f"uncertain: {uncertain} of 12 images; {MIXED}" in flat(said)


def test_the_mark_follows_what_folds_did(indifferent, tmp_path, completed):
    """Patients that are whole, unknown, known of some images, and divided by folds of a file."""
    rows = rows_of(indifferent / "labels-True.csv")
    some = tmp_path / "some.csv"
    known = "".join(
        f"{row['image_id']},{row['label']},{row['patient'] if number > 1 else ''}\n"
        for number, row in enumerate(rows)
    )
    some.write_text("image_id,label,patient\n" + known)
    divided = tmp_path / "folds.csv"
    divided.write_text(
        "image_id,fold\n"
        + "".join(f"{row['image_id']},{1 + (n + n // 2) % 2}\n" for n, row in enumerate(rows)),
        encoding="utf-8",
    )
    whole = indifferent / "labels-True.csv"
    cases = (
        (whole, 3, False),
        (indifferent / "labels-False.csv", 3, True),
        (some, 3, True),
        (whole, divided, True),
    )
    for number, (labels, folds, is_mixed) in enumerate(cases):
        run = tmp_path / f"run{number}"
        completed(
            *typed("boost --features {} --labels {}", indifferent / "old" / "emb.npz", labels),
            *typed("--out {} --folds {} --head prototype", run, folds),
        )
        new = indifferent / "new" / "emb.npz"
        said, _ = completed(
            "predict {} --features {} --out {}", model_file(run), new, tmp_path / f"{number}.csv"
        )
        assert (MIXED in flat(said)) == is_mixed, labels


def test_a_cross_validation_is_marked_by_its_other_folds(tmp_path):
    """Each confidence and limit is computed again, from the rows of the other folds only."""
    from bchisto.crossval import write_table

    rng = np.random.default_rng(3)
    shares = rng.dirichlet([2, 1, 1], size=60)
    labels = [int(share.argmax()) if rng.random() < 0.6 else 2 for share in shares]
    folds = [1 + k % 4 for k in range(60)]
    table = predictions(shares, labels, ("x", "y", "z"), folds=folds)
    write_table(tmp_path / "p.csv", table)
    rows = rows_of(tmp_path / "p.csv")
    assert list(rows[0])[-3:] == ["predicted", "confidence", "uncertain"]
    _, scaled = fold_temperatures(table)
    sure = scaled.max(axis=1)
    for fold in (1, 2, 3, 4):
        others = np.sort(sure[np.array(folds) != fold])
        for row, confidence in zip(rows, sure, strict=True):
            if row["fold"] == str(fold):
                assert float(row["confidence"]) == confidence
                unsure = confidence < round(others[len(others) // 5], 3)
                assert row["uncertain"] == ("yes" if unsure else "no")
    assert {row["uncertain"] for row in rows} == {"yes", "no"}
    first = predictions(shares[:15], labels[:15], ("x", "y", "z"), folds=[1] * 15)
    write_table(tmp_path / "one.csv", first)
    for row, share in zip(rows_of(tmp_path / "one.csv"), shares, strict=False):
        assert (float(row["confidence"]), row["uncertain"]) == (share.max(), "")


def test_the_columns_are_no_classes_and_change_no_figure(tmp_path, completed):
    """A table with them is evaluated as one without them, and by them if somebody asks for it."""
    from bchisto.crossval import write_table

    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 60)
    scores = np.clip(labels * 0.4 + rng.random(60) * 0.6, 0.01, 0.99)
    table = predictions(scores, labels.tolist(), ALIKE, folds=[k % 3 for k in range(60)])
    (tmp_path / "a").mkdir()
    saved(table, tmp_path / "a" / "t.csv")
    write_table(tmp_path / "t.csv", table)
    found = []
    for number, path in enumerate((tmp_path / "a" / "t.csv", tmp_path / "t.csv")):
        completed("evaluate {} --out {} --bootstrap 0", path, tmp_path / f"e{number}")
        found.append(read_json(tmp_path / f"e{number}" / "metrics.json")["tables"])
    assert found[0] == found[1]
    (metrics,) = found[0].values()
    assert metrics["classes"] == list(ALIKE)
    words = typed("evaluate T/t.csv --by uncertain --out T/by")
    completed(*words, "--bootstrap", 0)
    (by,) = read_json(tmp_path / "by" / "metrics.json")["tables"].values()
    assert [entry["value"] for entry in by["subgroups"]["uncertain"]] == ["no", "yes"]


def test_a_table_with_paths_is_a_manifest_whose_classes_are_its_labels(
    boosted_model, tissue, tmp_path, completed
):
    """As the page writes it; the label is the person's, and not what is predicted or how surely."""
    completed("predict {} --images {} --jobs 1 --out T/p.csv", boosted_model, tissue)
    rows = rows_of(tmp_path / "p.csv")
    for number, row in enumerate(rows):
        row |= {"path": tissue / row["image_id"], "label": ALIKE[number % 2]}
    written(tmp_path / "m.csv", rows)
    said, _ = completed("data check --table - --images T/m.csv")
    listed_rows = list(csv.DictReader(said.splitlines()))
    assert {row["label"] for row in listed_rows} == set(ALIKE)
    assert [row["image_id"] for row in listed_rows] == [row["image_id"] for row in rows]


def test_a_table_of_an_older_version_gets_the_columns(
    boosted_model, tissue, tmp_path, cli, completed, refused
):
    """An update writes it anew, as long as nobody has changed it."""
    out = tmp_path / "p.csv"
    words = typed("predict {} --images {} --out {} --update --jobs 1", boosted_model, tissue, out)
    completed(*words)
    whole = out.read_bytes()
    rows = rows_of(out)
    old = [name for name in rows[0] if name not in ("confidence", "uncertain")]
    with out.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, old, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    older = out.read_bytes()
    refused(*words)  # it was changed since
    assert out.read_bytes() == older
    record = tmp_path / "p.csv.run.json"
    content = read_json(record)
    content["records"][0]["notes"]["written"]["p.csv"] = [file_sha256(out)]
    record.write_text(json.dumps(content))
    completed(*words)
    assert out.read_bytes() == whole
    assert cli(*words)[0] == 4
