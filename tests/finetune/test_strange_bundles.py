"""Bundles of networks by strangers: whatever is altered in them, with hashes that fit, is refused in one line."""

import json
import resource
from functools import partial

import numpy as np
import pytest
from archives import arrays, hashed, model, rewrite, said
from bchisto.core import BundleError, ImageError
from bchisto.core.jobs import Ticker
from bchisto.core.models import BundleFacts, pack_arrays
from bchisto.finetune import CnnBundle, CnnModel, FinetuneSettings
from bchisto.finetune.model import build_model, weights_bytes
from bchisto.finetune.pretrained import network_arrays

SETTINGS = FinetuneSettings("speck", size=32, batch_size=4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A bundle of two untrained networks."""
    folder = tmp_path_factory.mktemp("strange")
    networks = {fold: network_arrays(build_model(SETTINGS, classes=2, fold=fold)) for fold in (1, 2)}
    CnnBundle.save(
        folder / "x.bchisto",
        BundleFacts(classes=("benign", "malignant"), protocol="2 folds", temperature=1.5),
        settings=SETTINGS,
        models={fold: partial(pack_arrays, arrays) for fold, arrays in networks.items()},
        dataset="folder",
        reading={"label_level": "class", "context": "tight"},
    )
    return folder / "x.bchisto"


def settings(**changes):
    def change(members):
        content = json.loads(members["manifest.json"])
        return said(settings={**content["settings"], **changes})(members)

    return change


def kernel(value):
    return arrays(**{"dots/kernel": value})


STRANGE = {
    "a network as large as the machine": (settings(size=10**6), "are invalid"),
    "a billion patches": (settings(patches="random:16:1000000000"), "are invalid"),
    "patches of text": (settings(patches="__import__('os')"), "write resize, random"),
    "settings of code": (settings(__class__="os.system"), "damaged"),
    "an unknown reading": (
        said(reading={"label_level": "class", "context": "tight", "only": "/etc/passwd"}), "are read",
    ),
    "three classes": (said(classes=["a", "b", "c"], two_class=None), "classes/kernel .*or it is not of speck"),
    "a temperature of -1": (said(calibration={"temperature": -1}), "a temperature from 0.001"),
    "a larger network than its weights": (
        settings(network="alexnet", size=4000, batch_size=1), "is too small for alexnet",
    ),
    "weights NaN": (kernel(lambda a: np.full(a.shape, np.nan)), r"fold1\.npz: .*dots/kernel.*no(t)? finite"),
    "weights of another shape": (kernel(np.ones(4000)), r"has the shape \(4000,\)"),
    "weights of objects": (kernel(lambda a: np.full(a.shape, {})), "not a complete model of arrays"),
    "weights cut off": (model(lambda data: data[:-100]), "not a complete model of arrays"),
    "a pickle in place of weights": (model(lambda data: b"cos\nsystem\n(S'true'\ntR."), "is too small for speck"),
    "a fold twice": (
        lambda m: hashed({**m, "models/fold01.npz": m["models/fold1.npz"]}), "two models of one fold",
    ),
    "another suffix": (
        lambda m: hashed({**m, "models/fold3.h5": m["models/fold1.npz"]}), "its members are not those of a CNN",
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

    monkeypatch.setattr("bchisto.finetune.bundle._MOST_PATCHES", 5)
    path = rewrite(whole, tmp_path / "y.bchisto", settings(patches="sliding:32:0.9"))
    image = sorted(tissue.rglob("*.png"))[0]
    record = ImageRecord(image_id="a", path=image, label=None)
    with pytest.raises(ImageError, match="patches, more than 5; give smaller images"):
        list(CnnModel(CnnBundle.load(path)).predict([record], ticker=Ticker(None), skip_errors=False))
