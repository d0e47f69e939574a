"""Bundles of networks by strangers: whatever is altered in them, with hashes that fit, is refused in one line."""

import hashlib
import json
import resource

import h5py
import numpy as np
import pytest
from archives import rewrite
from bchisto.core import BundleError, ImageError
from bchisto.crossval import BundleFacts
from bchisto.finetune import CnnBundle, CnnModel, FinetuneSettings
from bchisto.finetune.model import build_model, weights_bytes
from bchisto.finetune.pretrained import save_h5
from bchisto.jobs import Ticker

SETTINGS = FinetuneSettings("speck", size=32, batch_size=4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A bundle of two untrained networks."""
    folder = tmp_path_factory.mktemp("strange")
    for fold in (1, 2):
        save_h5(build_model(SETTINGS, classes=2, fold=fold), folder / f"{fold}.weights.h5")
    CnnBundle.save(
        folder / "x.bchisto",
        BundleFacts(classes=("benign", "malignant"), protocol="2 folds", temperature=1.5),
        settings=SETTINGS,
        models={fold: folder / f"{fold}.weights.h5" for fold in (1, 2)},
        dataset="folder",
        reading={"label_level": "class", "context": "tight"},
    )
    return folder / "x.bchisto"


def hashed(members, content):
    content["members"] = {
        name: hashlib.sha256(data).hexdigest() for name, data in members.items() if name != "manifest.json"
    }
    return {**members, "manifest.json": json.dumps(content).encode()}


def said(**changes):
    return lambda members: hashed(members, {**json.loads(members["manifest.json"]), **changes})


def settings(**changes):
    def change(members):
        content = json.loads(members["manifest.json"])
        content["settings"] = {**content["settings"], **changes}
        return hashed(members, content)

    return change


def weights(alter):
    """The first network altered as bytes."""

    def change(members):
        name = "models/fold1.weights.h5"
        return hashed({**members, name: alter(members[name])}, json.loads(members["manifest.json"]))

    return change


def h5(alter):
    """The first network altered as HDF5."""

    def change(data):
        import tempfile
        from pathlib import Path

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.h5"
            path.write_bytes(data)
            with h5py.File(path, "r+") as file:
                kernel = next(name for name in _datasets(file) if file[name].ndim == 4)
                alter(file, kernel)
            return path.read_bytes()

    return weights(change)


def _datasets(file):
    found = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def replaced(make):
    def alter(file, name):
        shape = file[name].shape
        del file[name]
        made = make(shape)
        if isinstance(made, dict):
            file.create_dataset(name, **made)
        else:
            file[name] = made

    return alter


STRANGE = {
    "a network as large as the machine": (settings(size=10**6), "past all use"),
    "batches of a billion": (settings(batch_size=10**9), "past all use"),
    "a billion patches": (settings(patches="random:16:1000000000"), "past all use"),
    "patches of text": (settings(patches="__import__('os')"), "write resize, random"),
    "an unknown network": (settings(network="../x"), "no such network"),
    "settings that are a list": (said(settings=[]), "damaged"),
    "settings of code": (settings(__class__="os.system"), "damaged"),
    "an unknown reading": (
        said(reading={"label_level": "class", "context": "tight", "only": "/etc/passwd"}), "are read",
    ),
    "a reading of numbers": (said(reading={"label_level": 3, "context": "tight"}), "are read"),
    "no reading": (said(reading=None), "damaged"),
    "three classes": (said(classes=["a", "b", "c"], two_class=None), "not weights of speck"),
    "a temperature of -1": (said(calibration={"temperature": -1}), "a temperature from 0.001"),
    "a larger network than its weights": (
        settings(network="alexnet", size=4000, batch_size=1), "is too small for alexnet",
    ),
    "weights NaN": (h5(replaced(lambda shape: np.full(shape, np.nan, np.float32))), r"fold1\.weights\.h5: not weights"),
    "weights of another shape": (h5(replaced(lambda shape: np.ones((2, 2)))), r"fold1\.weights\.h5: not weights"),
    "weights of another file": (h5(replaced(lambda shape: h5py.ExternalLink("/etc/hostname", "x"))), "a link to"),
    "weights of a raw file": (
        h5(replaced(lambda shape: {"shape": shape, "dtype": "f4", "external": [("/etc/passwd", 0, 10**4)]})),
        "is no dataset whose values lie in the file",
    ),
    "weights of text": (h5(replaced(lambda shape: np.full(shape, b"x").astype(object))), "not numbers"),
    "weights cut off": (weights(lambda data: data[:-100]), "truncated"),
    "weights of zeros": (weights(lambda data: bytes(len(data))), "not an HDF5 file"),
    "a pickle in place of weights": (weights(lambda data: b"cos\nsystem\n(S'true'\ntR."), "is too small for speck"),
    "a fold twice": (
        lambda m: hashed(
            {**m, "models/fold01.weights.h5": m["models/fold1.weights.h5"]}, json.loads(m["manifest.json"])
        ),
        "two models of one fold",
    ),
    "another suffix": (
        lambda m: hashed(
            {**m, "models/fold3.keras": m["models/fold1.weights.h5"]}, json.loads(m["manifest.json"])
        ),
        "its members are not those of a CNN",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_altered_is_refused(whole, tmp_path, name):
    change, message = STRANGE[name]
    path = rewrite(whole, tmp_path / "y.bchisto", change)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BundleError, match=message) as caught:
        CnnBundle.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert "/bchisto-" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_a_bundle_that_holds_is_read(whole):
    bundle = CnnBundle.load(whole)
    assert (sorted(bundle.models), bundle.temperature) == ([1, 2], 1.5)
    assert bundle.reading == {"label_level": "class", "context": "tight"}


def test_weights_are_counted_without_making_any():
    import keras

    assert weights_bytes(SETTINGS, classes=2) == 4 * (3 * 3 * 3 * 4 + 4 + 4 * 2 + 2)
    model = build_model(FinetuneSettings("patch-resnet", size=32), classes=3, fold=0)
    expected = sum(int(np.prod(one.shape)) for one in keras.Model(model.inputs, model.outputs).trainable_variables)
    assert weights_bytes(FinetuneSettings("patch-resnet", size=32), classes=3) == 4 * expected
    assert weights_bytes(FinetuneSettings("alexnet", size=4096), classes=3) > 10**10
    with keras.StatelessScope():  # at its end Keras makes what earlier scopes left unmade
        pass


def test_an_image_of_too_many_patches(whole, tmp_path, tissue, monkeypatch):
    from bchisto.data import ImageRecord

    monkeypatch.setattr("bchisto.finetune.predict._MOST_PATCHES", 5)
    path = rewrite(whole, tmp_path / "y.bchisto", settings(patches="sliding:32:0.9"))
    image = sorted(tissue.rglob("*.png"))[0]
    record = ImageRecord(image_id="a", path=image, label=None)
    with pytest.raises(ImageError, match="patches, more than 5; give smaller images"):
        list(CnnModel(CnnBundle.load(path)).predict([record], ticker=Ticker(None), skip_errors=False))


@pytest.mark.parametrize("name", ["ends-hdf5.h5", "hangs-hdf5.h5"])
def test_a_network_on_which_hdf5_ends_or_hangs(whole, tmp_path, name):
    """Files of the fuzzer of stores: whatever HDF5 does with them, it does in a process of its own."""
    from pathlib import Path

    data = (Path(__file__).parents[1] / "featurize" / "data" / name).read_bytes()
    path = rewrite(whole, tmp_path / "y.bchisto", weights(lambda _: data))
    with pytest.raises(BundleError, match=r"y\.bchisto: models/fold1\.weights\.h5: "):
        CnnBundle.load(path)
