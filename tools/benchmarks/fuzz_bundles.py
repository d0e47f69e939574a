"""Mutated models, bundles and weights files: what comes of each, as a table.

Every mutation is read as a stranger's file is read, and predicts where it is taken. A child process works them off, so
that a signal ends that child alone and is counted; one that takes over ten seconds is ended by an alarm. An audit hook
counts whatever is written, started, unpickled or connected to meanwhile.

Run: python tools/benchmarks/fuzz_bundles.py [--count 50000 --seed 0]
"""

import argparse
import collections
import copy
import hashlib
import io
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from bchisto.boost import Bundle
from bchisto.boost.head import TrainingPart
from bchisto.boost.heads import fit_head
from bchisto.core import BchistoError
from bchisto.core.formats import check_tree
from bchisto.core.models import BundleFacts, TrainingImages
from bchisto.encoders import read_weight_arrays
from bchisto.evaluate import apply_temperature

SECONDS = 10
SHARE = {"arrays": 26, "manifest": 10, "model in a bundle": 8, "zip of a bundle": 4, "weights": 2}
"""How many of fifty mutations are of each kind."""

VALUES = (None, True, False, 0, 1, -1, 0.5, -1.0, 1e300, 10**30, float("nan"), float("inf"), "", "x", "\x00", "../x",
          "/etc/passwd", "$x_$", "\x1b[31m", "a" * 10_000, [], {}, [[]], [1], ["a", "a"], {"a": 1},
          {"": None})  # fmt: skip
WATCHED = ("os.", "shutil.", "subprocess.", "socket.", "pickle.", "ctypes.dlopen", "tempfile.", "exec")


def make_seeds(folder):
    """Write what is mutated: a text, a bundle of each head, and a weights file of each format."""
    import h5py
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 2, 6)).astype(np.float32)
    labels = np.arange(60) % 3
    features[:, :, 0] += labels[:, None]
    params = {"objective": "multiclass", "num_class": 3, "min_data_in_leaf": 3, "verbosity": -1, "num_threads": 1}
    part = TrainingPart(features, labels, [None] * 60, 3, 0, 3)
    models = {head: next(fit_head(head, part, params=[params])).data for head in ("lightgbm", "logistic", "svm")}
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
        classes=("a", "b", "c"), protocol="3 folds", banners=("said",), temperature=1.2,
        two_class={"positive": ["c"], "rule": "sum", "thresholds": [0.5],
                   "wanted": [{"sensitivity": 0.95, "threshold": 0.2, "enough": False}]},
        training=TrainingImages(1, frozenset({"0" * 64})),
        unsure={"below": 0.6, "share": 0.2, "calibrated": True, "unit": "image", "sure": side, "unsure": side},
    )  # fmt: skip
    for head in models:
        files = [(f"seed0-fold{fold}.npz", (folder / f"{head}.npz").read_bytes) for fold in (1, 2)]
        Bundle.save(folder / f"{head}.bchisto", facts, stores={"s": header}, models={"s": files}, head=head)
    arrays = {"first/kernel": rng.normal(size=(3, 3, 3, 4)).astype(np.float32), "first/bias": np.zeros(4, np.float32)}
    np.savez(folder / "w.npz", **arrays)
    save_file(arrays, folder / "w.safetensors")
    with h5py.File(folder / "w.weights.h5", "w") as file:
        for name, array in arrays.items():
            file.create_dataset(f"layers/{name}", data=array)
            file["layers/first"].attrs["name"] = "first"


def mutated_bytes(data, rng, *, most=4):
    """Flip, insert, delete, repeat or exchange bytes."""
    altered = bytearray(data)
    for _ in range(rng.randint(1, most)):
        offset = rng.randrange(len(altered) or 1)
        length = rng.choice((1, 1, 2, 4, 8, 64, 512))
        way = rng.randrange(6)
        if way == 0 and altered:
            altered[offset] ^= 1 << rng.randrange(8)
        elif way == 1:
            altered[offset : offset + length] = rng.randbytes(length)
        elif way == 2:
            del altered[offset : offset + length]
        elif way == 3:
            altered[offset:offset] = altered[offset : offset + length]
        elif way == 4:
            altered[offset : offset + length] = rng.choice((b"\x00", b"\xff", b"\x7f")) * length
        else:
            other = rng.randrange(len(altered) or 1)
            altered[offset : offset + length] = altered[other : other + length]
    return bytes(altered)


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
        exchanged = rng.choice(whole if array.dtype.kind == "i" else (np.nan, np.inf, -1, 0, 1e30, -1e-30, 3e38))
        array.ravel()[rng.randrange(array.size)] = exchanged
    elif way == 1:
        array = array.astype(rng.choice(("f2", "f8", "i4", "c16", "U8", "S3", "?", "M8[s]", ">f4", "g")))
    elif way == 2:
        array = np.resize(array, rng.choice(((0,), (1,), (3,), (6,), (1, 1), (2, 3), (3, 6), (2, 2, 2))))
    elif way == 3:
        array = array * rng.choice((0, -1, 1e20, 1e-40))
    elif way == 4:
        arrays[rng.choice(("x", "../x", "mean", ""))] = array
    buffer = io.BytesIO()
    arrays[name] = array if arrays[name].ndim or way in (1, 2) else array[0]
    (np.savez_compressed if rng.random() < 0.1 else np.savez)(buffer, **arrays)
    return mutated_bytes(buffer.getvalue(), rng) if way == 5 else buffer.getvalue()


def mutated_bundle(path, rng, *, kind):
    """Return the bytes of a bundle in which the manifest or a model is mutated, with hashes that fit."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop("manifest.json"))
    name = rng.choice(sorted(members))
    if kind == "model in a bundle":
        members[name] = mutated_arrays(members[name], rng)
        if rng.random() < 0.1:
            members[rng.choice(("../x", "models/s/seed0-fold1.json", "models/s/seed9-fold2.npz"))] = members.pop(name)
        manifest["members"] = {member: hashlib.sha256(data).hexdigest() for member, data in members.items()}
    else:
        manifest = mutated_json(manifest, rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
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
        return mutated_bytes(path.read_bytes(), rng), path.name
    path = rng.choice(sorted(seeds.glob("*.bchisto")))
    if kind == "zip of a bundle":
        return mutated_bytes(path.read_bytes(), rng), "x.bchisto"
    return mutated_bundle(path, rng, kind=kind), "x.bchisto"


def execute(kind, made, name, path):
    """Read a mutation, and predict with it; raises a `BchistoError` where it is refused."""
    if kind == "arrays":
        from bchisto.boost.heads import known_head

        model = known_head(name).parse(made)
        rows = np.resize(ROWS, (4, 2, model.features)) if model.features < 1000 else ROWS
        shares = model.predict_proba(rows)
    elif kind == "weights":
        if name.endswith(".h5"):
            import h5py

            check_tree(path)
            with h5py.File(path, "r") as file:
                file.visititems(lambda _, item: item[()].sum() if isinstance(item, h5py.Dataset) else None)
        else:
            read_weight_arrays(path)
        return
    else:
        bundle = Bundle.load(path)
        shares = bundle.predict(dict.fromkeys(bundle.stores, ROWS))
        if bundle.temperature is not None:
            scaled = apply_temperature(shares, bundle.temperature)
            assert np.array_equal(scaled.argmax(axis=1), shares.argmax(axis=1)), "the temperature changes the class"
    assert np.isfinite(shares).all(), "no probabilities"
    assert np.allclose(shares.sum(axis=1), 1.0), "probabilities that do not sum to 1"


class Watch:
    """Counts what an audit hook sees while it is on."""

    def __init__(self):
        self.on, self.own, self.seen = False, "", collections.Counter()
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        if not self.on:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (
                isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            if writes or (isinstance(path, str) and path.startswith("/etc")):
                self.seen[f"open {path} {mode}"] += 1
        elif event.startswith(WATCHED) and not event.startswith(("os.scandir", "os.listdir", "os.putenv")):
            self.seen[f"{event} {str(arguments)[:80]}"] += 1


def work(seeds, folder, kind, first, count, seed, report):
    """Work off mutations; the number of the one under way stands in a file, for when the process dies."""
    os.chdir(folder)
    watch, path = Watch(), None
    outcomes, odd, slowest = collections.Counter(), [], 0.0
    for number in range(first, first + count):
        rng = random.Random(f"{seed} {kind} {number}")
        made, name = prepare(kind, seeds, rng)
        if name is not None and kind != "arrays":
            path = folder / name
            path.write_bytes(made)
        report["at"] = number
        signal.alarm(SECONDS)
        started = time.perf_counter()
        watch.on = True
        try:
            execute(kind, made, name, path)
            outcome = "taken"
        except BchistoError as error:
            outcome = "refused"
            if "\n" in str(error) or len(str(error)) > 1000:
                outcome = "unexpected"
                odd.append(f"{kind} {number}: a message of {len(str(error))} characters: {str(error)[:200]!r}")
        except Exception:  # noqa: BLE001 - what is not refused on purpose is what is looked for
            outcome = "unexpected"
            odd.append(f"{kind} {number}: {traceback.format_exc()[-900:]}")
        finally:
            watch.on = False
            signal.alarm(0)
        slowest = max(slowest, time.perf_counter() - started)
        outcomes[outcome] += 1
        report["outcomes"] = dict(outcomes)
        if path is not None:
            path.unlink()
    report.update(
        odd=odd, slowest=slowest, seen=dict(watch.seen),
        peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, left=sorted(map(str, folder.rglob("*"))),
    )  # fmt: skip


def campaign(seeds, kind, count, seed):
    """Return what came of the mutations of a kind; a child that dies is followed by another one behind its mutation."""
    total, at = collections.Counter(), 0
    tally = {"odd": [], "slowest": 0.0, "peak": 0.0, "seen": collections.Counter(), "left": []}
    with multiprocessing.Manager() as manager:
        while at < count:
            report = manager.dict(at=at)
            with tempfile.TemporaryDirectory(prefix="bchisto-fuzz-") as folder:
                size = min(2000, count - at)
                child = multiprocessing.get_context("fork").Process(
                    target=work, args=(seeds, Path(folder), kind, at, size, seed, report)
                )
                child.start()
                child.join()
            if child.exitcode:
                total.update(report.get("outcomes", {}))
                total["over 10 s" if child.exitcode == -signal.SIGALRM else "signals"] += 1
                tally["odd"].append(f"{kind} {report['at']}: ended by {child.exitcode}")
                at = report["at"] + 1
                continue
            at += size
            total.update(report["outcomes"])
            tally["odd"] += report["odd"]
            tally["seen"].update(report["seen"])
            tally["left"] += report["left"]
            tally["slowest"] = max(tally["slowest"], report["slowest"])
            tally["peak"] = max(tally["peak"], report["peak"])
    return total, tally


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    odd = []
    head = ("kind", "mutations", "refused", "taken", "unexpected", "signals", "over 10 s", "slowest, s", "peak MB",
            "written or started")  # fmt: skip
    print(f"| {' | '.join(head)} |\n{'| --- ' * len(head)}|")
    with tempfile.TemporaryDirectory(prefix="bchisto-seeds-") as folder:
        make_seeds(Path(folder))
        for kind, share in SHARE.items():
            count = options.count * share // sum(SHARE.values())
            total, tally = campaign(Path(folder), kind, count, options.seed)
            cells = [total[name] for name in ("refused", "taken", "unexpected", "signals", "over 10 s")]
            outside = sum(tally["seen"].values()) + len(tally["left"])
            print(f"| {kind} | {count:,} | {' | '.join(f'{cell:,}' for cell in cells)} | {tally['slowest']:.2f} | "
                  f"{tally['peak']:.0f} | {outside} |", flush=True)  # fmt: skip
            odd += [*tally["odd"], *(f"{kind}: {event}, {times} times" for event, times in tally["seen"].items())]
            odd += tally["left"]
    for finding in odd[:50]:
        print(f"\n{finding}")
    return 1 if odd else 0


if __name__ == "__main__":
    sys.exit(main())
