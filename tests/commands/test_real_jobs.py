"""The main jobs of the README on real input and at real size, as a user would run them."""

import dataclasses
import importlib

import numpy as np
import pytest
from bchisto.data import read_dataset
from written_tables import read_json

pytestmark = pytest.mark.slow


def test_the_demo_is_small_but_whole(completed, tmp_path, monkeypatch):
    """As it stands, but for fewer and smaller images, one network, and one crop of each augmentation."""
    module = importlib.import_module("bchisto.apps.recipes.trial")
    smaller = dataclasses.replace(module._SETTINGS, encoders="resnet50", crops=1)
    monkeypatch.setattr(module, "_SETTINGS", smaller)
    monkeypatch.setattr(module, "_SIZE", (640, 480))
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    monkeypatch.setattr("keras.src.applications.resnet.BASE_WEIGHTS_PATH", "http://127.0.0.1:9/")
    out, err = completed("demo --out T/run --images-per-class 5")
    assert out.startswith("5-lightgbm: ")
    assert "RANDOM WEIGHTS" in out
    assert "going on with seeded RANDOM weights" in err
    metrics = read_json(tmp_path / "run" / "boost" / "5-lightgbm" / "metrics.json")
    assert metrics["tables"]["fusion"]["accuracy"]["value"] > 0.5  # chance is 0.25
    report = (tmp_path / "run" / "boost" / "5-lightgbm" / "report.html").read_text()
    assert report.index("SYNTHETIC IMAGES") < report.index("<nav")
    assert len(read_dataset(tmp_path / "run" / "images")) == 20
    assert np.isfinite(metrics["tables"]["fusion"]["auc"]["value"])
