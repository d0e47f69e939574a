"""Rows of a slide become one row: numbers as NumPy has them from the whole array; what cannot be pooled is refused."""

import json
import re

import h5py
import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.featurize import export_features, norm_pool, read_embeddings
from bchisto.featurize.embeddings import pools
from bchisto.featurize.embeddings.pools import POOLS, pool_named
from conftest import typed
from numpy.testing import assert_allclose, assert_array_equal
from packs import featurize_here
from PIL import Image
from written_tables import lines, rows_of


def expected(name, rows):
    """Pool rows (n, ...) as a textbook does, from all of them at once."""
    rows = rows.astype(np.float64)
    if name == "mean":
        return rows.mean(axis=0)
    if name == "3-norm":
        mean = (np.sign(rows) * np.abs(rows) ** 3).mean(axis=0)
        return np.sign(mean) * np.abs(mean) ** (1 / 3)
    if name == "mean-sd":
        return np.concatenate([rows.mean(axis=0), rows.std(axis=0)], axis=-1)
    kept = -(-len(rows) // 10)
    return np.sort(rows, axis=0)[::-1][:kept].mean(axis=0)


NAMES = [pool.name for pool in POOLS]


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 20, 21, 97])
@pytest.mark.parametrize("name", NAMES)
def test_pools_are_those_of_the_whole_array(name, count, rng):
    rows = rng.normal(2, 3, size=(count, 3, 5)).astype(np.float32)
    for step in (1, 4, 10, 1000):
        row = pool_named(name).row(lambda at: rows[at.start : at.stop], count, step=step)
        assert row.dtype == np.float32
        assert_allclose(row, expected(name, rows), rtol=2e-6, atol=1e-6)


def test_a_name_that_is_none():
    with pytest.raises(InputError, match=r"`pool` toptenth: did you mean top-tenth\? Choose one"):
        pool_named("toptenth")


def test_the_norm_is_that_of_crops(rng):
    rows = rng.normal(size=(13, 6)).astype(np.float32)
    row = pool_named("3-norm").row(lambda at: rows[at.start : at.stop], 13, step=5)
    assert_allclose(row, norm_pool(rows), rtol=1e-6)
    large = np.full((3, 2), 3e38, np.float32)
    assert_allclose(pool_named("3-norm").row(lambda _: large, 3), large[0], rtol=1e-6)


def test_sums_are_of_float64():
    rows = np.array([[1e8], [1.0], [-1e8]], np.float32)
    assert pool_named("mean").row(lambda _: rows, 3)[0] == np.float32(1 / 3)
    # far from zero, the spread is not lost in the squares, and that of equal rows is exactly none
    near = np.array([[1e6, 7e5], [1e6 + 0.125, 7e5], [1e6 + 0.25, 7e5]], np.float32)
    spread = pool_named("mean-sd").row(lambda at: near[at.start : at.stop], 3, step=2)[2:]
    assert_allclose(spread, [np.std([0, 0.125, 0.25]), 0], rtol=1e-6)


SLIDES = {"S-ä 1": 1, "über/S 2": 9, "7": 10, "8.x": 11}
"""Number of fields of each slide."""


def write_fields(folder, slides=SLIDES, *, labels=None, patients=None, emptied=0):
    """Write fields of slides with a manifest, whose column has an odd name, slides mixed; return the manifest."""
    rng = np.random.default_rng(5)
    (folder / "fields").mkdir(parents=True)
    rows = []
    for slide, count in slides.items():
        for number in range(count):
            name = f"fields/{len(rows)}.png"
            pixels = rng.integers(0, 255, (70, 70, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name)
            label = (labels or {}).get(slide, [""])
            patient = (patients or {}).get(slide, [f"P {slide}"])
            rows.append(
                [name, label[number % len(label)], patient[number % len(patient)], slide, number]
            )
    for row in rows[:emptied]:
        row[3] = ""
    header = ("path", "label", "group", "Slide Name", "x")
    return lines(folder / "manifest.csv", header, rows[::2] + rows[1::2])


@pytest.fixture(scope="module")
def described_fields(tmp_path_factory, tiny_settings):
    """A feature file of fields, two augmentations each, and the manifest."""

    folder = tmp_path_factory.mktemp("fields é")
    manifest = write_fields(folder, labels={"S-ä 1": ["yes, 1"], "7": ["no", ""]})
    featurize_here(manifest, folder / "run", tiny_settings)
    return folder / "run" / "features" / "tiny-1.0-64.h5", manifest


@pytest.mark.parametrize("at_once", [4096, 6])
@pytest.mark.parametrize("name", NAMES)
def test_fields_are_pooled_by_their_slide(
    described_fields, name, at_once, tmp_path, completed, monkeypatch
):
    store, manifest = described_fields
    monkeypatch.setattr(pools, "AT_ONCE", at_once)
    printed, _ = completed("features {} --by {} --pool {} --out T/s.npz", store, "slide name", name)
    text = next(pool.text for pool in POOLS if pool.name == name)
    numbers = 32 if name == "mean-sd" else 16
    assert printed == (
        f"4 images, 2 rows each, {numbers} numbers, {text} of 1 to 11 fields, encoder tiny, 2 with a label, "
        "4 patients\n"
    )
    slide_of = {row["path"]: row["Slide Name"] for row in rows_of(manifest)}
    with h5py.File(store) as file:
        slides = np.array([slide_of[image] for image in file["image_id"].asstr()[::2]])
        rows = file["features"][:].reshape(-1, 2, 16)
    pooled = read_embeddings(tmp_path / "s.npz")
    assert set(pooled.image_ids) == set(SLIDES)
    for number, slide in enumerate(pooled.image_ids):
        whole = expected(name, rows[slides == slide])
        assert_allclose(pooled.features[number], whole, rtol=2e-6, atol=1e-6)
        assert pooled.groups[number] == f"P {slide}"
    labels = dict(zip(pooled.image_ids, pooled.labels, strict=True))
    assert labels == {"S-ä 1": "yes, 1", "über/S 2": "", "7": "no", "8.x": ""}
    # all that decides about the kind of features goes along
    facts = dict(pooled.facts)
    assert facts.pop("pooled") == f"{text} of 1 to 11 fields"
    assert facts == read_embeddings(store).facts
    assert {"encoder", "layers", "weights_sha256", "scale", "crop", "pool", "stain"} < facts.keys()


def test_the_mean_is_what_stands_without_a_name(described_fields, tmp_path):
    store, _ = described_fields
    default = export_features(store, tmp_path / "a.npz", by="slide_name")
    named = export_features(store, tmp_path / "b.npz", by="slide_name", pool="mean")
    assert_array_equal(default.features, named.features)
    assert default.pooled == "mean of 1 to 11 fields"


def test_what_cannot_be_pooled(described_fields, tmp_path, refused, completed):
    store, _ = described_fields
    out = tmp_path / "s.npz"

    def told(source, *words):
        err = refused("features", source, *words, "--out", out)
        assert not out.exists()
        return err

    assert re.search(
        r"--by wsi: no column of the images of .*tiny-1.0-64.h5; dataset.json beside it names .*slide_name",
        told(store, "--by", "wsi"),
    )
    assert "has a row for each image; --by names their slides" in told(store, "--pool", "mean")
    assert "did you mean mean-sd?" in told(store, "--by", "x", "--pool", "mean_sd")
    elsewhere = tmp_path / "copied.h5"
    elsewhere.write_bytes(store.read_bytes())
    assert "dataset.json beside it names none" in told(elsewhere, "--by", "slide_name")
    completed("features {} --by slide_name --out T/e.npz", store)
    assert "not a feature file of bchisto, whose images have a column slide_name" in told(
        tmp_path / "e.npz", "--by", "slide_name"
    )
    assert "--pool mean: " in told(tmp_path / "e.npz", "--pool", "mean")


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (
            {"labels": {"7": ["no", "yes"]}},
            "the fields of 7 have several labels: no, yes; a slide has one: correct the manifest, where a label may be "
            "empty .bchisto boost --labels gives",
        ),
        (
            {"patients": {"über/S 2": ["P9", "Q"]}},
            "the fields of über/S 2 have several patients: P9, Q; a slide has one: correct the manifest",
        ),
        (
            {"patients": {"über/S 2": ["P9", ""]}},
            "the fields of über/S 2 have several patients: none, P9; a slide",
        ),
        (
            {"emptied": 3},
            "Slide Name: empty for fields/0.png, fields/1.png, fields/2.png of .*; fill in the column",
        ),
    ],
)
def test_fields_of_a_slide_that_differ(odd, message, tmp_path, refused, tiny_settings):

    manifest = write_fields(tmp_path, {"7": 3, "über/S 2": 3}, **odd)
    featurize_here(manifest, tmp_path / "run", tiny_settings)
    (store,) = (tmp_path / "run" / "features").glob("*.h5")
    err = refused("features {} --by {} --out T/s.npz", store, "Slide Name")
    assert re.search(message, err), err


def test_patients_that_were_corrected_count(tmp_path, completed, tiny_settings):
    """Describing again takes nothing but the new names, and the feature file may keep the old ones."""

    manifest = write_fields(tmp_path, {"7": 2, "8": 2}, patients={"7": ["A", "B"]})
    run = tmp_path / "run"
    for text in (manifest.read_text("utf-8"), manifest.read_text("utf-8").replace(",B,", ",A,")):
        manifest.write_text(text, "utf-8")
        featurize_here(manifest, run, tiny_settings)
    (store,) = (run / "features").glob("*.h5")
    completed("features {} --by slide-name --out T/s.npz", store)
    assert read_embeddings(tmp_path / "s.npz").groups == ("A", "P 8")


@pytest.mark.parametrize("name", NAMES)
def test_slides_of_other_programs(name, tmp_path, completed, refused, rng):
    folder = tmp_path / "features uni"
    folder.mkdir()
    tiles = {"S 1": rng.normal(size=(11, 4)), "ü": rng.normal(size=(30, 4))}
    for slide, values in tiles.items():
        with h5py.File(folder / f"{slide}.h5", "w") as file:
            file["features"] = values.astype(np.float32)
            file["coords"] = np.zeros((len(values), 2), np.int64)
    completed("features {} --pool {} --out T/s.npz", folder, name)
    pooled = read_embeddings(tmp_path / "s.npz")
    for slide, row in zip(pooled.image_ids, pooled.features[:, 0], strict=True):
        whole = expected(name, tiles[slide].astype(np.float32))
        assert_allclose(row, whole, rtol=2e-6, atol=1e-6)
    text = next(pool.text for pool in POOLS if pool.name == name)
    assert pooled.pooled == f"{text} of 11 to 30 tiles"
    # the embedding of a slide has no tiles of which another pooling could be made
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file["features"] = np.ones(4, np.float32)
    words = typed("features {} --pool {} --out", tmp_path / "whole.h5", name)
    if name == "mean":
        completed(*words, tmp_path / "w.npz")
    else:
        assert "holds the embedding of a slide, and no tiles to pool" in refused(
            *words, tmp_path / "w.npz"
        )


def test_a_model_refuses_rows_that_were_pooled_otherwise(
    described_fields, tmp_path, completed, refused
):
    store, manifest = described_fields
    rows = [(slide, "no" if number % 2 else "yes") for number, slide in enumerate(SLIDES)]
    lines(tmp_path / "labels.csv", ("slide", "label"), rows)
    files = {name: tmp_path / f"{name}.npz" for name in NAMES}
    for name, file in files.items():
        completed("features {} --by slide_name --pool {} --out {}", store, name, file)
    for name in ("mean", "top-tenth"):
        run = tmp_path / f"run {name}"
        completed(
            "boost --out {} --features {} --labels T/labels.csv --param num_iterations=2 "
            "--param min_data_in_leaf=1 --folds 2 --seeds 1 --jobs 1",
            run,
            files[name],
        )
        (model,) = run.glob("boost/*/model.bchisto")
        words = ("predict", model, "--out", tmp_path / f"{name}.csv")
        for other, file in files.items():
            if other == name:
                continue
            err = refused(*words, "--features", file)
            text = next(pool.text for pool in POOLS if pool.name == other)
            what = (
                "their length is 32" if other == "mean-sd" else f"their rows is the {text} of tiles"
            )
            assert f"{what}, that of training " in err
        assert "their rows is whole images, that" in refused(*words, "--features", store)
        err = refused(*words, "--images", manifest)
        assert "takes embeddings of the same kind, and no images; make them as in training" in err
        assert "(of fields of slides: bchisto features --by COLUMN), then bchisto predict" in err
        imported = run / "features" / f"{name}.h5"
        twice = typed("features {} --by slide_name --out {}", imported, tmp_path / "t.npz")
        assert "its rows are pooled already (mean of" in refused(*twice)
        completed(*words, "--features", files[name])
        with np.load(files[name]) as file:
            arrays = dict(file)
        facts = json.loads(str(arrays["bchisto"]))
        # as older files have it, and people write it
        old = json.dumps({**facts, "pooled": "mean of tiles"})
        np.savez(tmp_path / "old.npz", **{**arrays, "bchisto": old})
        again = (*words, "--overwrite", "--features", tmp_path / "old.npz")
        if name == "mean":
            completed(*again)
        else:
            assert "their rows is the mean of tiles" in refused(*again)
        # and of another encoder
        alien = json.dumps({**facts, "stain": "none", "encoder": "other"})
        np.savez(tmp_path / "alien.npz", **{**arrays, "bchisto": alien})
        err = refused(*words, "--overwrite", "--features", tmp_path / "alien.npz")
        assert "their encoder is other, that of training tiny" in err
