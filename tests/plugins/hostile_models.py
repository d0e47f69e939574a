"""Model files of strangers: whatever is altered in them, with hashes that fit.

Name to the alteration and the words of its refusal; of boosted models by the head of the file that is altered.
"""

import io
import json
import zipfile

import numpy as np
from archives import arrays, hashed, model, said
from bchisto.core.models import pack_arrays

STORE = "tiny-1.0-64"
VIEW = {"positive": ["malignant"], "rule": "sum", "thresholds": [0.5], "wanted": []}


def manifest_of(members):
    return json.loads(members["manifest.json"])


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


def lying(data):
    """Arrays whose header promises 10 PB."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1250000000000000,), }"
    lines = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.ljust(117) + b"\n"
    return with_member(data, "mean.npy", lines + bytes(64))


def with_member(data, name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for one in old.namelist():
            new.writestr(one, content if one == name else old.read(one))
    return buffer.getvalue()


def store(**changes):
    """A manifest whose store says something else; `...` for what it says no more."""

    def change(members):
        content = manifest_of(members)
        header = {**content["stores"][STORE], **changes}
        content["stores"][STORE] = {
            name: value for name, value in header.items() if value is not ...
        }
        return {**members, "manifest.json": json.dumps(content).encode()}

    return change


def settings(**changes):
    return lambda members: said(settings={**manifest_of(members)["settings"], **changes})(members)


def kernel(value):
    return arrays(**{"dots/kernel": value})


def patched(data, place, value):
    """Change a byte of the first entry of the directory."""
    start = data.index(b"PK\x01\x02") + place
    return data[:start] + bytes([value]) + data[start + 1 :]


BOOSTED = {
    "lightgbm": {
        # the manifest
        "classes as a text": (said(classes="benign"), "the classes of its"),
        "a class with a lone surrogate": (
            said(classes=["benign", "\ud800x"]),
            "the classes of its",
        ),
        "a class more than the models have": (
            said(classes=["a", "b", "c"], two_class=None, looks=[]),
            "has 2 classes, the model file 3",
        ),
        "looks of a class that it has not": (
            said(looks=[{"class": "z", "what": "bits", "least": 8, "most": 8}]),
            "the looks of its manifest",
        ),
        "looks that are a text": (said(looks="8 bits"), "the looks of its manifest"),
        "a temperature of -1": (
            said(calibration={"temperature": -1}),
            "the calibration of its manifest",
        ),
        "no calibration": (said(calibration=...), "the calibration of its manifest"),
        "banners that are none": (said(banners="x"), "the banners of its manifest"),
        "a protocol of numbers": (said(protocol=3), "the protocol of its manifest"),
        "positive classes that are none": (
            said(two_class={**VIEW, "positive": ["x"]}),
            "the two_class of its",
        ),
        "training hashes that are none": (
            said(training={"images": 1, "sha256": ["x"]}),
            "the training of its",
        ),
        "an unsure rule of nothing": (
            said(unsure={"below": 0.5}),
            "the unsure of its manifest",
        ),
        "a sensitivity of 400 digits": (
            said(two_class={**VIEW, "wanted": [{"sensitivity": 10**400, "threshold": 0.5}]}),
            "the two_class of its",
        ),
        "a number of 5,000 digits": (
            lambda m: {
                **m,
                "manifest.json": m["manifest.json"].replace(
                    b'version": 4', b'version": ' + b"9" * 5000
                ),
            },
            "not a bchisto model file, or damaged",
        ),
        "a manifest nested 100,000 times": (
            lambda m: {**m, "manifest.json": b"[" * 100_000 + b"]" * 100_000},
            "or damaged",
        ),
        "members without hashes": (
            said(members={"x": 1}),
            "its members are not those of its manifest",
        ),
        # stores and names
        "no store": (said(stores={}), "names no feature sets"),
        "no encoder": (said(stores={"a": {}}), "lacks the settings of its feature sets"),
        "a store without models": (
            lambda m: said(stores={**manifest_of(m)["stores"], "more": {"encoder": "e"}})(m),
            "has no model of its feature set more",
        ),
        "a model twice": (
            renamed("seed0-", "seed00-", copy=True),
            "not those of a boosted model",
        ),
        "a seed of other digits": (
            renamed("seed0-", "seed\u0660-"),
            "not those of a boosted model",
        ),
        "a member that climbs": (
            renamed("models/", "../models/"),
            "not those of a boosted model",
        ),
        "an unknown head": (
            said(head="forest"),
            "the classifier 'forest', which this version does not know",
        ),
        "models of other classes": (
            arrays(every=True, classes=np.array(4)),
            "has 4 classes, the model file 2",
        ),
        "models of other descriptors": (
            arrays(features=lambda a: a + 1),
            "take different features",
        ),
    },
    "logistic": {
        "looks that are no numbers": (
            said(looks=[{"class": "benign", "what": "bits", "least": "8", "most": 8}]),
            "the looks of its manifest",
        ),
        # arrays
        "arrays of NaN": (
            arrays(coefficients=lambda a: a * np.nan),
            "the array coefficients .* not finite",
        ),
        "arrays of 1e300": (
            arrays(coefficients=lambda a: a + 1e300),
            "coefficients .* far too large",
        ),
        "a scale of 0": (arrays(scale=lambda a: a * 0), "invalid scales"),
        "an array too few": (
            model(lambda data: pack_arrays({"mean": np.zeros(3)})),
            "holds the arrays mean",
        ),
        "pickled arrays": (
            arrays(mean=np.array([{}], dtype=object)),
            "not a complete model of arrays",
        ),
        "a bomb in arrays": (model(packed), "unpacks to more than"),
        "an array whose header lies": (model(lying), "not a complete model"),
        "a member of no array": (
            model(lambda data: with_member(data, "mean.npy", b"raw")),
            "the array mean of a model",
        ),
    },
    "svm": {
        "a negative width": (arrays(gamma=np.array(-1.0)), "no support-vector machine"),
        "vectors of another length": (
            arrays(vectors=lambda a: a[:, :3]),
            "the array vectors .* has the shape",
        ),
    },
}
ARCHIVES = {
    "no zip": (lambda data: b"PK not a zip", "not a bchisto model file, or damaged"),
    "an encrypted zip": (lambda data: patched(data, 8, 1), "or damaged"),
    "a zip of an unknown method": (lambda data: patched(data, 10, 99), "or damaged"),
    "a zip with other bytes": (lambda data: data[:100] + b"\xff" * 10 + data[110:], "or damaged"),
}
NETWORKS = {
    "a network as large as the machine": (settings(size=10**6), "are invalid"),
    "a billion patches": (settings(patches="random:16:1000000000"), "are invalid"),
    "patches of text": (settings(patches="__import__('os')"), "write resize, random"),
    "settings of code": (settings(__class__="os.system"), "damaged"),
    "an unknown stain method": (settings(stain="x"), "needs the stain method 'x'"),
    "an unknown reading": (
        said(reading={"label_level": "class", "context": "tight", "only": "/etc/passwd"}),
        "are read",
    ),
    "three classes": (
        said(classes=["a", "b", "c"], two_class=None),
        "classes/kernel .*or it is not of speck",
    ),
    "a larger network than its weights": (
        settings(network="alexnet", size=4000, batch_size=1),
        "is too small for alexnet",
    ),
    "weights NaN": (
        kernel(lambda a: np.full(a.shape, np.nan)),
        r"fold1\.npz: .*dots/kernel.*no(t)? finite",
    ),
    "weights of another shape": (kernel(np.ones(4000)), r"has the shape \(4000,\)"),
    "weights of objects": (
        kernel(lambda a: np.full(a.shape, {})),
        "not a complete model of arrays",
    ),
    "weights cut off": (model(lambda data: data[:-100]), "not a complete model of arrays"),
    "a pickle in place of weights": (
        model(lambda data: b"cos\nsystem\n(S'true'\ntR."),
        "is too small for speck",
    ),
    "a fold twice": (
        lambda m: hashed({**m, "models/fold01.npz": m["models/fold1.npz"]}),
        "its members are not those",
    ),
    "another suffix": (
        lambda m: hashed({**m, "models/fold3.h5": m["models/fold1.npz"]}),
        "its members are not those of a CNN",
    ),
}
PREDICTED = {
    "a hundred million crops": (
        store(crops=10**8),
        r"do not fit \(crops is 100000000, out of range\)",
    ),
    "a billion augmentations": (
        store(augmentations=10**9),
        "crops of every image, more than 200,000",
    ),
    "no crop size": (store(crop=...), r"do not fit \('crop'\)"),
    "a crop of a million pixels": (
        store(crop=10**6),
        r"do not fit \(crop is 1000000, out of range\)",
    ),
    "a scale NaN": (store(scale=float("nan")), r"do not fit \(scale is "),
    "a norm of 1e300": (store(pool=1e300), r"do not fit \(pool is "),
    "an unknown stain": (
        store(stain="x"),
        "needs the stain method 'x', which this version does not know",
    ),
    "layers as numbers": (store(layers=[1]), r"do not fit \(layers are not names\)"),
    "layers that the network has not": (store(layers=["x"]), "no output x"),
    "an unknown encoder": (
        store(encoder="../../x"),
        "this model's encoders ../../x: no such encoder",
    ),
    "weights as a number": (store(weights=3), r"do not fit \(its weights are not text\)"),
    "the hash of other weights": (store(weights_sha256="0" * 64), "differs from that of training"),
    "a temperature of 400 digits": (
        said(calibration={"temperature": 10**400}),
        "the calibration of its manifest",
    ),
    "a schema in words": (said(schema_version="3"), "its manifest has no schema version"),
    "a schema of 400 digits": (said(schema_version=10**400), "its manifest has no schema version"),
    "a schema of a version to come": (
        said(schema_version=5, bchisto_version="10.1"),
        "install bchisto 10.1 or later",
    ),
}
"""What `predict` refuses of a boosted model that can be read, or before it is read."""
