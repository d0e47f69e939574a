"""The main jobs of the README on real input and at real size, as a user would run them."""

import csv
import dataclasses
import importlib
import json

import numpy as np
import pytest
from bchisto.data import read_dataset
from bchisto.featurize import open_store

pytestmark = pytest.mark.slow


def test_breakhis_with_real_weights(cli, shared, tmp_path):
    run = tmp_path / "run"
    code, out, err = cli(
        "featurize", "--images", shared / "data" / "breakhis", "--dataset", "breakhis", "--encoder", "mobilenetv2",
        "--weights", shared / "data" / "weights" / "mobilenetv2_imagenet.weights.h5", "--view", "1.0:224",
        "--augmentations", 2, "--crops", 2, "--jobs", 1, "--out", run,
    )  # fmt: skip
    assert code == 0, err
    with open_store(run / "features" / "mobilenetv2-1.0-224.h5") as store:
        assert store.features().shape == (104, 2, 1280)
        assert store.groups[store.image_ids.index("SOB_M_DC-14-2523-40-010.png")] == "14-2523"
        assert not store.header["synthetic"]
    code, out, err = cli("boost", "--out", run, "--folds", 5, "--group-by", "group", "--seeds", 2)
    assert code == 0, err
    assert "SYNTHETIC" not in out
    assert "RANDOM" not in out
    assert "5 stratified folds that keep patients or slides whole" in out
    folder = run / "boost" / "5-grouped-lightgbm"
    metrics = json.loads((folder / "metrics.json").read_text())["tables"]["fusion"]
    assert metrics["n"] == 104
    assert metrics["units"]["kind"] == "group"
    images = sorted((shared / "data" / "breakhis").rglob("*.png"))[:5]
    weights = shared / "data" / "weights" / "mobilenetv2_imagenet.weights.h5"
    code, out, err = cli(
        "predict", folder / "model.bchisto", *images, "--weights", weights, "--out", tmp_path / "p.csv", "--jobs", 1
    )
    assert code == 0, err
    with (tmp_path / "p.csv").open() as new, (folder / "predictions.csv").open() as old:
        new_rows, old_rows = list(csv.DictReader(new)), list(csv.DictReader(old))
    assert [key for key in new_rows[0] if key.startswith("p_")] == [key for key in old_rows[0] if key.startswith("p_")]
    assert len(new_rows) == 5
    assert {row["image_id"] for row in new_rows} <= {row["image_id"] for row in old_rows}


def test_the_demo_is_small_but_whole(cli, tmp_path, monkeypatch):
    """As it stands, but for the smallest number of images, and one crop of each augmentation."""
    module = importlib.import_module("bchisto.apps.recipes.trial")
    monkeypatch.setattr(module, "_SETTINGS", dataclasses.replace(module._SETTINGS, crops=1))
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    monkeypatch.setattr("keras.src.applications.resnet.BASE_WEIGHTS_PATH", "http://127.0.0.1:9/")
    code, out, err = cli("demo", "--out", tmp_path / "run", "--images-per-class", 5)
    assert code == 0, err
    assert out.startswith("5-lightgbm: ")
    assert "RANDOM WEIGHTS" in out
    assert "going on with seeded RANDOM weights" in err
    metrics = json.loads((tmp_path / "run" / "boost" / "5-lightgbm" / "metrics.json").read_text())
    assert metrics["tables"]["fusion"]["accuracy"]["value"] > 0.5  # chance is 0.25
    report = (tmp_path / "run" / "boost" / "5-lightgbm" / "report.html").read_text()
    assert report.index("SYNTHETIC IMAGES") < report.index("<nav")
    assert len(read_dataset(tmp_path / "run" / "images")) == 20
    assert np.isfinite(metrics["tables"]["fusion"]["auc"]["value"])
