"""The road that a GPU takes, run here on the CPU by every backend: the same descriptors as crop by crop.

No GPU is at hand where these tests run; they hold the arithmetic, not the speed.
"""

import dataclasses
import importlib.util
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from bchisto.core import ImageError
from bchisto.core.jobs import Ticker
from bchisto.data import ImageRecord
from bchisto.encoders import Encoder
from bchisto.featurize import FeaturizeSettings, describe_images, prepare
from bchisto.featurize.crops import Crop, cut_crop
from bchisto.featurize.device import crop_map, padded_length
from bchisto.stains import HeAugmenter, augment_he
from conftest import assert_same_descriptors, need

SETTINGS = FeaturizeSettings(
    encoders=("convs",),
    weights=("random",),
    views=("1.0:64", "0.5:33"),
    augmentations=5,
    crops=3,
    batch_size=6,
)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True), (True, True)])
def test_maps_give_the_turned_crop(rng, turns, flips):
    image = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    box = Crop(7, 11, turns, *flips)
    offset, by_row, by_column = crop_map(box, crop=16, width=50)
    i, j = np.arange(16)[:, None], np.arange(16)[None]
    found = image.reshape(-1, 3)[offset + by_row * i + by_column * j]
    np.testing.assert_array_equal(found, cut_crop(image, box, crop=16))


def test_lists_of_pixels_have_few_lengths(rng):
    sizes = [1, 2, 7, 9, 1024, 1025, 85_000_000, *rng.integers(1, 10_000_000, 500).tolist()]
    for pixels in sizes:
        assert pixels <= padded_length(pixels) <= max(1.25 * pixels, 1)
        assert padded_length(padded_length(pixels)) == padded_length(pixels)
    lengths = {padded_length(pixels) for pixels in range(1, 100_001)}
    assert len(lengths) <= 4 * 17 + 4


def show_gpus(patch, on_device):
    """Let stage 1 see a GPU, or none; what computes is the device of Keras's backend in any case."""
    gpus = ("0",) if on_device else ()
    patch.setattr("bchisto.featurize.stream.visible_gpus", lambda: gpus)


def described(tissue, settings, on_device, count=3, helpers=1):
    encoder = Encoder("convs", weights="random")
    targets = {f"{view.scale}-{view.crop}": (encoder, view) for view in settings.views}
    targets["again"] = (Encoder("convs", weights="random", seed=1), settings.views[0])
    records = [
        ImageRecord(image_id=p.name, path=p, label=None)
        for p in sorted(tissue.rglob("*.png"))[:count]
    ]
    with pytest.MonkeyPatch.context() as patch:
        show_gpus(patch, on_device)
        return list(
            describe_images(
                records, settings=settings, targets=targets, ticker=Ticker(None), helpers=helpers
            )
        )


def test_descriptors_equal_those_of_the_cpu_road(tissue):
    for settings, exact in [
        (SETTINGS, False),
        (dataclasses.replace(SETTINGS, color_range=(1.0, 1.0), stain="none"), True),
        (dataclasses.replace(SETTINGS, batch_size=1, pool=1.0), False),
    ]:
        for a, b in zip(
            described(tissue, settings, False), described(tissue, settings, True), strict=True
        ):
            assert a.record == b.record
            assert set(a.features) == set(b.features) == {"1.0-64", "0.5-33", "again"}
            for name, expected in a.features.items():
                assert expected.shape == (5, 16)
                assert_same_descriptors(b.features[name], expected)
                if exact:
                    np.testing.assert_allclose(
                        b.features[name], expected, rtol=0, atol=1e-5 * expected.max()
                    )


ALONE_AND_TOGETHER = """
import sys
import numpy as np
from bchisto.encoders import Encoder
from bchisto.featurize.device import DeviceDescriber
from bchisto.featurize import FeaturizeSettings, View, draw_augmentation

settings = FeaturizeSettings(views=(View(1.0, 64),), augmentations=1, crops=2)
(view,) = settings.views
encoders = {str(seed): (Encoder("mobilenetv2", weights="random", seed=seed), view) for seed in (0, 1)}
images = {view.level: np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)}
drawn = [draw_augmentation("a", 0, seed=0, color_range=(0.8, 1.2))]
together = DeviceDescriber(encoders, settings).start(images, drawn)()
for name, target in encoders.items():
    alone = DeviceDescriber({name: target}, settings).start(images, drawn)()
    np.testing.assert_array_equal(together[name], alone[name])
"""


def test_encoders_of_pytorch_do_not_change_each_others_crops():
    need("torch", importlib.util.find_spec("torch") is not None, "pip install '.[torch]'")
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    subprocess.run(
        [sys.executable, "-c", ALONE_AND_TOGETHER], env=environment, check=True, timeout=240
    )


@pytest.mark.parametrize("darker", [1, 20])
def test_colours_are_those_of_the_augmenter(he_image, darker):
    from bchisto.encoders import compile_tensors
    from bchisto.featurize.device import _describe
    from bchisto.stains import augmentation_matrix

    seen = compile_tensors(
        _describe(
            [lambda crops: crops.__getitem__((slice(None), 0, 0))],
            crop=1,
            description=FeaturizeSettings(pool=1.0).description,
            colours=True,
        ),
        [("uint8", (None, 3)), ("float32", (1, 3, 3)), ("int64", (1, 1, 3))],
    )
    he_image = he_image // np.uint8(darker)
    matrix = augmentation_matrix(hematoxylin=1.2, eosin=0.8).astype(np.float32)[None]
    expected = HeAugmenter(he_image).augment(hematoxylin=1.2, eosin=0.8)
    np.testing.assert_array_equal(expected, augment_he(he_image, hematoxylin=1.2, eosin=0.8))
    differing = 0
    for row, column in np.random.default_rng(0).integers(0, 192, (200, 2)):
        box = np.array([[[row * he_image.shape[1] + column, 0, 0]]], dtype=np.int64)
        found = np.asarray(seen(he_image.reshape(-1, 3), matrix, box)[0])[0]
        assert np.abs(found - expected[row, column]).max() <= 1
        differing += int((found != expected[row, column]).any())
    assert differing <= 4


def test_processes_ahead_are_those_of_the_thread_that_calls(tissue, monkeypatch):
    """Others would start anew in each call: a thread that prepares images is a new one each time."""
    threads = []
    ahead = prepare.map_ahead

    def seen(*arguments, **options):
        threads.append(threading.current_thread())
        return ahead(*arguments, **options)

    monkeypatch.setattr(prepare, "map_ahead", seen)
    described(tissue, SETTINGS, True, helpers=2)
    assert threads == [threading.current_thread()]


def test_processes_ahead_change_nothing(tissue, tmp_path):
    expected = described(tissue, SETTINGS, True, count=5)
    found = described(tissue, SETTINGS, True, count=5, helpers=2)
    crop_by_crop = described(tissue, SETTINGS, False, count=5, helpers=2)
    for a, b, c in zip(expected, found, crop_by_crop, strict=True):
        assert a.record == b.record == c.record
        assert (a.stain.tissue, a.stain.residual) == (b.stain.tissue, b.stain.residual)
        for name, values in a.features.items():
            np.testing.assert_array_equal(b.features[name], values)
            assert_same_descriptors(c.features[name], values)


@pytest.mark.parametrize(("on_device", "cores"), [(True, 1), (True, 2), (False, 1), (False, 2)])
def test_an_error_comes_in_its_place(tissue, tmp_path, monkeypatch, on_device, cores):
    monkeypatch.setenv("BCHISTO_CORES", str(cores))
    broken = tmp_path / "images" / "broken.png"
    broken.parent.mkdir()
    broken.write_bytes(b"no image")
    paths = sorted(tissue.rglob("*.png"))[:4]
    records = [
        ImageRecord(image_id=p.name, path=p, label=None) for p in [*paths[:3], broken, paths[3]]
    ]
    (counts := tmp_path / "counts").mkdir()
    show_gpus(monkeypatch, on_device)
    options = {
        "settings": SETTINGS,
        "targets": {"a": (Encoder("convs", weights="random"), SETTINGS.views[0])},
        "ticker": Ticker(counts),
        "helpers": cores,
    }
    items = describe_images(records, **options)
    assert [next(items).record.image_id for _ in range(3)] == [path.name for path in paths[:3]]
    with pytest.raises(ImageError, match=r"broken\.png: not a TIFF, PNG or JPEG image"):
        next(items)
    assert Ticker(counts).read()[0] == 3 * SETTINGS.augmentations
    whole = list(describe_images(records, **options, skip_errors=True))
    assert [type(item).__name__ for item in whole] == ["ImageDescriptors"] * 3 + [
        "ImageFailure",
        "ImageDescriptors",
    ]
