"""New images that differ from those of training in size, bits or micrometres, as their files tell."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import write_tissue
from packs import featurize_here, model_file, train_small


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_settings):
    """A model of images of 64 x 64 pixels of one class, and of 96 x 64 of the other; read only."""
    root = tmp_path_factory.mktemp("run")
    write_tissue(root / "images", per_class=4, size=(64, 64), classes=("benign",))
    write_tissue(root / "images", per_class=4, size=(96, 64), classes=("malignant",), seed=1)
    settings = replace(tiny_settings, stain="none")
    featurize_here(root / "images", root / "run", settings)
    train_small(root / "run", "2", params={"min_data_in_leaf": 2, "num_iterations": 4})
    return root / "run"


SIZES = "other sizes than those of training (benign 64x64, malignant 96x64):"


SAVED = {
    "as they are": (".png", lambda pixels: pixels, ""),
    "as JPEG": (".jpg", lambda pixels: pixels, ""),
    "turned": (".png", lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE), ""),
    "twice as large": (
        ".png",
        lambda pixels: cv2.resize(pixels, (128, 128)),
        f"4 of 4 images, such as Fall ä0.png: {SIZES} 128x128; export in the same way",
    ),
    "longer": (
        ".tif",
        lambda pixels: cv2.resize(pixels, (100, 64)),
        f"Fall ä0.tif: {SIZES} 100x64",
    ),
    "thicker": (
        ".jpg",
        lambda pixels: cv2.resize(pixels, (80, 72)),
        f"Fall ä0.jpg: {SIZES} 80x72",
    ),
    "of 16 bits": (
        ".tif",
        lambda pixels: np.uint16(pixels) * 257,
        "4 of 4 images, such as Fall ä0.tif: other bits of a sample than those of training (8): 16",
    ),
}


@pytest.mark.parametrize("name", SAVED)
def test_predict_warns_of_images_that_differ(run, tmp_path, completed, name):
    suffix, changed, warning = SAVED[name]
    folder = tmp_path / "new images"
    folder.mkdir()
    for number, path in enumerate(sorted((run.parent / "images" / "benign").iterdir())):
        cv2.imwrite(str(folder / f"Fall ä{number}{suffix}"), changed(cv2.imread(str(path))))
    _, err = completed("predict {} --images {} --out T/p.csv", model_file(run), folder)
    text = " ".join(err.split())
    assert warning in text
    assert ("than those of training" in text) == bool(warning)
