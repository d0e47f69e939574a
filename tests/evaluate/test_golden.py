"""Metrics, intervals and comparisons are as recorded, key by key.

The tables of ``golden`` are four classes in folds, with patients; two classes without probabilities; four classes, of
which one has no image. What was made of them before issue 45 is in ``expected``.
"""

from pathlib import Path

import pytest
from bchisto.evaluate import evaluate
from written_tables import read_json

GOLDEN = Path(__file__).parent / "golden"


def same(new, old, path=""):
    """Compare JSON values: texts exactly, numbers to rounding; temperatures are found by a search."""
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
        assert new == pytest.approx(
            old, rel=1e-5 if "/temperature/" in path else 1e-9, abs=1e-12
        ), path
    else:
        assert new == old, path


def test_metrics(tmp_path, monkeypatch):
    """Without the metrics of other packages that may be installed."""
    monkeypatch.setattr("bchisto.evaluate.metrics._plug_ins", lambda path: ())
    evaluate(
        [GOLDEN / f"{name}.csv" for name in ("folds", "called", "lacking")],
        out=tmp_path,
        bootstrap=0,
    )
    found, expected = (
        read_json(folder / "metrics.json") for folder in (tmp_path, GOLDEN / "expected")
    )
    same(found, expected)
