"""Heat maps of real images agree with what the images are called."""

import re
import shutil

import numpy as np
import pytest

TEN = (
    "B_A-14-22549AB-40-001",
    "B_A-14-22549CD-400-006",
    "B_F-14-25197-100-001",
    "B_F-14-25197-200-032",
    "B_F-14-25197-40-023",
    "M_DC-14-17614-400-014",
    "M_DC-14-20629-400-017",
    "M_DC-14-2523-40-010",
    "M_LC-14-12204-40-001",
    "M_MC-14-19979-200-001",
)
"""Those of which nine maps contradicted the prediction, when white was the prediction without any feature."""


@pytest.mark.slow
def test_of_ten_images_nine_maps_are_not_taken_back(shared, tmp_path, completed):
    """As a pathologist begins: images in folders of classes, the first command of the README, and the third."""
    files = sorted((shared / "data" / "breakhis").rglob("*.png"))
    for file in files:
        folder = tmp_path / "images" / {"B": "benign", "M": "malignant"}[file.name[4]]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder)
    (tmp_path / "new").mkdir()
    for name in TEN:
        (file,) = (file for file in files if file.stem == f"SOB_{name}")
        shutil.copy(file, tmp_path / "new")
    weights = shared / "data" / "weights" / "mobilenetv2_imagenet.weights.h5"
    completed(
        *("trial", "--images", tmp_path / "images", "--out", tmp_path / "trial"),
        *("--weights", f"mobilenetv2={weights}", "--jobs", 1),
    )
    for head in ("lightgbm", "logistic"):
        (model,) = (tmp_path / "trial" / "boost").glob(f"*-{head}/model.bchisto")
        out = tmp_path / head
        completed("explain", model, "--images", tmp_path / "new", "--method", "map", "--out", out)
        page = (out / "map" / "index.html").read_text(encoding="utf-8")
        taken_back = re.findall("THE MAP CONTRADICTS|the colours do not show why", page)
        assert page.count("<figcaption>") == 10
        assert len(taken_back) <= 1, head
        for path in (out / "map" / "arrays").iterdir():
            assert float(np.load(path)["white"]) == 0.5
