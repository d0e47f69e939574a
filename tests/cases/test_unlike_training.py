"""New images that differ from those of training in size, bits or micrometres, as their files tell."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import write_tissue
from packs import featurize_here, train_small
from PIL import Image


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


def as_it_is(picture, path):
    picture.save(path.with_suffix(".png"))


def as_jpeg(picture, path):
    picture.save(path.with_suffix(".jpg"), quality=95)


def turned(picture, path):
    picture.transpose(Image.Transpose.ROTATE_90).save(path.with_suffix(".png"))


def twice(picture, path):
    picture.resize((picture.width * 2, picture.height * 2)).save(path.with_suffix(".png"))


def longer(picture, path):
    picture.resize((100, 64)).save(path.with_suffix(".tif"))


def thicker(picture, path):
    picture.resize((80, 72)).save(path.with_suffix(".jpg"))


def of_16_bits(picture, path):
    cv2.imwrite(str(path.with_suffix(".tif")), np.uint16(np.asarray(picture)[..., ::-1]) * 257)


SIZES = "other sizes than those of training (benign 64x64, malignant 96x64):"


@pytest.mark.parametrize(
    ("save", "warning"),
    [
        (as_it_is, ""),
        (as_jpeg, ""),
        (turned, ""),
        (twice, f"4 of 4 images, such as Fall ä0.png: {SIZES} 128x128; export in the same way"),
        (longer, f"Fall ä0.tif: {SIZES} 100x64"),
        (thicker, f"Fall ä0.jpg: {SIZES} 80x72"),
        (
            of_16_bits,
            "4 of 4 images, such as Fall ä0.tif: other bits of a sample than those of training (8): 16",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_predict_warns_of_images_that_differ(run, tmp_path, completed, save, warning):
    folder = tmp_path / "new images"
    folder.mkdir()
    for number, path in enumerate(sorted((run.parent / "images" / "benign").iterdir())):
        save(Image.open(path), folder / f"Fall ä{number}")
    _, err = completed("predict {} --images {} --out T/p.csv", run, folder)
    text = " ".join(err.split())
    assert warning in text
    assert ("than those of training" in text) == bool(warning)
