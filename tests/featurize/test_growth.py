"""A finished store over a folder that changed: what was described stays, and the end is that of a fresh run."""

import json
import shutil
from dataclasses import replace

import bchisto.featurize.settings as settings_module
import bchisto.featurize.units as unit_module
import h5py
import numpy as np
import pytest
from bchisto.boost import train
from bchisto.core import ImageError, InputError, SettingsConflictError
from bchisto.core.jobs import Shard, Work
from bchisto.data import ImageSelection
from bchisto.encoders import EncoderChoice
from bchisto.featurize import View, featurize

STORE = "features/tiny-1.0-64.h5"
ONE = Work(jobs=1)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(settings_module, "_MOST_IMAGES", 2)


@pytest.fixture
def seen(monkeypatch):
    """Image ids in the order in which they were described."""
    found = []
    real = unit_module.describe_images

    def spy(records, **options):
        found.extend(record.image_id for record in records)
        return real(records, **options)

    monkeypatch.setattr(unit_module, "describe_images", spy)
    return found


@pytest.fixture
def images(tissue, tmp_path):
    return shutil.copytree(tissue, tmp_path / "im ages é")


@pytest.fixture
def later(images, tmp_path):
    """Take some images away; returns a function that puts them back."""
    aside = tmp_path / "aside"
    names = ["benign/benign00.png", "benign/benign03.png", "malignant/malignant05.png"]
    for name in names:
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).rename(aside / name)
    return lambda some=names: [(aside / name).rename(images / name) for name in some]


def everything(path):
    """Every array of a store."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
        found["header"] = {key: str(value) for key, value in file.attrs.items()}
    return found


def same(path, other):
    first, second = everything(path), everything(other)
    assert first.keys() == second.keys()
    assert first.pop("header") == second.pop("header")
    for name, values in first.items():
        values = np.asarray(values)
        equal_nan = values.dtype.kind == "f"
        assert np.array_equal(values, second[name], equal_nan=equal_nan), name


def fresh(images, tmp_path, settings, store=STORE):
    out = tmp_path / "fresh"
    featurize(images, out=out, settings=settings, work=Work(jobs=1, overwrite=out.exists()))
    return out / store


def notes(run):
    return json.loads((run / "run.json").read_text())["records"][-1]["notes"]


def test_images_added_and_removed(images, later, seen, tiny_settings, tmp_path, caplog):
    run = tmp_path / "run"
    featurize(images, out=run, settings=tiny_settings, work=ONE)
    later()
    (images / "benign" / "benign01.png").unlink()
    seen.clear()
    caplog.clear()
    caplog.set_level("INFO", "bchisto")
    result = featurize(images, out=run, settings=tiny_settings, work=ONE)
    assert sorted(seen) == ["benign/benign00.png", "benign/benign03.png", "malignant/malignant05.png"]
    said = "tiny-1.0-64: 3 images added (first benign/benign00.png), 1 image removed (benign/benign01.png)"
    assert [record.levelname for record in caplog.records if record.message == said] == ["WARNING"]
    assert notes(run)["grown"]["tiny-1.0-64"]["removed"] == ["benign/benign01.png"]
    assert (notes(run)["flow"]["found"], result.images) == (11, 11)
    assert not (run / "features" / "tiny-1.0-64.parts").exists()
    same(run / STORE, fresh(images, tmp_path, tiny_settings))
    known = json.loads((run / "features" / "dataset.json").read_text())
    assert known == json.loads((tmp_path / "fresh" / "features" / "dataset.json").read_text())


def test_parts_for_other_images_are_gone_on_from(images, later, seen, tiny_settings, tmp_path):
    run = tmp_path / "run"
    featurize(images, out=run, settings=tiny_settings, work=Work(jobs=1, shard=Shard(1, 2)))
    assert 0 < len(seen) < 9
    later()
    featurize(images, out=run, settings=tiny_settings, work=ONE)
    assert len(seen) == 12  # each once
    same(run / STORE, fresh(images, tmp_path, tiny_settings))


def test_interrupted_between_two_stores(images, later, seen, tiny_settings, tmp_path, monkeypatch):
    """One store has grown and the other has not: boost says by what they differ, and the same command goes on."""
    run, both = tmp_path / "run", replace(tiny_settings, views=(View(1.0, 48), View(1.0, 64)))
    featurize(images, out=run, settings=both, work=ONE)
    later()

    def killed(path):
        raise KeyboardInterrupt

    seen.clear()
    with monkeypatch.context() as patched:
        patched.setattr("bchisto.featurize.pipeline.remove_tree", killed)
        with pytest.raises(KeyboardInterrupt):
            featurize(images, out=run, settings=both, work=ONE)
    with pytest.raises(
        InputError, match=r"the first compared with the second: 3 images removed \(benign/benign00\.png, "
    ):
        train(out=run, folds=["3"])
    featurize(images, out=run, settings=both, work=ONE)
    assert len(seen) == 3
    for store in (STORE, "features/tiny-1.0-48.h5"):
        same(run / store, fresh(images, tmp_path, both, store))
    assert not list((run / "features").glob("*.parts"))


@pytest.mark.parametrize("way", ["dense", "device"])
def test_more_images_and_augmentations(images, later, seen, tiny_settings, tmp_path, monkeypatch, way):
    if way == "device":
        monkeypatch.setattr("bchisto.featurize.stream.visible_gpus", lambda: ("0",))
    settings = replace(tiny_settings, encoders=(EncoderChoice("convs"),), mode="dense" if way == "dense" else "exact")
    run = tmp_path / "run"
    (store,) = featurize(images, out=run, settings=settings, work=ONE).stores
    more = replace(settings, augmentations=5)
    later(["benign/benign03.png"])
    seen.clear()
    featurize(images, out=run, settings=more, work=ONE)
    assert len(seen) == 10  # with more augmentations every image is described again
    same(store, fresh(images, tmp_path, more, store.relative_to(run)))
    with pytest.raises(SettingsConflictError, match="augmentations 5 -> 2; use the same"):
        featurize(images, out=run, settings=settings, work=ONE)


def test_a_corrected_label_needs_no_description(images, seen, tiny_settings, tmp_path, caplog):
    manifest, run = tmp_path / "list.csv", tmp_path / "run"
    rows = [(path.relative_to(tmp_path), path.parent.name) for path in sorted(images.rglob("*.png"))]

    def write():
        manifest.write_text("path,label,group\n" + "".join(f"{path},{label},p1\n" for path, label in rows))

    write()
    featurize(manifest, out=run, settings=tiny_settings, work=ONE)
    rows[2] = (rows[2][0], "Ödem")
    write()
    seen.clear()
    caplog.set_level("INFO", "bchisto")
    featurize(manifest, out=run, settings=tiny_settings, work=ONE)
    assert not seen
    assert f"1 label changed ({rows[2][0]})" in caplog.text
    same(run / STORE, fresh(manifest, tmp_path, tiny_settings))


def test_what_is_no_growing_is_refused(images, later, tiny_settings, tmp_path):
    run = tmp_path / "run"
    featurize(images, out=run, settings=tiny_settings, work=ONE)
    before = (run / STORE).read_bytes()
    later()
    with pytest.raises(SettingsConflictError, match=r"other settings: crops 3 -> 4; use"):
        featurize(images, out=run, settings=replace(tiny_settings, crops=4), work=ONE)
    one, other = images / "benign" / "benign01.png", images / "benign" / "benign02.png"
    kept = one.read_bytes()
    one.write_bytes(kept + b"\0")
    with pytest.raises(
        SettingsConflictError, match=r"benign/benign01\.png has other content than when its features were extracted"
    ):
        featurize(images, out=run, settings=tiny_settings, work=ONE)
    one.write_bytes(kept)
    listed = tmp_path / "only.csv"
    listed.write_text("image_id\n" + "".join(f"benign/benign0{k}.png\nmalignant/malignant0{k}.png\n" for k in "1234"))
    some = ImageSelection(images, only=listed)  # not the folder changed, but what is chosen of it
    with pytest.raises(SettingsConflictError, match=r"other settings: only None -> /"):
        featurize(some, out=run, settings=tiny_settings, work=ONE)
    with h5py.File(run / STORE, "a") as file:
        file.attrs["settings"] = json.dumps({**json.loads(file.attrs["settings"]), "device": "gpu"})
    with pytest.raises(SettingsConflictError, match="other settings: device gpu -> cpu; use"):
        featurize(images, out=run, settings=tiny_settings, work=ONE)
    (run / STORE).write_bytes(before)
    for path in [other, *sorted((images / "malignant").glob("*.png"))[:4]]:
        path.unlink()
    with pytest.raises(SettingsConflictError, match="has features of 9 images, 4 of them present; use the same images"):
        featurize(images, out=run, settings=tiny_settings, work=ONE)
    assert (run / STORE).read_bytes() == before


def test_an_image_that_failed_is_described_once_it_is_mended(images, seen, tiny_settings, tmp_path):
    run, bad = tmp_path / "run", images / "benign" / "benign04.png"
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    skipping = Work(jobs=1, skip_errors=True)
    assert len(featurize(images, out=run, settings=tiny_settings, work=skipping).failures) == 1
    with pytest.raises(ImageError, match=r"benign04\.png: cannot be decoded"):
        featurize(images, out=run, settings=tiny_settings, work=ONE)
    bad.write_bytes(whole)
    seen.clear()
    assert not featurize(images, out=run, settings=tiny_settings, work=ONE).failures
    assert seen == ["benign/benign04.png"]
    assert not (run / "failures.csv").exists()
    same(run / STORE, fresh(images, tmp_path, tiny_settings))
