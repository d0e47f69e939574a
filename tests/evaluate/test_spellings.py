"""Prediction tables by whatever names of columns: equal rows give equal figures."""

import json
import re

import numpy as np
import pytest
from bchisto.evaluate import evaluate, read_predictions

ROWS = 60


@pytest.fixture(scope="module")
def cells():
    """Sixty images of ten patients of both classes."""
    rng = np.random.default_rng(3)
    labels = np.arange(ROWS) % 2
    shares = np.clip(0.5 + 0.3 * (2 * labels - 1) + rng.normal(0, 0.25, ROWS), 0.01, 0.99).round(3)
    return {
        "image_id": [f"i{n}" for n in range(ROWS)],
        "label": [("normal", "tumour")[one] for one in labels],
        "group": [f"P{n // 6}" for n in range(ROWS)],
        "p_normal": [f"{1 - one:.3f}" for one in shares],
        "p_tumour": [f"{one:.3f}" for one in shares],
    }


def write(folder, cells, *, mark=",", encoding="utf-8", **names):
    """Write a table, with other names of some columns."""
    header = mark.join(names.get(name, name) for name in cells)
    lines = [header, *(mark.join(row) for row in zip(*cells.values(), strict=True))]
    folder.mkdir(exist_ok=True)
    (folder / "t.csv").write_bytes("\n".join(lines).encode(encoding))
    return folder / "t.csv"


def figures(caplog, folder, path):
    """Return what is evaluated, and what is said."""
    with caplog.at_level("INFO", "bchisto"):
        evaluation = evaluate(path, out=folder / "out", bootstrap=50)
    return evaluation.result, " ".join([caplog.text, *evaluation.notes])


@pytest.fixture(scope="module")
def plain(cells, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    return evaluate(write(folder, cells), out=folder / "out", bootstrap=50).result


SPELLED = {
    "patient": {"group": "patient"},
    "PatientID": {"group": "PatientID"},
    "tabs and a mark": {"mark": "\t", "encoding": "utf-8-sig"},
    "capitals": {
        "image_id": "Image_ID",
        "label": "Label",
        "p_normal": "P_normal",
        "p_tumour": "P_tumour",
    },
    "CLAM": {"image_id": "slide_id", "label": "Y", "group": "case_id"},
    "scikit-learn": {"image_id": "filename", "label": "y_true", "group": "patients"},
}


@pytest.mark.parametrize("name", SPELLED)
def test_every_spelling_gives_the_same_figures(cells, plain, tmp_path, caplog, name):
    found, err = figures(caplog, tmp_path, write(tmp_path, cells, **SPELLED[name]))
    # the group is called as its column, and nothing else differs
    assert json.loads(json.dumps(found).replace("case", "patient")) == plain
    assert ("new cases of" in json.dumps(found)) == (name == "CLAM")
    assert found["tables"]["t"]["units"]["kind"] == "group"
    assert found["tables"]["t"]["units"]["count"] == 10
    assert "PATIENTS UNKNOWN" not in err
    if (said := SPELLED[name].get("group", "group")) != "group":
        assert re.search(f"the [a-z]+ is taken from the column {re.escape(said)}", err)


def test_a_workbook(cells, plain, tmp_path, caplog):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append([name.replace("group", "Patient ID") for name in cells])
    for row in zip(*cells.values(), strict=True):
        book.active.append([*row[:3], *map(float, row[3:])])
    book.save(tmp_path / "t.xlsx")
    assert figures(caplog, tmp_path, tmp_path / "t.xlsx")[0] == plain


@pytest.mark.parametrize(
    ("predicted", "label"), [("Prediction", "label"), ("y_pred", "y_true"), ("Y_hat", "Y")]
)
def test_predicted_classes(cells, tmp_path, predicted, label):
    called = ["tumour" if float(one) > 0.5 else "normal" for one in cells["p_tumour"]]
    table = {"image_id": cells["image_id"], label: cells["label"], predicted: called}
    (found,) = read_predictions(write(tmp_path, table))
    assert [found.classes[place] for place in found.predicted] == called


def test_patients_unknown(cells, tmp_path, caplog):
    without = {name: column for name, column in cells.items() if name != "group"}
    _, err = figures(caplog, tmp_path, write(tmp_path, without))
    assert "t: PATIENTS UNKNOWN: no row names its patient or slide" in err
    _, err = figures(caplog, tmp_path, write(tmp_path, cells, group="PatientenNr"))
    assert (
        "the column PatientenNr may hold the patients, and is not used; if it does, rename it to group"
        in err
    )


def test_spellings_of_patients_and_what_names_nobody(cells, tmp_path, caplog):
    groups = [one.lower() if n % 2 else one for n, one in enumerate(cells["group"])]
    groups[:6] = ["NA", "nan", "unknown", "", "None", "N/A"]
    found, err = figures(caplog, tmp_path, write(tmp_path, {**cells, "group": groups}))
    units = found["tables"]["t"]["units"]
    assert units["kind"] == "group"
    assert units["count"] == 15
    assert units["ungrouped"] == 6
    assert "taken for one patient: P1 and p1" in err


@pytest.mark.parametrize("column", ["label", "predicted"])
@pytest.mark.parametrize("missing", ["NA", "nan", "None"])
def test_what_is_missing_is_no_class(cells, tmp_path, refused, column, missing):
    table = {
        "image_id": cells["image_id"],
        "label": [*cells["label"]],
        "predicted": [*cells["label"]],
    }
    table[column][3] = missing
    path = write(tmp_path, table)
    err = refused("evaluate {} --out T/out --bootstrap 0", path)
    assert f"the {column} {missing} means unknown; leave the cell empty, or name" in err
    (found,) = read_predictions(path, classes=["normal", "tumour", missing])
    assert found.classes[2] == missing


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("normal", "benign", "in situ", "Invasive"), "in situ as InSitu, normal as Normal"),
        (("Normal", "Benign", "InSitu", "Invasive"), ""),
        (("in situ", "other", "third", "fourth"), ""),
    ],
)
def test_classes_that_are_read_as_those_of_a_known_data_set_are_told(names, said, tmp_path, caplog):
    cells = {"image_id": [f"i{n}" for n in range(40)], "label": [*names] * 10}
    _, err = figures(caplog, tmp_path, write(tmp_path, {**cells, "predicted": cells["label"]}))
    assert ("read as classes: " in err) == bool(said)
    assert all(part in err for part in said.split(", "))
