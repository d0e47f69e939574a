"""What stage 1 is made of, each by itself: crops of a normalised image, the writer of feature files, and packs."""

import contextlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from bchisto.core import OutputError, StoreError
from bchisto.core.jobs import Work
from bchisto.data import FINGERPRINT, ImageRecord
from bchisto.data.images import copies
from bchisto.encoders import EncoderChoice
from bchisto.featurize import (
    ImageFailure,
    View,
    crop_boxes,
    cut_crop,
    draw_augmentation,
    featurize,
    open_store,
)
from bchisto.featurize.crops import pad_image
from bchisto.featurize.prepare import NormalisedImage, StainInfo, prepare_crops
from bchisto.featurize.store import stain_columns, write_store
from bchisto.featurize.stream import ImageDescriptors
from bchisto.featurize.units import RowReader, keep, pack_path, read_kept
from bchisto.stains import augment_he
from numpy.testing import assert_allclose, assert_array_equal
from written_tables import read_json

RECORDS = [
    ImageRecord(image_id=name, path=None, label=label, mpp=mpp)
    for name, label, mpp in (("a.png", "x", 0.5), ("b.png", None, None), ("c.png", "y", 0.25))
]


def stain(number):
    vectors = None if number == 1 else np.full((3, 2), number / 8)
    facts = {
        "skipped": number == 1,
        "pixels": f"{number:064x}",
        "fingerprint": np.full(FINGERPRINT, number, np.float16),
    }
    return StainInfo(vectors, tissue=number / 4, residual=float("nan"), **facts)


def test_no_image_is_decoded_twice(tissue, tiny_settings, tmp_path, monkeypatch):
    # near-duplicates take what features have decoded
    monkeypatch.setattr(copies, "decode_record", None)
    (store,) = featurize(tissue, out=tmp_path, settings=tiny_settings, work=Work(jobs=2)).stores
    assert read_json(store.parent / "dataset.json")["copies"] == []


# ---- prepare_crops


@pytest.mark.parametrize(
    ("mode", "pad"), [("exact", "none"), ("exact", "reflect"), ("dense", "none")]
)
def test_crops_of_a_normalised_image(tiny_settings, he_image, mode, pad):
    """By hand: the colours of each augmentation, padded, turned, and cut at its own places."""
    views = [View(1.0, 64), View(0.5, 96 if pad == "none" else 200)]
    choice = EncoderChoice("convs" if mode == "dense" else "tiny")
    settings = replace(
        tiny_settings, encoders=(choice,), mode=mode, pad=pad, views=views, augmentations=3, seed=5
    )
    scales = {views[0].level: he_image, views[1].level: he_image[::2, ::2].copy()}
    failure = ImageFailure(RECORDS[1], "why")
    images = [NormalisedImage(4, scales, stain(2), "key"), failure]
    *found, last = prepare_crops(images, settings=settings, views=views)
    assert last is failure
    assert [(item.image, item.augmentation, item.stain.tissue) for item in found] == [
        (4, n, 0.5) for n in range(3)
    ]
    for item in found:
        drawn = draw_augmentation(
            "key", item.augmentation, seed=5, color_range=settings.color_range
        )
        for view in views:
            pixels = augment_he(
                scales[view.level], hematoxylin=drawn.hematoxylin, eosin=drawn.eosin
            )
            pixels = drawn.turn_frame(pixels) if mode == "dense" else pixels
            shown = pixels if pad == "none" else pad_image(pixels, crop=view.crop)
            height, width = shown.shape[:2]
            boxes = crop_boxes(drawn, height=height, width=width, crop=view.crop, count=3)
            if mode == "dense":
                assert_array_equal(item.frames[view.level], pixels)
                ends = [
                    [box.top, box.left, box.top + view.crop, box.left + view.crop] for box in boxes
                ]
                assert item.windows[view].tolist() == ends
                assert not item.crops
            else:
                expected = [cut_crop(shown, box, crop=view.crop) for box in boxes]
                assert_array_equal(item.crops[view], expected)
                assert not item.frames
    assert len({tuple(map(bytes, (item.crops or item.frames).values())) for item in found}) == 3


# ---- packs, and the writer of feature files


@pytest.fixture
def few(rng):
    """Descriptors of two images and a failure, by key, with two rows of four numbers in each of two feature files."""
    features = [
        {name: rng.normal(size=(2, 4)).astype(np.float32) for name in ("s", "other")}
        for _ in range(3)
    ]
    images = [ImageDescriptors(record, stain(n), features[n]) for n, record in enumerate(RECORDS)]
    return {
        f"{n:064x}": ImageFailure(RECORDS[1], "why") if n == 1 else image
        for n, image in enumerate(images)
    }


def test_a_pack_gives_back_rows_columns_and_failures_of_its_file(few, tmp_path):
    plan = {"name": "s", "augmentations": 2, "dim": 4, "parts": SimpleNamespace(folder=tmp_path)}
    keep(SimpleNamespace(**plan), few)
    path = pack_path(tmp_path, list(few)[::-1])  # the name follows from the keys in any order
    pack = read_kept(path, SimpleNamespace(**plan))
    images = {key: image for key, image in few.items() if isinstance(image, ImageDescriptors)}
    assert (pack.keys, pack.failures) == (tuple(images), {f"{1:064x}": "why"})
    assert_array_equal(pack.features, [image.features["s"] for image in images.values()])
    assert_allclose(pack.columns["tissue"], [0, 0.5])
    reader = RowReader(dict.fromkeys(images, path), SimpleNamespace(**plan))
    read = reader.read(list(images)[::-1])
    places = [(place, rows.tolist()) for place, (rows, _) in read]
    prints = {key: kept.max() for key, kept in reader.fingerprints.items()}
    assert prints == {f"{n:064x}": n for n in (0, 2)}
    assert places == [(0, [image.features["s"].tolist() for image in list(images.values())[::-1]])]
    for other in ({"augmentations": 3}, {"dim": 5}):
        assert read_kept(path, SimpleNamespace(**plan | other)) is None


@pytest.mark.parametrize("fails", [False, True])
def test_a_file_is_written_in_pieces_and_read_back(described, tmp_path, rng, fails):
    """Pieces come in any order; what an error leaves is the earlier file."""
    with open_store(described / "features" / "tiny-1.0-64.h5") as store:
        settings, header = store.settings, store.header
    origin = {
        name: value for name, value in header.items() if name not in settings and name != "failures"
    }
    rows, columns = (
        rng.normal(size=(3, 2, 16)).astype(np.float32),
        stain_columns([stain(n) for n in range(3)]),
    )
    path = tmp_path / "x.h5"
    path.write_bytes(b"earlier")

    def pieces():
        for first, last in ((2, 3), (0, 2)):
            yield (
                first,
                (rows[first:last], {name: cells[first:last] for name, cells in columns.items()}),
            )
            if fails:
                raise OSError(28, "No space left on device")

    with (
        pytest.raises(OutputError, match=r"x\.h5: cannot be written")
        if fails
        else contextlib.nullcontext()
    ):
        write_store(
            path,
            RECORDS,
            pieces(),
            keys={record.image_id: f"{n:064x}" for n, record in enumerate(RECORDS)},
            contents=dict.fromkeys(("a.png", "b.png", "c.png"), "0" * 64),
            settings=settings,
            origin=origin,
            dim=16,
            failures=[("d.png", "why")],
        )
    assert list(tmp_path.iterdir()) == [path]
    if fails:
        assert path.read_bytes() == b"earlier"
        return
    with open_store(path) as store:
        assert (store.image_ids, store.labels, store.augmentations) == (
            ["a.png", "b.png", "c.png"],
            ["x", "", "y"],
            2,
        )
        assert_array_equal(store.features(), rows)
        assert [*store.keys.values()] == [f"{n:064x}" for n in range(3)]
        assert store.images("normalisation_skipped").tolist() == [False, True, False]
        assert_array_equal(store.images("stains"), columns["stains"])
        assert_array_equal(store.images("look")[:, 3], [0.5, np.nan, 0.25])
        assert dict(store.header["failures"]) == {"d.png": "why"}
    content = bytearray(path.read_bytes())
    content[content.index(rows[1].tobytes()) + 5] ^= (
        1  # another number, which only the checksum tells
    )
    path.write_bytes(content)
    with open_store(path) as store, pytest.raises(StoreError, match="x.h5: damaged"):
        store.features()
