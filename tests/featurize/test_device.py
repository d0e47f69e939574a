"""The road that a GPU takes, run here on the CPU by every backend: the same descriptors as crop by crop.

No GPU is at hand where these tests run; they hold the arithmetic, not the speed.
"""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from bchisto.data import ImageRecord
from bchisto.featurize import Encoder, EncoderChoice, FeaturizeSettings, View, describe_images
from bchisto.featurize.crops import Crop, cut_crop
from bchisto.featurize.device import crop_map
from bchisto.jobs import Ticker
from bchisto.stains import HeAugmenter, augment_he

SETTINGS = FeaturizeSettings(
    encoders=(EncoderChoice("tiny"),),
    weights=("random",),
    views=(View(1.0, 64), View(0.5, 33)),
    augmentations=5,
    crops=3,
    batch_size=6,
)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True), (True, True)])
def test_maps_give_the_turned_crop(rng, turns, flips):
    image = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    box = Crop(7, 11, turns, *flips)
    rows, columns = crop_map(box, crop=16)
    i, j = np.arange(16)[:, None], np.arange(16)[None]
    found = image[rows[0] + rows[1] * i + rows[2] * j, columns[0] + columns[1] * i + columns[2] * j]
    np.testing.assert_array_equal(found, cut_crop(image, box, crop=16))


def described(tissue, settings, on_device, count=3):
    encoder = Encoder("tiny", weights="random")
    targets = {f"{view.scale}-{view.crop}": (encoder, view) for view in settings.views}
    targets["again"] = (Encoder("tiny", weights="random", seed=1), settings.views[0])
    records = [ImageRecord(image_id=p.name, path=p, label=None) for p in sorted(tissue.rglob("*.png"))[:count]]
    return list(describe_images(records, settings=settings, targets=targets, ticker=Ticker(None), on_device=on_device))


def test_descriptors_equal_those_of_the_cpu_road(tissue):
    for settings, tolerance in [
        (SETTINGS, 2e-3),  # a grey level here and there
        (dataclasses.replace(SETTINGS, color_range=(1.0, 1.0), stain="none"), 1e-5),
        (dataclasses.replace(SETTINGS, batch_size=1, pool=1.0), 2e-3),
    ]:
        for a, b in zip(described(tissue, settings, False), described(tissue, settings, True), strict=True):
            assert a.record == b.record
            assert set(a.features) == set(b.features) == {"1.0-64", "0.5-33", "again"}
            for name, expected in a.features.items():
                assert b.features[name].shape == expected.shape == (5, 16)
                assert np.abs(b.features[name] - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("darker", [1, 20])
def test_colours_are_those_of_the_augmenter(he_image, darker):
    from bchisto.featurize.device import _describe
    from bchisto.featurize.engines import compile_function
    from bchisto.stains import augmentation_matrix

    seen = compile_function(
        _describe([lambda crops: crops.__getitem__((slice(None), 0, 0))], crop=1, power=1.0, colours=True)
    )
    he_image = he_image // np.uint8(darker)
    matrix = augmentation_matrix(hematoxylin=1.2, eosin=0.8).astype(np.float32)[None]
    expected = HeAugmenter(he_image).augment(hematoxylin=1.2, eosin=0.8)
    np.testing.assert_array_equal(expected, augment_he(he_image, hematoxylin=1.2, eosin=0.8))
    differing = 0
    for row, column in np.random.default_rng(0).integers(0, 192, (200, 2)):
        box = np.array([[[[row, 0, 0], [column, 0, 0]]]], dtype=np.int32)
        found = np.asarray(seen(he_image, matrix, box)[0])[0]
        assert np.abs(found - expected[row, column]).max() <= 1
        differing += int((found != expected[row, column]).any())
    assert differing <= 4


def test_a_failed_image_is_skipped_on_the_device_too(tissue, tmp_path):
    (tmp_path / "x.png").write_bytes(b"no image")
    records = [ImageRecord(image_id="x.png", path=tmp_path / "x.png", label=None)]
    targets = {"a": (Encoder("tiny", weights="random"), SETTINGS.views[0])}
    (found,) = describe_images(
        records, settings=SETTINGS, targets=targets, ticker=Ticker(None), skip_errors=True, on_device=True
    )
    assert "not a TIFF, PNG or JPEG image" in found.message


SCRIPT = """
import sys, dataclasses, numpy as np
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_device import SETTINGS, described
settings = dataclasses.replace(SETTINGS, color_range=(1.0, 1.0), stain="none")
for a, b in zip(described(Path(sys.argv[1]), settings, False, 1), described(Path(sys.argv[1]), settings, True, 1)):
    for name in a.features:
        np.testing.assert_allclose(b.features[name], a.features[name], rtol=1e-3, atol=1e-5)
dense = dataclasses.replace(settings, mode="dense")
for item in described(Path(sys.argv[1]), dense, None, 1):
    assert all(np.isfinite(values).all() for values in item.features.values())
print("equal")
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_give_the_same(tissue, backend):
    import importlib.util
    import os
    from pathlib import Path

    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tissue), str(Path(__file__).parent)],
        capture_output=True, text=True, env={**os.environ, "KERAS_BACKEND": backend}, timeout=300,
    )  # fmt: skip
    assert done.stdout.strip().endswith("equal"), done.stderr
