"""The figures on BACH that README and the results page print are those of this version."""

import json
import os
import re
from pathlib import Path

import pytest
from bchisto.evaluate import evaluate

HOUSE = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("BCHISTO_SHARED", HOUSE.parent / "shared")) / "reference"
PREDICTIONS, PUBLISHED = SHARED / "bach" / "predictions", SHARED / "rakhlin2018" / "crossvalidation.csv"
HEADS = ("svm", "lda", "logistic", "lightgbm", "knn")

pytestmark = pytest.mark.skipif(not PREDICTIONS.is_dir(), reason="needs the predictions in ../shared")


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """The metrics of all tables of the published folds, the published one first, and of new patients."""
    metrics = {}
    for name, before in (("rakhlin10", [PUBLISHED]), ("eva", [])):
        tables = [*before, *(PREDICTIONS / f"{name}-{head}.csv" for head in HEADS)]
        out = tmp_path_factory.mktemp(name)
        evaluate(tables, out=out)
        metrics[name] = json.loads((out / "metrics.json").read_text())
    return metrics


def percent(figure):
    return f"{100 * figure['value']:.1f}"


def with_interval(figure):
    low, high = figure["interval"]
    return f"{percent(figure)} ({100 * low:.1f} to {100 * high:.1f})"


def cells(table):
    """The row of a table of predictions, after its name; what a table without probabilities lacks is a dash."""
    two, patients = table["two_class"], table["patient_recognition_rate"]
    auc = two["auc"] and (two.get("auc_pooled") or two["auc"]["value"])
    return [
        with_interval(table["accuracy"]),
        with_interval(table["balanced_accuracy"]),
        percent(table["macro_f1"]),
        percent(table["auc"]) if table["auc"] else "–",
        with_interval(patients) if patients else "–",
        percent(two["accuracy"]),
        f"{100 * auc:.1f}" if auc else "97.3, by the paper",
    ]


def rows_of(section):
    text = (HOUSE / "docs" / "results.md").read_text(encoding="utf-8").partition(f"## {section}\n")[2]
    lines = re.split(r"^##+ ", text, maxsplit=1, flags=re.MULTILINE)[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {name: rest for name, *rest in rows[2:]}


@pytest.mark.parametrize(("section", "name"), [("Published folds", "rakhlin10"), ("New patients", "eva")])
def test_every_figure_is_that_of_evaluate(folds, section, name):
    tables = folds[name]["tables"]
    names = {"crossvalidation": "published", **{f"{name}-{head}": f"`{head}`" for head in HEADS}}
    assert rows_of(section) == {names[key]: cells(table) for key, table in tables.items()}


def test_the_comparison_with_the_published_predictions(folds):
    tables, pairs = folds["rakhlin10"]["tables"], folds["rakhlin10"]["comparisons"]
    (pair,) = (pair for pair in pairs if (pair["first"], pair["second"]) == ("crossvalidation", "rakhlin10-svm"))
    value, (low, high) = (pair["differences"]["accuracy"][key] for key in ("value", "interval"))
    wanted = [
        f"{100 * value:+.1f} points (95 % CI {100 * low:+.1f} to {100 * high:+.1f})",
        f"{round(400 * tables['rakhlin10-svm']['accuracy']['value'])} of 400",
        f"{round(400 * tables['crossvalidation']['accuracy']['value'])}",
        with_interval(folds["eva"]["tables"]["eva-svm"]["accuracy"]).replace(" (", " % ("),
    ]
    for page in ("README.md", "docs/results.md"):
        text = " ".join((HOUSE / page).read_text(encoding="utf-8").split())
        assert [part for part in wanted if part not in text] == [], page
