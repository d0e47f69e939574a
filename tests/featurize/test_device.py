"""The road that a GPU takes, run here on the CPU by every backend: the same descriptors as crop by crop.

No GPU is at hand where these tests run; they hold the arithmetic, not the speed.
"""

import dataclasses
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from bchisto.core import ImageError
from bchisto.core.jobs import Ticker
from bchisto.data import ImageRecord, make_tissue
from bchisto.encoders import Encoder
from bchisto.featurize import FeaturizeSettings, describe_images, prepare
from bchisto.featurize.crops import Crop, cut_crop
from bchisto.featurize.device import padded_length, pixel_map
from bchisto.featurize.stream import why_on_cpu
from bchisto.stains import HeAugmenter, augment_he
from conftest import assert_same_descriptors, need_extra, seen_gpus
from PIL import Image
from refusals import refuses

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
    offset, by_row, by_column = pixel_map(box, sides=(16, 16), width=50)
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


@pytest.fixture(scope="module")
def one_target():
    return {"a": (Encoder("convs", weights="random"), SETTINGS.views[0])}


def described(tissue, settings, on_device, count=3, helpers=1, started=None, **targets):
    """Describe images, and check that the device described each of them, or `started`, or none."""
    encoder = Encoder("convs", weights="random")
    targets = targets or {
        **{f"{view.scale}-{view.crop}": (encoder, view) for view in settings.views},
        "again": (Encoder("convs", weights="random", seed=1), settings.views[0]),
    }
    records = [
        ImageRecord(image_id=p.name, path=p, label=None)
        for p in sorted(tissue.rglob("*.png"))[:count]
    ]
    with seen_gpus(on_device) as counts:
        items = list(
            describe_images(
                records,
                settings=settings,
                targets=targets,
                ticker=Ticker(None),
                helpers=helpers,
            )
        )
    expected = len(records) if started is None else started
    assert counts == {"started": expected * on_device}
    return items


def write_sizes(folder, sizes):
    """Write an image of each height and width; return the folder."""
    for number, (height, width) in enumerate(sizes):
        pixels = make_tissue("Benign", seed=0, index=number, size=(width, height))
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def oblong(tmp_path_factory):
    """Images of which two are wider than high."""
    folder = tmp_path_factory.mktemp("oblong")
    return write_sizes(folder, [(80, 100), (80, 100), (96, 96)])


TESTS = Path(__file__).resolve().parents[1]

COLOURLESS = {"color_range": (1.0, 1.0), "stain": "none"}


@pytest.mark.parametrize(
    ("changes", "exact"),
    [
        (COLOURLESS, True),
        ({"batch_size": 1, "pool": 1.0}, False),
        ({"mode": "dense", "views": ("1.0:64",)}, False),
        pytest.param(
            {"mode": "dense", "augmentations": 16, "batch_size": 40, **COLOURLESS},
            True,
            marks=pytest.mark.slow,
        ),
        ({"mode": "dense", "crops": "grid", **COLOURLESS}, True),
        pytest.param(
            {"mode": "dense", "augmentations": 1, **COLOURLESS}, True, marks=pytest.mark.slow
        ),
    ],
)
def test_descriptors_equal_those_of_the_cpu_road(oblong, changes, exact):
    settings = dataclasses.replace(SETTINGS, **changes)
    for a, b in zip(
        described(oblong, settings, False), described(oblong, settings, True), strict=True
    ):
        assert a.record == b.record
        names = {"again", *(f"{view.scale}-{view.crop}" for view in settings.views)}
        assert set(a.features) == set(b.features) == names
        for name, expected in a.features.items():
            assert expected.shape == (settings.augmentations, 16)
            assert_same_descriptors(b.features[name], expected)
            if exact:
                np.testing.assert_allclose(
                    b.features[name], expected, rtol=0, atol=1e-5 * expected.max()
                )


@pytest.mark.parametrize(
    ("changes", "gpus", "reason"),
    [
        ({}, False, "Keras uses no GPU"),
        ({"crops": "grid"}, True, "a grid has another number of crops for each size of images"),
        ({"engine": "openvino"}, True, "openvino runs convs"),
    ],
)
def test_why_a_device_is_not_used(changes, gpus, reason):
    settings = dataclasses.replace(SETTINGS, **changes)
    encoder = Encoder("convs", weights="random")
    encoder.engine = changes.get("engine", "keras")
    with seen_gpus(gpus):
        assert why_on_cpu(settings, [encoder]) == reason


def test_frames_of_few_sizes_are_compiled(one_target, tmp_path, caplog):
    write_sizes(tmp_path, [(70, 90), (80, 90), (90, 70), (80, 80), (80, 90)])
    settings = dataclasses.replace(SETTINGS, mode="dense", **COLOURLESS)
    caplog.set_level("INFO")
    options = {"count": 5, "started": 4, **one_target}
    rows, expected = (described(tmp_path, settings, where, **options) for where in (True, False))
    text = "frames of more than 4 shapes: images of others take the slower way of the CPU"
    assert caplog.text.count(text) == 1
    for a, b in zip(rows, expected, strict=True):
        largest = b.features["a"].max()
        np.testing.assert_allclose(a.features["a"], b.features["a"], rtol=0, atol=1e-5 * largest)


ALONE_AND_TOGETHER = """
import sys
import numpy as np
from bchisto.encoders import Encoder
from bchisto.featurize.device import cached_describer
from bchisto.featurize import FeaturizeSettings, View, draw_augmentation

settings = FeaturizeSettings(views=(View(1.0, 64),), augmentations=1, crops=2)
(view,) = settings.views
encoders = {str(seed): (Encoder("mobilenetv2", weights="random", seed=seed), view) for seed in (0, 1)}
images = {view.level: np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)}
drawn = [draw_augmentation("a", 0, seed=0, color_range=(0.8, 1.2))]
together = cached_describer(tuple(encoders.items()), settings).start(images, drawn)()
for name, target in encoders.items():
    alone = cached_describer(((name, target),), settings).start(images, drawn)()
    np.testing.assert_array_equal(together[name], alone[name])
"""


def test_encoders_of_pytorch_do_not_change_each_others_crops():
    need_extra("torch")
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
            windows=[[1]],
            sides=(1, 1),
            settings=FeaturizeSettings(pool=1.0),
        ),
        [("uint8", (None, 3)), ("float32", (1, 3, 3)), ("int64", (1, 1, 3))],
        [],
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


def test_processes_ahead_are_those_of_the_thread_that_calls(tissue, one_target, monkeypatch):
    """Others would start anew in each call: a thread that prepares images is a new one each time."""
    threads = []
    ahead = prepare.map_ahead

    def seen(*arguments, **options):
        threads.append(threading.current_thread())
        return ahead(*arguments, **options)

    monkeypatch.setattr(prepare, "map_ahead", seen)
    described(tissue, SETTINGS, True, helpers=2, **one_target)
    assert threads == [threading.current_thread()]


def test_processes_ahead_change_nothing(tissue, one_target):
    expected = described(tissue, SETTINGS, True, **one_target)
    found = described(tissue, SETTINGS, True, helpers=2, **one_target)
    crop_by_crop = described(tissue, SETTINGS, False, helpers=2, **one_target)
    for a, b, c in zip(expected, found, crop_by_crop, strict=True):
        assert a.record == b.record == c.record
        assert (a.stain.tissue, a.stain.residual) == (b.stain.tissue, b.stain.residual)
        for name, values in a.features.items():
            np.testing.assert_array_equal(b.features[name], values)
            assert_same_descriptors(c.features[name], values)


@pytest.mark.parametrize(("on_device", "cores"), [(True, 2), (False, 1), (False, 2)])
def test_an_error_comes_in_its_place(tissue, one_target, tmp_path, monkeypatch, on_device, cores):
    monkeypatch.setenv("BCHISTO_CORES", str(cores))
    broken = tmp_path / "images" / "broken.png"
    broken.parent.mkdir()
    broken.write_bytes(b"no image")
    paths = sorted(tissue.rglob("*.png"))[:4]
    records = [
        ImageRecord(image_id=p.name, path=p, label=None) for p in [*paths[:3], broken, paths[3]]
    ]
    (counts := tmp_path / "counts").mkdir()
    options = {
        "settings": SETTINGS,
        "targets": one_target,
        "ticker": Ticker(counts),
        "helpers": cores,
    }
    with seen_gpus(on_device):
        items = describe_images(records, **options)
        assert [next(items).record.image_id for _ in range(3)] == [path.name for path in paths[:3]]
        refuses(ImageError, r"broken\.png: not a TIFF, PNG or JPEG image", next, items)
        assert Ticker(counts).read()[0] == 3 * SETTINGS.augmentations
        whole = list(describe_images(records, **options, skip_errors=True))
    assert [type(item).__name__ for item in whole] == ["ImageDescriptors"] * 3 + [
        "ImageFailure",
        "ImageDescriptors",
    ]


SAME_NETWORKS = """
import sys
sys.path.insert(0, "tests")
from pathlib import Path
from unittest import mock
import numpy as np
from bchisto.core.jobs import Ticker
from bchisto.data import ImageRecord
from bchisto.encoders import FOLDED, Encoder
from bchisto.featurize import FeaturizeSettings, View, describe_images

records = [ImageRecord("0.png", Path(sys.argv[1]) / "0.png", None)]
view = View(1.0, 80)

def described(encoder, on_device, mode="exact", colours=(0.7, 1.3)):
    settings = FeaturizeSettings(
        views=(view,), augmentations=1, crops=2, mode=mode, color_range=colours
    )
    gpus = ("0",) * on_device
    with mock.patch("bchisto.featurize.stream.visible_gpus", return_value=gpus):
        options = {"settings": settings, "targets": {"a": (encoder, view)}, "ticker": Ticker(None)}
        (item,) = describe_images(records, **options)
    return item.features["a"]

for name in sorted(FOLDED):
    encoder = Encoder(name, weights="random")
    for mode in ("exact", "dense"):
        bounds = {(1.0, 1.0): 2e-5}
        if name == "mobilenetv2":
            # a pixel that differs by a grey level is all that colours change; it moves this network most
            bounds[0.7, 1.3] = 5e-3
        for colours, most in bounds.items():
            a, b = (described(encoder, where, mode, colours) for where in (True, False))
            assert np.linalg.norm(a - b) <= most * np.linalg.norm(b), (name, mode, colours)
encoder = Encoder("mobilenetv2", weights="random")
expected = described(encoder, False)
scale = encoder.float16_scale(np.full((1, 80, 80, 3), 255, np.uint8))
too_large = described(encoder.in_float16(scale * 2.0**30), True)
np.testing.assert_array_equal(too_large, expected)
error = np.linalg.norm(described(encoder.in_float16(scale), True) - expected)
assert 1e-5 < error / np.linalg.norm(expected) < 2e-2
"""


@pytest.mark.slow
def test_folded_networks_on_the_device_of_jax(oblong):
    need_extra("jax")
    subprocess.run(
        [sys.executable, "-c", SAME_NETWORKS, oblong],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        check=True,
        timeout=600,
        cwd=TESTS.parent,
    )
