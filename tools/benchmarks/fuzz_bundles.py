"""Changed models, bundles and weights files: each is read as a stranger's file is, and predicts where it is taken.

Run: python tools/benchmarks/fuzz_bundles.py [--executions 50000 --seed 0]
"""

import copy
import hashlib
import io
import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import fuzzing
import numpy as np
from bchisto.boost import Bundle
from bchisto.boost.head import TrainingPart
from bchisto.boost.heads import fit_head, known_head
from bchisto.core import as_banner
from bchisto.core.formats import check_tree
from bchisto.core.models import BundleFacts, TrainingImages
from bchisto.encoders import read_weight_arrays
from bchisto.evaluate import apply_temperature
from fuzzing import mutated

SHARES = {"arrays": 26, "manifest": 10, "model in a bundle": 8, "zip of a bundle": 4, "weights": 2}
"""How many of fifty changed files are of each kind."""

VALUES = (
    None,
    True,
    False,
    0,
    1,
    -1,
    0.5,
    -1.0,
    1e300,
    10**30,
    float("nan"),
    float("inf"),
    "",
    "x",
    "\x00",
    "../x",
    "/etc/passwd",
    "$x_$",
    "\x1b[31m",
    "a" * 10_000,
    [],
    {},
    [[]],
    [1],
    ["a", "a"],
    {"a": 1},
    {"": None},
)


def make_seeds(folder):
    """Write what is mutated: a text, a bundle of each head, and a weights file of each format."""
    import h5py
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 2, 6)).astype(np.float32)
    labels = np.arange(60) % 3
    features[:, :, 0] += labels[:, None]
    params = {
        "objective": "multiclass",
        "num_class": 3,
        "min_data_in_leaf": 3,
        "verbosity": -1,
        "num_threads": 1,
    }
    part = TrainingPart(features, labels, [None] * 60, 3, 0, 3)
    models = {
        head: next(fit_head(head, part, params=[params])).data
        for head in ("lightgbm", "logistic", "svm")
    }
    for head, data in models.items():
        (folder / f"{head}.npz").write_bytes(data)
    header = {
        "encoder": "vgg16",
        "layers": [],
        "scale": 1.0,
        "crop": 64,
        "weights": "random",
        "weights_sha256": "0" * 64,
    }
    side = {"n": 30, "right": 20, "interval": [0.5, 0.8]}
    facts = BundleFacts(
        classes=("a", "b", "c"),
        protocol="3 folds",
        banners=(as_banner("said"),),
        temperature=1.2,
        two_class={
            "positive": ["c"],
            "rule": "sum",
            "thresholds": [0.5],
            "wanted": [{"sensitivity": 0.95, "threshold": 0.2, "enough": False}],
        },
        training=TrainingImages(1, frozenset({"0" * 64})),
        unsure={
            "below": 0.6,
            "share": 0.2,
            "calibrated": True,
            "unit": "image",
            "sure": side,
            "unsure": side,
        },
    )
    for head in models:
        files = [(f"seed0-fold{fold}.npz", (folder / f"{head}.npz").read_bytes) for fold in (1, 2)]
        Bundle.save(
            folder / f"{head}.bchisto", facts, stores={"s": header}, models={"s": files}, head=head
        )
    arrays = {
        "first/kernel": rng.normal(size=(3, 3, 3, 4)).astype(np.float32),
        "first/bias": np.zeros(4, np.float32),
    }
    np.savez(folder / "w.npz", **arrays)
    save_file(arrays, folder / "w.safetensors")
    with h5py.File(folder / "w.weights.h5", "w") as file:
        for name, array in arrays.items():
            file.create_dataset(f"layers/{name}", data=array)
            file["layers/first"].attrs["name"] = "first"


def mutated_json(content, rng):
    """Exchange, remove or add values anywhere in it."""
    for _ in range(rng.randint(1, 3)):
        node = content
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(node[key], (dict, list)) and node[key] and rng.random() < 0.7:
                node = node[key]
                continue
            way = rng.randrange(4)
            if way == 0:
                del node[key]
            elif way == 1:
                node[key] = copy.deepcopy(node[rng.choice(keys)])
            elif way == 2 and isinstance(node, dict):
                node[str(rng.choice(VALUES))[:50]] = copy.deepcopy(rng.choice(VALUES))
            else:
                node[key] = copy.deepcopy(rng.choice(VALUES))
            break
    return content


def mutated_arrays(data, rng):
    """Exchange values, types and shapes of arrays, or their headers' bytes."""
    with np.load(io.BytesIO(data)) as file:
        arrays = {name: file[name] for name in file.files}
    name = rng.choice(sorted(arrays))
    array, way = np.atleast_1d(arrays[name].copy()), rng.randrange(6)
    if way == 0:
        whole = (-1, 0, 1, 2, 7, 99, -99, 65536, 2**31 - 1, -(2**31))
        exchanged = rng.choice(
            whole if array.dtype.kind == "i" else (np.nan, np.inf, -1, 0, 1e30, -1e-30, 3e38)
        )
        array.ravel()[rng.randrange(array.size)] = exchanged
    elif way == 1:
        array = array.astype(
            rng.choice(("f2", "f8", "i4", "c16", "U8", "S3", "?", "M8[s]", ">f4", "g"))
        )
    elif way == 2:
        array = np.resize(
            array, rng.choice(((0,), (1,), (3,), (6,), (1, 1), (2, 3), (3, 6), (2, 2, 2)))
        )
    elif way == 3:
        array = array * rng.choice((0, -1, 1e20, 1e-40))
    elif way == 4:
        arrays[rng.choice(("x", "../x", "mean", ""))] = array
    buffer = io.BytesIO()
    arrays[name] = array if arrays[name].ndim or way in (1, 2) else array[0]
    (np.savez_compressed if rng.random() < 0.1 else np.savez)(buffer, **arrays)
    return mutated(buffer.getvalue(), rng) if way == 5 else buffer.getvalue()


def mutated_bundle(path, rng, *, kind):
    """Return the bytes of a bundle in which the manifest or a model is mutated, with hashes that fit."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop("manifest.json"))
    name = rng.choice(sorted(members))
    if kind == "model in a bundle":
        members[name] = mutated_arrays(members[name], rng)
        if rng.random() < 0.1:
            members[
                rng.choice(("../x", "models/0/seed0-fold1.json", "models/0/seed9-fold2.npz"))
            ] = members.pop(name)
        manifest["members"] = {
            member: hashlib.sha256(data).hexdigest() for member, data in members.items()
        }
    else:
        manifest = mutated_json(manifest, rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(
        buffer, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
        archive.writestr("manifest.json", json.dumps(manifest))
    return buffer.getvalue()


ROWS = np.random.default_rng(1).normal(size=(4, 2, 6)).astype(np.float32)


def prepare(kind, seeds, rng):
    """Return a mutation and its file name, before anything is watched."""
    if kind == "arrays":
        head = rng.choice(("lightgbm", "lightgbm", "lightgbm", "logistic", "svm"))
        return mutated_arrays((seeds / f"{head}.npz").read_bytes(), rng), head
    if kind == "weights":
        path = rng.choice(sorted(seeds.glob("w.*")))
        return mutated(path.read_bytes(), rng), path.name
    path = rng.choice(sorted(seeds.glob("*.bchisto")))
    if kind == "zip of a bundle":
        return mutated(path.read_bytes(), rng), "x.bchisto"
    return mutated_bundle(path, rng, kind=kind), "x.bchisto"


def execute(kind, made, name, path):
    """Read a mutation, and predict with it; raises a `BchistoError` where it is refused."""
    if kind == "arrays":
        model = known_head(name).parse(made)
        rows = np.resize(ROWS, (4, 2, model.features)) if model.features < 1000 else ROWS
        shares = model.predict_proba(rows)
    elif kind == "weights":
        if name.endswith(".h5"):
            import h5py

            check_tree(path)
            with h5py.File(path, "r") as file:
                file.visititems(
                    lambda _, item: item[()].sum() if isinstance(item, h5py.Dataset) else None
                )
        else:
            read_weight_arrays(path)
        return
    else:
        bundle = Bundle.load(path)
        shares = bundle.predict(dict.fromkeys(bundle.stores, ROWS))
        if bundle.temperature is not None:
            scaled = apply_temperature(shares, bundle.temperature)
            assert np.array_equal(scaled.argmax(axis=1), shares.argmax(axis=1)), (
                "the temperature changes the class"
            )
    assert np.isfinite(shares).all(), "no probabilities"
    assert np.allclose(shares.sum(axis=1), 1.0), "probabilities that do not sum to 1"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="bchisto-seeds-") as name:
        folder = Path(name)
        make_seeds(folder)
        sys.exit(
            fuzzing.main(
                __doc__,
                SHARES,
                lambda kind, rng: prepare(kind, folder, rng),
                lambda kind, path: execute(kind, path.read_bytes(), path.name, path),
            )
        )
