"""Masses turned within their mammogram: shape, neighbours and interpolation against an implementation by hand."""

import math
import shutil
from dataclasses import replace

import cv2
import miniatures
import numpy as np
import pytest
from bchisto.apps.recipes.estimate import time_training
from bchisto.core.jobs import Work
from bchisto.data import decode_whole, read_dataset
from bchisto.finetune import FinetuneSettings, ImageBank, PatchRule, finetune, images
from bchisto.finetune.batches import Source, still_batches, training_batches
from bchisto.finetune.images import prepare_images
from bchisto.finetune.samples import cut_region, make_turner
from scipy import ndimage


def as_it_is(pixels):
    return pixels


def mammogram(height=600, width=500, seed=0, smooth=6):
    """Smooth grey tissue without any symmetry."""
    noise = np.random.default_rng(seed).random((height, width))
    field = ndimage.gaussian_filter(noise, smooth)
    field = (field - field.min()) / np.ptp(field) * 255
    return np.repeat(field.astype(np.uint8)[:, :, np.newaxis], 3, axis=2)


def by_hand(image, middle, side, *, angle, share, shift, size):
    """Turn, cut and resize in complex numbers: every pixel of the result looked up once in the whole mammogram."""
    cut = side * math.sqrt(share)
    places = (np.arange(size) + 0.5) / size * cut - cut / 2
    from_middle = (places[np.newaxis] + (side - cut) / 2 * shift[0]) + 1j * (
        places[:, np.newaxis] + (side - cut) / 2 * shift[1]
    )
    found = from_middle * np.exp(1j * np.radians(angle)) + complex(*middle)
    rows, columns = found.imag - 0.5, found.real - 0.5
    return ndimage.map_coordinates(
        image[..., 0].astype(float), [rows, columns], order=1, mode="mirror"
    )


DRAWS = [
    {"angle": 0.0, "share": 1.0, "shift": (0.0, 0.0)},
    {"angle": 37.0, "share": 1.0, "shift": (0.0, 0.0)},
    {"angle": -128.0, "share": 0.7, "shift": (1.0, -1.0)},
    {"angle": 90.0, "share": 0.85, "shift": (-0.4, 0.7)},
]


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize(
    "box",
    [
        (180, 200, 300, 320),
        (200, 150, 290, 350),
        (0, 30, 110, 150),
        (380, 470, 500, 600),
        (3, 4, 20, 40),
    ],
)
def test_one_interpolation_of_the_true_mammogram(box, draw):
    """Also the corners, which lie outside the box; at the edge of the mammogram they are mirrored."""
    image = mammogram()
    side = math.sqrt((box[2] - box[0]) * (box[3] - box[1]))
    region = cut_region(image, box, size=96, treat=as_it_is)
    middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    expected = by_hand(image, middle, side, **draw, size=96)
    found = region.turned(**draw, size=96)
    assert found.shape == (96, 96, 3)
    assert found.dtype == np.uint8
    difference = np.abs(found[..., 0] - expected)
    assert difference.max() < 2  # OpenCV weighs neighbours by 32nds
    assert difference.mean() < 0.4
    np.testing.assert_array_equal(found, np.repeat(found[..., :1], 3, axis=2))


def shape_of(picture):
    """Return area and the ratio of the axes of what is bright."""
    weights = np.clip(picture[..., 0].astype(float) - 60, 0, None)
    rows, columns = np.indices(weights.shape)
    y, x = (axis - (weights * axis).sum() / weights.sum() for axis in (rows, columns))
    moments = [[(weights * a * b).sum() / weights.sum() for a in (x, y)] for b in (x, y)]
    short, long = np.linalg.eigvalsh(moments)
    return weights.sum() / weights.max(), math.sqrt(long / short)


@pytest.mark.parametrize("angle", [0.0, 20.0, 45.0, 90.0, 133.0])
def test_a_disc_stays_a_disc(angle):
    """Though its box is twice as wide as high; squeezed first, as 0.1 had it, the axes are 2 to 1."""
    rows, columns = np.indices((500, 600))
    disc = ((rows - 250) ** 2 + (columns - 300) ** 2 < 40**2) * 200 + 40
    image = np.repeat(disc.astype(np.uint8)[..., None], 3, axis=2)
    box = (180, 190, 420, 310)
    found = cut_region(image, box, size=128, treat=as_it_is).turned(
        angle=angle, share=1.0, shift=(0, 0), size=128
    )
    area, ratio = shape_of(found)
    assert ratio == pytest.approx(1.0, abs=0.02)
    assert area == pytest.approx(math.pi * 40**2 * 128**2 / (240 * 120), rel=0.02)
    squeezed = cv2.resize(
        image[box[1] : box[3], box[0] : box[2]], (128, 128), interpolation=cv2.INTER_AREA
    )
    assert shape_of(squeezed)[1] == pytest.approx(2.0, abs=0.05)


def test_large_masses_are_reduced_once_by_a_whole_factor():
    image = mammogram(900, 1200, seed=3, smooth=30)
    box = (300, 150, 850, 720)  # a square of 560 pixels: 8 times 64, and a little
    region = cut_region(image, box, size=64, treat=as_it_is)
    assert 64 <= region.side < 128
    assert region.pixels.nbytes <= 24 * 64**2
    assert region.side == pytest.approx(math.sqrt(550 * 570) / 8)
    draw = {"angle": 61.0, "share": 0.8, "shift": (0.3, -0.9)}
    # in tissue as smooth as this, means of 8 by 8 pixels are nearly the pixels themselves
    expected = by_hand(image, (575.0, 435.0), math.sqrt(550 * 570), **draw, size=64)
    assert np.abs(region.turned(**draw, size=64)[..., 0] - expected).max() < 3
    small = cut_region(image, (300, 150, 427, 277), size=64, treat=as_it_is)
    assert small.side == 127  # full resolution below twice the size of the network


def test_five_rotations_by_five_crops():
    """Crops of a rotation share its angle, copies are the same in every epoch, angles are any."""
    columns = np.repeat(np.arange(400, dtype=float)[None] * 0.6, 400, axis=0)
    image = np.repeat(columns.astype(np.uint8)[..., None], 3, axis=2)  # brighter to the right
    region = cut_region(image, (150, 150, 250, 250), size=64, treat=as_it_is)
    turn = make_turner(size=64, crops=5, seed=1)

    def angle(picture):
        down, right = np.gradient(picture[..., 0].astype(float))
        return math.atan2(down.mean(), right.mean())

    angles = np.array([angle(turn(region, 9, copy)) for copy in range(100)]).reshape(20, 5)
    assert np.ptp(angles, axis=1).max() < 0.05
    assert np.unique((angles[:, 0] // (math.pi / 2)).astype(int)).size == 4
    np.testing.assert_array_equal(
        turn(region, 9, 7), make_turner(size=64, crops=5, seed=1)(region, 9, 7)
    )
    assert len({turn(region, 9, copy).tobytes() for copy in range(25)}) == 25
    assert not np.array_equal(turn(region, 9, 7), turn(region, 10, 7))


@pytest.fixture(scope="module")
def masses(tmp_path_factory):
    root = tmp_path_factory.mktemp("masses") / "DDSM"
    for number in range(4):
        mark = (miniatures.MASS, ("BENIGN", "MALIGNANT")[number % 2], [miniatures.SQUARE])
        miniatures.write_ddsm(
            root / f"case{number}",
            f"B-{number:04d}-1",
            {"LEFT_CC": miniatures.overlay(mark)},
            seed=number,
            shape=(160, 120),
        )
    return root


def records_of(masses):
    return read_dataset(masses, context="large").records


def prepared(masses, folder, *, turned=False):
    settings = FinetuneSettings(
        "speck", size=32, augmentations=("rotations-crops",) if turned else ()
    )
    return prepare_images(records_of(masses), settings, digest="d", folder=folder)[0]


def test_what_validates_and_tests_is_as_before(masses, tmp_path):
    """The context itself, resized once: with regions and without, bit by bit."""
    plain, turned = prepared(masses, tmp_path / "a"), prepared(masses, tmp_path / "b", turned=True)
    bare, bank = ImageBank.open(plain), ImageBank.open(turned)
    assert [found.index["region_height"].any() for found in (bare, bank)] == [False, True]
    for position in range(4):
        np.testing.assert_array_equal(bare.picture(position), bank.picture(position))
    source = Source(bank, np.zeros(4, dtype=np.int64), PatchRule(), 32, 0, 4)
    found = still_batches(source, source.samples(np.arange(4)))[0][0]
    for record, picture in zip(records_of(masses), found, strict=True):
        whole, (left, top, right, bottom) = decode_whole(record)
        assert whole.shape[:2] == (160, 120)
        context = whole[top:bottom, left:right]
        expected = cv2.resize(context, (32, 32), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(picture, expected)


def test_training_turns_within_the_mammogram(masses, tmp_path):
    bank = ImageBank.open(prepared(masses, tmp_path, turned=True))
    source = Source(bank, np.zeros(4, dtype=np.int64), PatchRule(), 32, 5, 100)
    samples = source.samples(np.arange(4), copies=4)
    make = training_batches(source, samples, augmentations=("rotations-crops",), crops=2)
    first, second = (sorted(one.tobytes() for one in make(epoch)[0][0]) for epoch in (0, 1))
    assert first == second
    turn = make_turner(size=32, crops=2, seed=5)
    expected = []
    for place, record in enumerate(records_of(masses)):
        region = cut_region(*decode_whole(record), size=32, treat=as_it_is)
        expected += [turn(region, bank.key(place), copy).tobytes() for copy in range(4)]
    assert first == sorted(expected)


def test_regions_are_kept_and_made_anew_where_damaged(masses, tmp_path, monkeypatch):
    path = prepared(masses, tmp_path, turned=True)
    whole = path.read_bytes()
    monkeypatch.setattr(images, "decode_whole", None)
    assert prepared(masses, tmp_path, turned=True) == path  # nothing is decoded
    monkeypatch.undo()
    path.write_bytes(whole[:-7])
    prepared(masses, tmp_path, turned=True)
    assert path.read_bytes() == whole
    path.with_suffix(".npy").unlink()
    prepared(masses, tmp_path, turned=True)
    assert path.read_bytes() == whole


def test_an_image_that_cannot_be_used_has_an_empty_place(masses, tmp_path):
    root = shutil.copytree(masses, tmp_path / "DDSM")
    (broken,) = (root / "case1").glob("*.LJPEG")
    broken.write_bytes(broken.read_bytes()[:900])
    settings = FinetuneSettings(
        "speck",
        size=32,
        epochs=1,
        batch_size=2,
        validation=False,
        augmentations=("rotations-crops",),
        crops=2,
    )
    finetune(
        root,
        out=tmp_path / "run",
        settings=settings,
        folds="none",
        work=Work(jobs=1, skip_errors=True),
    )
    (path,) = (tmp_path / "run" / "finetune").glob("images-*.bin")
    index = ImageBank.open(path).index
    assert (
        (index["region_height"] == 0).tolist()
        == (index["height"] == 0).tolist()
        == [False, True, False, False]
    )


def test_what_a_plan_times_is_what_is_trained(masses):
    record = records_of(masses)[0]
    plain = FinetuneSettings("speck", size=32, augmentations=(), batch_size=2)
    turned = replace(plain, augmentations=("rotations-crops",), crops=2)
    costs = [time_training(record, settings=settings, classes=2) for settings in (plain, turned)]
    region = cut_region(*decode_whole(record), size=32, treat=as_it_is)
    assert costs[1].image_bytes - costs[0].image_bytes == region.pixels.nbytes
    assert [cost.samples for cost in costs] == [1, 10]
