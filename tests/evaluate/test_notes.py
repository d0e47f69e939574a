"""What `evaluate` says of tables beside their figures, and what it asks when a table says two things."""

import re
from dataclasses import replace

import pytest
from bchisto.evaluate import evaluate, measure, read_predictions
from written_tables import read_json, write_lines

LEAK = "in both training and test sets"


def written(path, rows, columns="image_id,label,predicted,fold,group,patch"):
    return write_lines(path, columns, *(",".join(map(str, row)) for row in rows))


def images(patient):
    return [f"{patient}{number}" for number in range(3)]


def test_hold_outs_of_patients_with_patches_leak_nothing(tmp_path):
    """Patches are drawn anew in each fold, so that no pair of image and patch stands in two of them."""
    rows = [
        (image, "ab"[patient == "p"], "a", fold, patient, f"{fold}-{patch}")
        for fold, tested in ((1, "pq"), (2, "pr"), (3, "qr"))
        for patient in tested
        for image in images(patient)
        for patch in range(2)
    ]
    path = written(tmp_path / "t.csv", rows)
    notes = evaluate([path], out=tmp_path / "out", bootstrap=0).notes
    assert not any(LEAK in note for note in notes)


def test_measure_logs_what_evaluate_notes(tmp_path, caplog):
    """Of arrays, too: whoever splits patients by StratifiedKFold learns it where the figures are made."""
    rows = [
        (image, "ab"[number % 2], "a", number % 2 + 1, patient, "")
        for patient in "pqr"
        for number, image in enumerate(images(patient))
    ]
    path = written(tmp_path / "t.csv", rows)
    (table,) = read_predictions(path)
    assert table.cautions == [
        f"IMAGE-LEVEL FOLDS: 3 patients {LEAK}; these results are too high for new patients"
    ]
    evaluation = evaluate([path], out=tmp_path / "out", bootstrap=0)
    assert evaluation.notes == [f"t: {table.cautions[0]}"]
    assert ", but not of new patients; " in evaluation.summary()[0]
    assert caplog.messages == []
    measure(table)
    assert caplog.messages == [f"t: {table.cautions[0]}"]
    caplog.clear()
    whole = replace(table, folds=tuple("pqr".index(group) for group in table.groups))
    measure(whole)
    assert (caplog.messages, whole.cautions) == ([], [])
    whole.to_pandas().to_csv(tmp_path / "whole.csv", index=False)
    assert "new patients" not in evaluate(tmp_path / "whole.csv", out=tmp_path / "b").summary()[0]
    measure(replace(table, groups=(None,) * 9))
    assert "PATIENTS UNKNOWN" in caplog.messages[0]
    caplog.clear()
    some = replace(whole, groups=(None, None, *whole.groups[2:]))
    measure(some)
    assert caplog.messages == [
        "t: 2 of 9 images name no patient or slide; each counts as a unit of its own, which makes intervals too "
        "narrow if images share a patient"
    ]
    some.to_pandas().to_csv(tmp_path / "some.csv", index=False)
    partly = evaluate(tmp_path / "some.csv", out=tmp_path / "c")
    assert ", with 2 images of no known patient; " in partly.summary()[0]
    assert partly.notes == []  # reports tell it in words of their own
    assert "no known patient" not in evaluation.summary()[0]


@pytest.fixture
def three(tmp_path):
    def rows(right):
        return [(f"i{k}", "ab"[k % 2], "ab"[(k % 2) ^ (k >= right)]) for k in range(40)]

    return [
        written(tmp_path / f"{name}.csv", rows(right), "image_id,label,predicted")
        for name, right in (("x", 30), ("y", 31), ("z", 40))
    ]


def test_comparisons_are_corrected(three, tmp_path, completed):
    out, err = completed("evaluate", "-v", *three, "--out", tmp_path / "out")
    found = read_json(tmp_path / "out" / "metrics.json")
    assert [row["test"] for row in found["comparisons"]] == ["mcnemar"] * 3
    first, second, third = found["comparisons"]
    assert second["p"] == pytest.approx(1 / 2**10)
    assert (second["p_holm"], third["p_holm"]) == (3 * second["p"], pytest.approx(2 * third["p"]))
    assert first["p_holm"] == 0.5
    low, high = (f"{100 * end:+.1f}" for end in second["differences"]["accuracy"]["interval"])
    assert f"z minus x  +25.0 ({low} to {high})  {second['p_holm']:.3f}\n  z minus y " in out
    assert f"{third['p_holm']:.3f}\nThe report has 1 further comparison.\n" in out
    assert re.findall(r"^(best|    )  (\w+) +(\d+) of 40  [1-9]", out, re.MULTILINE) == [
        ("best", "z", "40"),
        ("    ", "y", "31"),
        ("    ", "x", "30"),
        ("    ", "chance", "20"),
    ]
    assert err.count("PATIENTS UNKNOWN") == 1
    assert "z: Chosen among 3 results on the same images and folds as the highest by" in " ".join(
        out.split()
    )
