"""Bundles of strangers: whatever is altered in them, with hashes that fit, is refused in one line."""

import io
import json
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
from archives import arrays, hashed, model, rewrite, said
from bchisto.boost import Bundle, HeadSpec
from bchisto.core import BchistoError, BundleError
from bchisto.core.models import pack_arrays
from bchisto.core.models.bundles import bundle_stores, bundle_view

STORE = "tiny-1.0-64"
BENCHMARKS = Path(__file__).parents[2] / "tools" / "benchmarks"


@pytest.fixture(scope="module")
def every_road(every_head):
    """Bundles of every head."""
    return {head: result.folder / "model.bchisto" for head, result in every_head[1].items()}


def packed(data):
    """NPZ bytes whose arrays unpack to a thousand times as much."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, mean=np.zeros(2_000_000))
    return buffer.getvalue()


def renamed(old, new, copy=False):
    def change(members):
        found = {name.replace(old, new): data for name, data in members.items()}
        return hashed({**members, **found} if copy else found)

    return change


VIEW = {"positive": ["malignant"], "rule": "sum", "thresholds": [0.5], "wanted": []}

STRANGE = {
    # the manifest
    "classes as a text": ("lightgbm", said(classes="benign"), "different names as classes"),
    "a class with a lone surrogate": ("lightgbm", said(classes=["benign", "\ud800x"]), "different names as classes"),
    "a class more than the models have": (
        "lightgbm", said(classes=["a", "b", "c"], two_class=None), "has 2 classes, the model file 3",
    ),
    "a temperature of -1": ("lightgbm", said(calibration={"temperature": -1}), "a temperature from 0.001 to 1,000"),
    "no calibration": ("lightgbm", said(calibration=...), "its manifest has no calibration"),
    "banners that are none": ("lightgbm", said(banners="x"), "does not hold texts as banners"),
    "a protocol of numbers": ("lightgbm", said(protocol=3), "does not hold a text as protocol"),
    "positive classes that are none": ("lightgbm", said(two_class={**VIEW, "positive": ["x"]}), "positive classes"),
    "training hashes that are none": (
        "lightgbm", said(training={"images": 1, "sha256": ["x"]}), "hashes of them",
    ),
    "an unsure rule of nothing": ("lightgbm", said(unsure={"below": 0.5}), "a confidence with the counts"),
    "a sensitivity of 400 digits": (
        "lightgbm",
        said(two_class={**VIEW, "wanted": [{"sensitivity": 10**400, "threshold": 0.5}]}), "positive classes with",
    ),
    "a number of 5,000 digits": (
        "lightgbm",
        lambda m: {**m, "manifest.json": m["manifest.json"].replace(b'version": 4', b'version": ' + b"9" * 5000)},
        "not a bchisto model file, or damaged",
    ),
    "a manifest nested 100,000 times": (
        "lightgbm", lambda m: {**m, "manifest.json": b"[" * 100_000 + b"]" * 100_000}, "or damaged",
    ),
    "members without hashes": ("lightgbm", said(members={"x": 1}), "its members are not those of its manifest"),
    # stores and names
    "no store": ("lightgbm", said(stores={}), "names no feature sets"),
    "a store without models": (
        "lightgbm", lambda m: said(stores={**json.loads(m["manifest.json"])["stores"], "more": {}})(m),
        "has no model of its feature set more",
    ),
    "two stores in one folder": (
        "lightgbm", lambda m: said(stores={STORE: {}, "b": {}}, folders={"b": STORE})(m), "one folder for several",
    ),
    "a model twice": ("lightgbm", renamed("seed0-", "seed00-", copy=True), "two models of one seed and fold"),
    "a seed of other digits": ("lightgbm", renamed("seed0-", "seed\u0660-"), "not those of a boosted model"),
    "a member that climbs": ("lightgbm", renamed("models/", "../models/"), "not those of a boosted model"),
    "an unknown head": ("lightgbm", said(head="forest"), "the classifier 'forest', which this version does not know"),
    # trees: the rest in test_trees.py
    "a feature out of range": ("lightgbm", arrays(feature=lambda a: a + 99), "not a complete model of trees"),
    "models of other classes": (
        "lightgbm", arrays(every=True, classes=np.array(4)), "has 4 classes, the model file 2",
    ),
    "models of other descriptors": ("lightgbm", arrays(features=lambda a: a + 1), "take different features"),
    # arrays
    "arrays of NaN": ("logistic", arrays(coefficients=lambda a: a * np.nan), "the array coefficients .* not finite"),
    "arrays of 1e300": ("logistic", arrays(coefficients=lambda a: a + 1e300), "coefficients .* far too large"),
    "a scale of 0": ("logistic", arrays(scale=lambda a: a * 0), "invalid scales"),
    "a negative width": ("svm", arrays(gamma=np.array(-1.0)), "no support-vector machine"),
    "vectors of another length": ("svm", arrays(vectors=lambda a: a[:, :3]), "the array vectors .* has the shape"),
    "an array too few": ("logistic", model(lambda data: pack_arrays({"mean": np.zeros(3)})), "holds the arrays mean"),
    "pickled arrays": ("logistic", arrays(mean=np.array([{}], dtype=object)), "not a complete model of arrays"),
    "a bomb in arrays": ("logistic", model(packed), "more than a model can hold"),
    "an array whose header lies": (
        "logistic", model(lambda data: _lying(data)), "not a complete model",
    ),
    "a member of no array": (
        "logistic", model(lambda data: _with_member(data, "mean.npy", b"raw")), "the array mean of a model",
    ),
}  # fmt: skip


def _lying(data):
    """Arrays whose header promises 10 PB."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1250000000000000,), }"
    lines = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.ljust(117) + b"\n"
    return _with_member(data, "mean.npy", lines + bytes(64))


def _with_member(data, name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for one in old.namelist():
            new.writestr(one, content if one == name else old.read(one))
    return buffer.getvalue()


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_altered_is_refused(every_road, tmp_path, name):
    head, change, message = STRANGE[name]
    path = rewrite(every_road[head], tmp_path / "x.bchisto", change)
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_bundles_that_are_whole_are_read(every_road):
    for head, path in every_road.items():
        bundle = Bundle.load(path)
        assert (bundle.head, bundle.classes) == (head, ("benign", "malignant"))
        assert bundle_view(path)[0] == bundle.classes
        assert set(bundle_stores(path)) == {STORE}


def test_a_zip_bomb_is_not_unpacked(every_road, tmp_path):
    """100 MB of zeros are 100 kB."""
    path = rewrite(every_road["lightgbm"], tmp_path / "x.bchisto", model(lambda data: bytes(100 * 1024**2)))
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "y.bchisto", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    path.unlink()
    with pytest.raises(BundleError, match="unpacks to far more than it is large"):
        Bundle.load(tmp_path / "y.bchisto")


def test_a_manifest_larger_than_one_can_be(every_road, monkeypatch):
    monkeypatch.setattr("bchisto.core.formats.limits.MANIFEST_BYTES", 1000)
    with pytest.raises(BundleError, match="its manifest is larger than one can be"):
        Bundle.load(every_road["lightgbm"])


def test_a_plugin_whose_numbers_are_no_probabilities(every_road):
    bundle = Bundle.load(every_road["lightgbm"])

    class Odd:
        def __init__(self, found):
            self.found = found

        def predict_proba(self, features):
            return self.found

    features = {STORE: np.zeros((1, 1, 16), np.float32)}
    for found in (np.full((1, 2), np.nan), np.full((1, 3), 1 / 3), np.array([[2.0, -1.0]])):
        odd = Bundle(**{**vars(bundle), "models": {STORE: [Odd(found)]}})
        with pytest.raises(BundleError, match="give values that are not probabilities"):
            odd.predict(features)
    assert isinstance(HeadSpec, type)


@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="needs the repository")
@pytest.mark.parametrize("kind", ["manifest", "model in a bundle", "zip of a bundle", "arrays", "weights"])
def test_the_campaign_of_mutations_in_short(tmp_path_factory, tmp_path, monkeypatch, kind):
    """Every mutation is refused on purpose, or gives probabilities; fuzz_bundles.py is the whole campaign."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import fuzz_bundles

    seeds = tmp_path_factory.getbasetemp() / "mutated"
    if not seeds.is_dir():
        seeds.mkdir()
        fuzz_bundles.make_seeds(seeds)
    outcomes = set()
    for number in range(60):
        made, name = fuzz_bundles.prepare(kind, seeds, random.Random(f"short {kind} {number}"))
        path = tmp_path / (name or "text")
        path.write_bytes(made.encode("utf-8", "surrogatepass") if isinstance(made, str) else made)
        try:
            fuzz_bundles.execute(kind, made, name, path)
            outcomes.add("taken")
        except BchistoError as error:
            outcomes.add("refused" if "\n" not in str(error) else "in several lines")
    assert outcomes in ({"refused", "taken"}, {"refused"})
