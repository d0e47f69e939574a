import json
import os
import shutil
from dataclasses import replace

import bchisto.featurize.settings as settings_module
import numpy as np
import pytest
from bchisto.core import ImageError, InputError, SettingsConflictError, TissueError, WeightsError
from bchisto.core.jobs import Shard, Work
from bchisto.data import ImageSelection, decode_image, read_dataset, unique_images
from bchisto.encoders import EncoderChoice, cached_encoder, open_encoder
from bchisto.featurize import View, crop_boxes, cut_crop, draw_augmentation, featurize, open_store
from bchisto.stains import MacenkoNormalizer, augment_he
from bchisto_tiny import tiny_weights
from numpy.testing import assert_allclose, assert_array_equal
from packs import featurize_here
from PIL import Image
from refusals import refuses
from written_tables import read_json

STORE = "features/tiny-1.0-64.h5"


def features(run, store=STORE):
    with open_store(run / store) as opened:
        return opened.features()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of two images, so that twelve images make six units."""
    monkeypatch.setattr(settings_module, "_MOST_IMAGES", 2)


def test_descriptors_equal_an_independent_recomputation(described, tissue):
    """Decode, normalise, augment and crop by hand; numpy's norm."""
    encoder = open_encoder(EncoderChoice("tiny"), weights="random")
    found = features(described)
    for place, record in enumerate(read_dataset(tissue).records[:4]):
        image = MacenkoNormalizer().normalize(decode_image(record.path))
        for number in range(2):
            drawn = draw_augmentation(record.image_id, number, seed=0, color_range=(0.7, 1.3))
            coloured = augment_he(image, hematoxylin=drawn.hematoxylin, eosin=drawn.eosin)
            boxes = crop_boxes(drawn, height=96, width=96, crop=64, count=3)
            d = np.concatenate(
                [encoder.encode(cut_crop(coloured, box, crop=64)[None]) for box in boxes]
            )
            expected = np.linalg.norm(d, ord=3, axis=0) / 3 ** (1 / 3)
            assert_allclose(found[place, number], expected, rtol=1e-4, atol=1e-6)


def test_a_part_with_values_that_are_not_finite_is_done_again(
    described, tissue, tiny_settings, tmp_path, caplog
):
    featurize(tissue, out=tmp_path, settings=tiny_settings, work=Work(jobs=1, shard=Shard(1, 1)))
    part = sorted((tmp_path / "features" / "tiny-1.0-64.parts").glob("*.npz"))[1]
    arrays = dict(np.load(part))
    arrays["features"][0, 0, 0] = np.nan
    np.savez(part, **arrays)
    featurize_here(tissue, tmp_path, tiny_settings)
    assert "not finite" in caplog.text
    assert_array_equal(features(tmp_path), features(described))


def test_a_second_view_does_not_change_the_first(tissue, tiny_settings, described, tmp_path):
    both = replace(tiny_settings, views=(View(1.0, 48), View(1.0, 64)))
    featurize_here(tissue, tmp_path, both)
    assert_array_equal(features(tmp_path), features(described))
    assert features(tmp_path, "features/tiny-1.0-48.h5").shape == (12, 2, 16)


def test_layers_that_are_not_the_default_get_a_name_of_their_own(tissue, tiny_settings, tmp_path):
    inner = replace(tiny_settings, encoders=(EncoderChoice("tiny", ("middle",)),))
    (store,) = featurize_here(tissue, tmp_path, inner).stores
    assert store.name.startswith("tiny-1.0-64-")
    assert len(store.stem.rpartition("-")[2]) == 8
    with open_store(store) as opened:
        assert (opened.header["layers"], opened.dim) == (["middle"], 12)


@pytest.fixture
def images(tissue, tmp_path):
    return shutil.copytree(tissue, tmp_path / "images")


def test_a_blank_image_can_be_an_error(images, tiny_settings, tmp_path):
    Image.new("RGB", (96, 96), (255, 255, 255)).save(images / "benign" / "blank.png")
    strict = replace(tiny_settings, stain_fallback="error")
    with pytest.raises(TissueError, match=r'blank\.png: too little .*; use `stain_fallback="skip'):
        featurize_here(images, tmp_path / "run", strict)


def test_descriptors_that_are_not_finite_name_the_image(
    images, tiny_settings, tmp_path, monkeypatch
):
    encoder = cached_encoder(
        EncoderChoice("tiny"), weights="random", precision="float32", engine="keras", seed=0
    )
    calls = []  # four of them measure the time of an image

    def broken(crops):
        calls.append(1)
        return np.full((len(crops), 16), np.nan if len(calls) > 6 else 1.0, np.float32)

    monkeypatch.setattr(encoder, "encode", broken)
    with pytest.raises(
        ImageError, match=r"benign01\.png: its features of tiny-1\.0-64 are not finite"
    ):
        featurize_here(images, tmp_path / "run", tiny_settings)


def test_only_the_listed_images(tissue, tmp_path, tiny_settings):
    wanted = ["benign/benign01.png", "malignant/malignant03.png"]
    listed = tmp_path / "only.csv"
    listed.write_text("image_id\n" + "\n".join(wanted) + "\n")
    chosen, options = (
        ImageSelection(tissue, only=listed),
        {"settings": tiny_settings, "work": Work(jobs=1)},
    )
    result = featurize(chosen, out=tmp_path / "run", **options)
    with open_store(result.stores[0]) as store:
        assert store.image_ids == wanted
    for content, message in [
        (None, "no such file"),
        (b"where\nx\n", "must have a column `image_id`"),
        (b"image_id\nabsent.png\n", "1 of its 1 images are missing, first absent.png"),
        (b"image_id\n", "lists no image"),
        (b"image_id\n\xff\n", "not a UTF-8 CSV file"),
    ]:
        listed.unlink(missing_ok=True)
        if content is not None:
            listed.write_bytes(content)
        refuses(InputError, message, featurize, chosen, out=tmp_path / "other", **options)


def test_images_renamed_between_runs_are_hashed_again(images, tiny_settings, tmp_path):
    """Two files of one size and one time of content change places: unpacked archives are like that."""
    first, second = images / "benign" / "benign00.png", images / "benign" / "benign01.png"
    folder = tmp_path / "run" / "features"
    folder.mkdir(parents=True)

    def hashes():
        return unique_images(read_dataset(images), cache=folder / "images.csv").sha256

    size = max(first.stat().st_size, second.stat().st_size)
    for path in (first, second):
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))
        os.utime(path, ns=(10**18, 10**18))
    before = hashes()
    first.rename(images / "x")
    second.rename(first)
    (images / "x").rename(second)
    after = hashes()
    names = "benign/benign00.png", "benign/benign01.png"
    assert [before[name] for name in names] == [after[name] for name in reversed(names)]


def _weights_file(path, seed):
    """Write weights over a file without changing its inode, size or time of content."""
    stamp = path.stat().st_mtime_ns if path.exists() else None
    made = path.with_name(f"seed{seed}.weights.h5")
    tiny_weights(made, seed=seed)
    path.write_bytes(made.read_bytes())
    made.unlink()
    if stamp is not None:
        os.utime(path, ns=(stamp, stamp))


def test_weights_replaced_in_one_process_are_used_and_recorded(images, tiny_settings, tmp_path):
    import hashlib

    path = tmp_path / "w.weights.h5"
    settings = replace(
        tiny_settings, weights=(str(path),), views=tiny_settings.views[:1], augmentations=1
    )
    found = []
    for seed in (1, 2):
        _weights_file(path, seed)
        run = tmp_path / f"run{seed}"
        (store,) = featurize_here(images, run, settings).stores
        with open_store(store) as opened:
            assert (
                opened.header["weights_file_sha256"]
                == hashlib.sha256(path.read_bytes()).hexdigest()
            )
            found.append(
                (
                    opened.features(),
                    opened.header["weights_sha256"],
                    opened.header["weights_file_sha256"],
                )
            )
    assert not np.array_equal(found[0][0], found[1][0])
    assert found[0][1] != found[1][1]
    assert found[0][2] != found[1][2]
    with pytest.raises(SettingsConflictError, match="other weights"):
        featurize_here(images, tmp_path / "run1", settings)


def test_weights_replaced_while_a_command_runs_stop_it(
    images, tiny_settings, tmp_path, monkeypatch
):
    from bchisto.core.jobs import computation

    path = tmp_path / "w.weights.h5"
    _weights_file(path, 1)
    real = computation.run_units

    def swap(*args, **kwargs):
        _weights_file(path, 2)
        return real(*args, **kwargs)

    monkeypatch.setattr(computation, "run_units", swap)
    with pytest.raises(WeightsError, match="changed while the command ran"):
        featurize_here(images, tmp_path / "run", replace(tiny_settings, weights=(str(path),)))
    assert not list((tmp_path / "run" / "features").rglob("*.h5"))


def test_parts_of_another_backend_or_device_are_not_gone_on_from(tissue, tiny_settings, tmp_path):
    """They agree to rounding only."""
    featurize(tissue, out=tmp_path, settings=tiny_settings, work=Work(jobs=1, shard=Shard(1, 3)))
    path = tmp_path / "features" / "tiny-1.0-64.parts" / "settings.json"
    ours = read_json(path)
    for name, other in (("backend", "another"), ("device", "gpu")):
        path.write_text(json.dumps({**ours, "settings": {**ours["settings"], name: other}}))
        with pytest.raises(
            SettingsConflictError, match=f"made with other settings: {name} {other} -> "
        ):
            featurize_here(tissue, tmp_path, tiny_settings)
