"""Images unlike those of training: told apart, marked, and shown with the nearest training images."""

import hashlib
import io
import json
import re
import shutil
import zipfile

import numpy as np
import pytest
from archives import rewrite
from bchisto.boost import BoostSettings, Bundle, train
from bchisto.boost.reference import fit_gaussian, left_out_distances, placed
from bchisto.core import BundleError
from bchisto.core.models import pack_arrays
from bchisto.featurize import featurize, open_store
from bchisto.predict import Predictor
from conftest import typed, write_tissue
from packs import ONE_JOB
from PIL import Image
from written_tables import rows_of


def rows(path):
    return {row["image_id"]: row for row in rows_of(path)}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_tissue(tmp_path_factory.mktemp("many") / "images", per_class=15)


@pytest.fixture(scope="module")
def run(images, tmp_path_factory, tiny_settings):
    out = tmp_path_factory.mktemp("outliers") / "run"
    featurize(images, out=out, settings=tiny_settings, work=ONE_JOB)
    train(out=out, folds=["3"], settings=BoostSettings(["logistic"]), work=ONE_JOB)
    return out


@pytest.fixture(scope="module")
def model(run):
    return run / "boost" / "3-logistic" / "model.bchisto"


def test_noise_is_marked_in_table_sheet_and_terminal(images, model, completed, tmp_path):
    new = tmp_path / "new"
    new.mkdir()
    known = sorted(images.rglob("*.png"))[:4]
    for path in known:
        shutil.copy(path, new)
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    Image.fromarray(noise).save(new / "noise.png")
    options = typed("--out T/p.csv --html T/s.html --jobs 1")
    out, _ = completed("predict {} --images {}", model, new, *options)
    table = rows(tmp_path / "p.csv")
    assert table["noise.png"]["outlier"] == "yes"
    assert table["noise.png"]["outlier_percentile"] == "100.0"
    assert {table[path.name]["outlier"] for path in known} == {"no"}
    names = {path.relative_to(images).as_posix() for path in images.rglob("*.png")}
    for row in table.values():
        nearest = [text.partition(" (")[0] for text in row["nearest_training_images"].split("; ")]
        assert len(set(nearest)) == 3
        assert set(nearest) <= names
    found = Predictor(model).predict([*known, new / "noise.png"])
    assert found.outlier.tolist() == [False] * 4 + [True]
    assert found.outlier_percentile[-1] == 100
    assert found.columns["outlier"] == ["no"] * 4 + ["yes"]
    meaning = (
        "1 of 5 images, further from the training images than 99 % of those that were left out"
    )
    assert meaning in out
    page = (tmp_path / "s.html").read_text()
    assert meaning in page
    assert "Nearest training images" in page
    checks = re.findall(r'<span>([^<]*)</span></th>.*?data-head="Check"[^>]*>(.*?)</td>', page)
    assert {name for name, mark in checks if "outlier" in mark} == {
        name for name, row in table.items() if row["outlier"] == "yes"
    }


def test_explain_names_the_nearest_training_images(images, model, completed, tmp_path):
    known = sorted(images.rglob("*.png"))[0]
    noise = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)).save(
        noise
    )
    table = tmp_path / "p.csv"
    completed("predict {} --images {} --images {} --out {} --jobs 1", model, known, noise, table)
    completed("explain {} {} {} --out T/why", model, known, noise)
    page = (tmp_path / "why" / "map" / "index.html").read_text()
    for row in rows(table).values():
        assert f"nearest training images: {row['nearest_training_images']}" in page
    # of the noise; the picture has no words of its own
    assert page.count("outlier: further from the training images than 99 %") == 1


def test_each_training_image_is_nearest_to_itself(run, model):
    with open_store(next((run / "features").glob("*.h5"))) as store:
        compared = Bundle.load(model).compare({store.name: store.features()})
    assert compared[:, 1].tolist() == list(range(30))
    np.testing.assert_allclose(compared[:, 4], 0, atol=2e-3)
    assert (np.diff(compared[:, 4:], axis=1) >= 0).all()


def test_the_model_file_names_no_image(images, model, completed, tmp_path):
    with zipfile.ZipFile(model) as archive:
        held = b"".join(archive.read(name) for name in archive.namelist())
    assert not any(path.name.encode() in held for path in images.rglob("*.png"))
    shutil.copy(model, tmp_path / "model.bchisto")
    one = sorted(images.rglob("*.png"))[0]
    completed("predict T/model.bchisto --images {} --out T/p.csv", one)
    named = rows(tmp_path / "p.csv")[one.name]["nearest_training_images"].split("; ")
    hashes = [row["sha256"][:12] for row in rows(model.with_name("training-images.csv")).values()]
    assert {text.partition(" (")[0] for text in named} <= set(hashes)


def test_a_model_of_few_images_marks_none(tissue, completed, tmp_path, boosted_model):
    assert Bundle.load(boosted_model).reference is None
    completed("predict {} --images {} --out T/p.csv --html T/s.html", boosted_model, tissue)
    assert not any("outlier" in row for row in rows(tmp_path / "p.csv").values())
    assert "no image is marked as an outlier" in (tmp_path / "s.html").read_text()


def test_a_damaged_reference_is_refused(model, tmp_path):
    def with_reference(change):
        def changed(members):
            data = change(members["training-images.npz"])
            manifest = json.loads(members["manifest.json"])
            manifest["members"]["training-images.npz"] = hashlib.sha256(data).hexdigest()
            return {
                **members,
                "training-images.npz": data,
                "manifest.json": json.dumps(manifest).encode(),
            }

        return rewrite(model, tmp_path / "model.bchisto", changed)

    def with_array(name, change):
        def changed(data):
            with np.load(io.BytesIO(data)) as file:
                return pack_arrays({**file, name: change(file[name])})

        return changed

    for change, message in (
        (lambda _: b"no arrays", "not a complete model"),
        (with_array("classes", lambda classes: classes + 2), "does not fit"),
        (with_array("variances", lambda values: -values), "does not fit"),
        (with_array("left_out", lambda values: values[:0]), "does not fit"),
    ):
        with pytest.raises(BundleError, match=message):
            Bundle.load(with_reference(change))


def test_distances_are_those_of_scikit_learn(rng):
    from sklearn.covariance import LedoitWolf

    rows = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 60)) + 0.3 * rng.normal(size=(40, 60))
    others = rng.normal(size=(10, 60))
    fitted = fit_gaussian(rows)
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    expected = (
        LedoitWolf(assume_centered=True)
        .fit((rows - mean) / scale)
        .mahalanobis((others - mean) / scale)
    )
    np.testing.assert_allclose(placed(others, fitted)[0], np.sqrt(expected), rtol=5e-3)


def test_images_of_a_left_out_patient_do_not_help(rng):
    """Two images of each of 15 patients, nearly equal: left out together they are as far as new patients are."""
    patients = rng.normal(size=(15, 20))
    rows = np.repeat(patients, 2, axis=0) + 0.01 * rng.normal(size=(30, 20))
    together = left_out_distances(rows, np.repeat(np.arange(15), 2))
    assert np.median(together) > 1.2 * np.median(left_out_distances(rows, np.arange(30)))
