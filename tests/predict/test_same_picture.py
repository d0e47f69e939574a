"""The same picture gets the same answer, to the last bit: wherever it lies, whatever it is called, beside whatever."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from archives import as_of_0_1, rewrite
from bchisto.boost import Bundle
from bchisto.data import CROP_SEEDS, ImageRecord, crop_key, decode_image, pixels_sha256
from bchisto.errors import InputError
from bchisto.finetune import CnnBundle
from bchisto.jobs import Work
from bchisto.predict import predict
from PIL import Image

WRITTEN = Path(__file__).parents[1] / "compatibility" / "release-0.1"
BUNDLES = {"exact": "run/boost/3-stack", "dense": "dense/boost/3-lightgbm", "patches": "run/finetune/3-tiny"}


def bundle_of(kind, target, *, crop_seed=None):
    """Copy a bundle of 0.1, as of this version where `crop_seed` is given; networks get random patches."""

    def change(members):
        content = json.loads(members["manifest.json"])
        if kind == "patches":
            content["settings"]["patches"] = "random:40:3"
        if crop_seed is not None:
            content.update(schema_version=3, crop_seed=crop_seed)
        return {**members, "manifest.json": json.dumps(content).encode()}

    return rewrite(WRITTEN / BUNDLES[kind] / "model.bchisto", target / f"{kind}.bchisto", change)


@pytest.fixture(scope="module")
def places(tmp_path_factory, tissue):
    """One picture among others: in two folders, under two names, as PNG, two TIFFs and alone."""
    root = tmp_path_factory.mktemp("places")
    first, *others = sorted(tissue.rglob("*.png"))[2:7]
    for name in ("Tissu sain", "Benin", "alone", "before"):
        (root / name).mkdir()
    shutil.copy(first, root / "Tissu sain" / "a.png")
    shutil.copy(first, root / "Benin" / "a.png")
    shutil.copy(first, root / "alone" / first.name)
    picture = Image.open(first)
    picture.save(root / "Benin" / "z.tif")
    picture.save(root / "before" / "k.tiff", compression="tiff_lzw")
    for number, path in enumerate(others):
        shutil.copy(path, root / "before" / f"{'ax'[number % 2]}{number}.png")
    return root


def answers(path):
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    return {row["image_id"]: (row["p_benign"], row["p_malignant"]) for row in rows}


@pytest.mark.parametrize("kind", BUNDLES)
def test_wherever_it_lies(places, tmp_path, kind):
    model = bundle_of(kind, tmp_path, crop_seed="pixels")
    predict(model, [places], out=tmp_path / "all.csv", work=Work(jobs=1))
    predict(model, [places / "alone"], out=tmp_path / "alone.csv", work=Work(jobs=1))
    predict(model, [places / "before", places / "Benin" / "z.tif"], out=tmp_path / "some.csv", work=Work(jobs=1))
    every, some = answers(tmp_path / "all.csv"), answers(tmp_path / "some.csv")
    (alone,) = answers(tmp_path / "alone.csv").values()
    same = ["Tissu sain/a.png", "Benin/a.png", "Benin/z.tif", "before/k.tiff", "alone/benign02.png"]
    assert {name: every[name] for name in same} == dict.fromkeys(same, alone)
    assert (some["k.tiff"], some["z.tif"]) == (alone, alone)
    names = [name for name in some if name != "z.tif"]
    assert {name: every[f"before/{name}"] for name in names} == {name: some[name] for name in names}
    assert len(set(every.values())) > 1


@pytest.mark.parametrize("kind", ["exact", "patches"])
def test_bundles_of_0_1_keep_their_rule(places, tmp_path, kind):
    old = bundle_of(kind, tmp_path)
    predict(old, [places / "Benin" / "a.png", places / "Benin" / "z.tif"], out=tmp_path / "p.csv", work=Work(jobs=1))
    found = answers(tmp_path / "p.csv")
    assert found["a.png"] != found["z.tif"]


def test_new_bundles_say_their_rule(boosted, tmp_path):
    written = boosted / "boost" / "3-lightgbm" / "model.bchisto"
    assert Bundle.load(written).crop_seed == "pixels"
    assert Bundle.load(as_of_0_1(written, tmp_path / "old.bchisto")).crop_seed == "id"
    assert CnnBundle.load(bundle_of("patches", tmp_path)).crop_seed == "id"


def test_the_key_is_that_of_shape_and_pixels(tissue):
    import hashlib

    path = sorted(tissue.rglob("*.png"))[0]
    image = decode_image(path)
    expected = hashlib.sha256(b"96x96x3\n" + image.tobytes()).hexdigest()
    assert pixels_sha256(image) == expected
    assert pixels_sha256(image[:, ::-1]) == pixels_sha256(image[:, ::-1].copy()) != expected
    assert pixels_sha256(image.reshape(48, 192, 3)) != expected
    record = ImageRecord("x", path, None)
    assert [crop_key(record, image, crop_seed=rule) for rule in CROP_SEEDS] == ["x", expected]
    with pytest.raises(InputError, match="crop_seed name: choose one of id, pixels"):
        crop_key(record, image, crop_seed="name")
