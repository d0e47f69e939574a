"""Metrics, tables and figures of the report are as recorded, key by key and column by column; see `golden.py`."""

import csv
import importlib.util
import json
import re
from pathlib import Path

import pytest

ON_PURPOSE = ("/calibration/temperature", "/calibration/ece_expected", "/lacking/per_class/Invasive/f1")
"""Figures of which the numbers are other ones now: the expected ECE was drawn, and a class without images had an F1."""

GONE = ("abstention", "average_precision", "decision_curves", "lr_positive", "lr_negative", "lr_positive_interval",
        "lr_negative_interval")  # fmt: skip
"""Keys that ``metrics.json`` no longer has."""

ONE_CELL = ("protocol", "predictions", "average precision")
"""Columns that stand in one cell now, or are gone."""

ONE_OF_TWO = ("benign",)
"""Classes of tables of two of which only the other one is named."""

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
    """Compare JSON values: texts exactly, numbers to rounding."""
    if path.endswith(ON_PURPOSE):
        return
    new = new["value"] if isinstance(new, dict) and "interval" in new else new
    assert type(new) is type(old), path
    if isinstance(old, dict):
        # intervals are made by other methods since 0.2
        kept = [key for key in old if key not in GONE and not key.endswith(("intervals", "_interval"))]
        assert {*kept} <= {*new}, path
        for key in kept:
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
    kept = [column for column in expected[0] if not column.startswith(GONE)]
    assert [column for column in found[0] if column in kept] == kept
    assert len(found) == len(expected)
    for row, other in zip(found[1:], expected[1:], strict=True):
        now = dict(zip(found[0], row, strict=True))
        for column, before in zip(expected[0], other, strict=True):
            if column not in kept or (column == "f1" and now["n"] == "0"):
                continue
            cell = now[column]
            if column.endswith(("low", "high")):  # intervals are made by other methods since 0.2
                continue
            if "." in before and before.replace(".", "").replace("e-", "").isdigit():
                assert float(cell) == pytest.approx(float(before), rel=1e-9, abs=1e-12)
            else:
                assert cell == before


def test_cells_of_the_report(made):
    """Every figure that is no interval stands in the report, by row and column."""

    def cells(text):
        found = {}
        for table in re.findall(r"<table>.*?</table>", text, flags=re.DOTALL):
            rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, flags=re.DOTALL) for line in table.split("</tr>")]
            for row in filter(None, rows[1:]):
                for column, cell in zip(rows[0][1:], row[1:], strict=True):
                    found.setdefault((row[0], column), []).append(cell.partition("\n")[0].partition(" image")[0])
        return found

    old = cells((EXPECTED / "figures.txt").read_text(encoding="utf-8"))
    new = cells((made / "report.html").read_text(encoding="utf-8"))
    checked = 0
    for (row, column), values in old.items():
        if "interval" not in column and column not in ONE_CELL:
            column = column.replace("mean ± spread", "mean ± SD")
            if row in ONE_OF_TWO:
                continue
            gone = {"0.0 %"} if (row, column) == ("Invasive", "F1") else set()  # of the table that lacks the class
            assert set(values) - gone <= set(new[row, column]), (row, column)
            checked += len(values)
    assert checked > 50
