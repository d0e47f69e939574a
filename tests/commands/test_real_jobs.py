"""The main jobs of the README on real input and at real size, as a user would run them."""

import sys

import pytest
from conftest import REPOSITORY
from own_process import run_process
from written_tables import read_json, rows_of

SAMPLES = REPOSITORY / "data" / "samples" / "idc"

pytestmark = pytest.mark.slow


def test_the_demo_is_small_but_whole(completed, tmp_path, monkeypatch):
    """Without a network or weights, and what it says of the slides."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    out, _ = completed("demo --out T/run")
    metrics = read_json(tmp_path / "run" / "boost" / "3-grouped-svm" / "metrics.json")
    assert metrics["tables"]["fusion"]["balanced_accuracy"]["interval"][0] > 0.5
    classes = {}
    for row in rows_of(SAMPLES / "training" / "images.csv"):
        classes.setdefault(row["slide"], set()).add(row["label"])
    assert "8863" not in classes
    single = sum(len(labels) == 1 for labels in classes.values())
    assert f"{single} of the {len(classes)} slides hold only one class" in out
    predicted = rows_of(tmp_path / "run" / "predictions.csv")
    assert {row["group"] for row in predicted} == {"8863"}
    assert completed("demo --out T/run")[0] == out


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


def test_the_patches_are_those_that_the_script_picks(shared, tmp_path):
    source = shared / "data" / "idc" / "IDC_regular_ps50_idx5"
    run_process(sys.executable, REPOSITORY / "tools" / "pick_samples.py", source, tmp_path)
    assert contents(tmp_path) == contents(SAMPLES)
    assert sum(map(len, contents(SAMPLES).values())) <= 3.2e6
