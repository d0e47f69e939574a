"""Metrics are as recorded, key by key; see `golden.py`."""

import importlib.util
import json
from pathlib import Path

import pytest

ON_PURPOSE = ("/calibration/temperature", "/calibration/ece_expected", "/lacking/per_class/Invasive/f1")
"""Figures of which the numbers are other ones now: the expected ECE was drawn, and a class without images had an F1."""

GONE = ("abstention", "average_precision", "decision_curves", "lr_positive", "lr_negative", "lr_positive_interval",
        "lr_negative_interval")  # fmt: skip
"""Keys that ``metrics.json`` no longer has."""

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
