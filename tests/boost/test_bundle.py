import json
import zipfile

import numpy as np
import pytest
from archives import rewrite
from bchisto.boost import Bundle
from bchisto.errors import BundleError
from bchisto.featurize import open_store

PAIR = "boost/3-lightgbm"


@pytest.fixture
def path(boosted):
    return boosted / PAIR / "model.bchisto"


def test_averages_all_fold_models(boosted, path):
    bundle = Bundle.load(path)
    assert bundle.classes == ("benign", "malignant")
    assert len(bundle.models["tiny-1.0-64"]) == 6
    assert bundle.stores["tiny-1.0-64"]["weights"] == "random"
    import lightgbm

    with open_store(boosted / "features" / "tiny-1.0-64.h5") as store:
        features = store.features([0, 7])
    texts = sorted((boosted / PAIR / "models").rglob("*.txt"))
    each = [
        lightgbm.Booster(model_file=str(text)).predict(features.reshape(-1, 16)).reshape(2, 2, 2).mean(axis=1)
        for text in texts
    ]
    np.testing.assert_allclose(bundle.predict({"tiny-1.0-64": features}), np.mean(each, axis=0), rtol=1e-12)


def test_holds_nothing_but_text(path):
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            archive.read(name).decode("utf-8")
            assert name == "manifest.json" or name.endswith(".txt")


def test_a_missing_store_is_named(path):
    with pytest.raises(BundleError, match=r"descriptors of tiny-1\.0-64 are missing"):
        Bundle.load(path).predict({})


def altered(members):
    name = next(name for name in members if name.endswith(".txt"))
    return {**members, name: members[name] + b" "}


def manifest(**changes):
    def change(members):
        content = json.loads(members["manifest.json"])
        return {**members, "manifest.json": json.dumps({**content, **changes}).encode()}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (altered, "does not match its hash; the bundle is damaged or was altered"),
        (lambda m: {**m, "../evil.py": b"x"}, "its members are not those of its manifest"),
        (
            lambda m: {k: v for k, v in m.items() if "fold1" not in k},
            "its members are not those of its manifest",
        ),
        (
            lambda m: {k: v for k, v in m.items() if k != "manifest.json"},
            "not a bchisto model bundle, or damaged",
        ),
        (manifest(kind="other"), "a zip file, but not a bchisto model bundle"),
        (manifest(schema_version=9, bchisto_version="3.0"), r"written by bchisto 3\.0, newer than this"),
        (manifest(classes=None), "not a bchisto model bundle, or damaged"),
    ],
)
def test_bundles_that_do_not_hold(path, tmp_path, change, message):
    with pytest.raises(BundleError, match=message):
        Bundle.load(rewrite(path, tmp_path / "x.bchisto", change))


def test_other_files(tmp_path):
    with pytest.raises(BundleError, match="no such bchisto model bundle"):
        Bundle.load(tmp_path / "none.bchisto")
    (tmp_path / "x.bchisto").write_bytes(b"PK not a zip")
    with pytest.raises(BundleError, match="not a bchisto model bundle, or damaged"):
        Bundle.load(tmp_path / "x.bchisto")


def test_a_bundle_that_unpacks_to_too_much_is_not_read(path, monkeypatch):
    monkeypatch.setattr("bchisto.jobs.archive._MOST_BYTES", 1000)
    with pytest.raises(BundleError, match="unpacks to more than a bundle can hold"):
        Bundle.load(path)
