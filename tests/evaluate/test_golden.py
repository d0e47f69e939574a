"""Metrics, tables and figures of the report are those of 0.1.1, key by key and column by column; see `golden.py`."""

import csv
import importlib.util
import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EXPECTED = HERE / "golden" / "expected"


@pytest.fixture(scope="module")
def golden():
    spec = importlib.util.spec_from_file_location("golden", HERE / "golden.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(golden, tmp_path_factory):
    """Evaluated without the metrics of other packages that may be installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bchisto.evaluate.known_metrics._plug_ins", lambda path: ())
        return golden.evaluate_all(tmp_path_factory.mktemp("golden"))


def same(new, old, path=""):
    """Compare JSON values: keys in order, texts exactly, numbers to rounding."""
    assert type(new) is type(old), path
    if isinstance(old, dict):
        assert list(new) == list(old), path
        for key in old:
            same(new[key], old[key], f"{path}/{key}")
    elif isinstance(old, list):
        assert len(new) == len(old), path
        for place, (a, b) in enumerate(zip(new, old, strict=True)):
            same(a, b, f"{path}/{place}")
    elif isinstance(old, float):
        assert new == pytest.approx(old, rel=1e-9, abs=1e-12), path
    else:
        assert new == old, path


def test_metrics(made):
    found, expected = (json.loads((folder / "metrics.json").read_text()) for folder in (made, EXPECTED))
    same(found["tables"], expected["tables"])


@pytest.mark.parametrize("name", ["tables.csv", "per-fold.csv", "per-class.csv"])
def test_tables(made, name):
    def read(folder):
        with (folder / name).open(newline="", encoding="utf-8") as handle:
            return list(csv.reader(handle))

    found, expected = read(made), read(EXPECTED)
    assert found[0] == expected[0]
    assert len(found) == len(expected)
    for row, other in zip(found[1:], expected[1:], strict=True):
        for cell, before in zip(row, other, strict=True):
            if "." in before and before.replace(".", "").replace("e-", "").isdigit():
                assert float(cell) == pytest.approx(float(before), rel=1e-9, abs=1e-12)
            else:
                assert cell == before


@pytest.mark.parametrize("name", ["tables.tex", "per-class.tex", "figures.txt"])
def test_what_is_rounded_for_people(made, name):
    """Equal to the last sign."""
    expected = (EXPECTED / name).read_text(encoding="utf-8")
    assert (made / name).read_text(encoding="utf-8") == expected
