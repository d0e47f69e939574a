"""A finished store over a folder that changed: what was described stays, and the end is that of a fresh run."""

import json
import shutil
from dataclasses import replace

import bchisto.featurize.settings as settings_module
import bchisto.featurize.units as unit_module
import h5py
import pytest
from bchisto.boost import train
from bchisto.core import InputError, SettingsConflictError
from bchisto.core.jobs import Work
from bchisto.data import ImageSelection
from bchisto.encoders import EncoderChoice
from bchisto.featurize import View, featurize
from engine_jobs import content
from packs import featurize_here

STORE = "features/tiny-1.0-64.h5"


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


def fresh(images, tmp_path, settings, store=STORE):
    out = tmp_path / "fresh"
    featurize(images, out=out, settings=settings, work=Work(jobs=1, overwrite=out.exists()))
    return out / store


def test_interrupted_between_two_stores(images, later, seen, tiny_settings, tmp_path, monkeypatch):
    """One store has grown and the other has not: boost says by what they differ, and the same command goes on."""
    run, both = tmp_path / "run", replace(tiny_settings, views=(View(1.0, 48), View(1.0, 64)))
    featurize_here(images, run, both)
    later()

    def killed(path):
        raise KeyboardInterrupt

    seen.clear()
    with monkeypatch.context() as patched:
        patched.setattr("bchisto.featurize.pipeline.remove_tree", killed)
        with pytest.raises(KeyboardInterrupt):
            featurize_here(images, run, both)
    with pytest.raises(
        InputError,
        match=r"the first compared with the second: 3 images removed \(benign/benign00\.png, ",
    ):
        train(out=run, folds=["3"])
    featurize_here(images, run, both)
    assert len(seen) == 3
    for store in (STORE, "features/tiny-1.0-48.h5"):
        assert content(run / store) == content(fresh(images, tmp_path, both, store))
    assert not list((run / "features").glob("*.parts"))


@pytest.mark.parametrize("way", ["dense", "device"])
def test_more_images_and_augmentations(
    images, later, seen, tiny_settings, tmp_path, monkeypatch, way
):
    if way == "device":
        monkeypatch.setattr("bchisto.featurize.stream.visible_gpus", lambda: ("0",))
    settings = replace(
        tiny_settings,
        encoders=(EncoderChoice("convs"),),
        mode="dense" if way == "dense" else "exact",
    )
    run = tmp_path / "run"
    (store,) = featurize_here(images, run, settings).stores
    more = replace(settings, augmentations=5)
    later(["benign/benign03.png"])
    seen.clear()
    featurize_here(images, run, more)
    assert len(seen) == 10  # with more augmentations every image is described again
    assert content(store) == content(fresh(images, tmp_path, more, store.relative_to(run)))
    with pytest.raises(SettingsConflictError, match="augmentations 5 -> 2; use the same"):
        featurize_here(images, run, settings)


def test_what_is_no_growing_is_refused(images, later, tiny_settings, tmp_path):
    run = tmp_path / "run"
    featurize_here(images, run, tiny_settings)
    before = (run / STORE).read_bytes()
    later()
    listed = tmp_path / "only.csv"
    listed.write_text(
        "image_id\n"
        + "".join(f"benign/benign0{k}.png\nmalignant/malignant0{k}.png\n" for k in "1234")
    )
    some = ImageSelection(images, only=listed)  # not the folder changed, but what is chosen of it
    with pytest.raises(SettingsConflictError, match=r"other settings: only None -> /"):
        featurize_here(some, run, tiny_settings)
    with h5py.File(run / STORE, "a") as file:
        file.attrs["settings"] = json.dumps({**json.loads(file.attrs["settings"]), "device": "gpu"})
    with pytest.raises(SettingsConflictError, match="other settings: device gpu -> cpu; use"):
        featurize_here(images, run, tiny_settings)
    (run / STORE).write_bytes(before)
    for path in [
        images / "benign" / "benign02.png",
        *sorted((images / "malignant").glob("*.png"))[:4],
    ]:
        path.unlink()
    with pytest.raises(
        SettingsConflictError,
        match="has features of 9 images, and only 4 of their names are among these",
    ):
        featurize_here(images, run, tiny_settings)
    assert (run / STORE).read_bytes() == before
