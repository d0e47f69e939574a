"""Two checkouts of bchisto decode the same images and run the same commands; pixels, arrays, model texts, tables,
metrics and fold lists are compared.

For a change that must not change results:

    git worktree add /tmp/before HEAD~5
    python benchmarks/equality.py /tmp/before . --shared ../shared

Real BreakHis and IDC images are taken where --shared holds them, and synthetic BACH. Prints a line per kind of output
and exits with 1 where any differs.
"""

import argparse
import csv
import json
import os
import shlex
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import h5py
import numpy as np

SMALL = "--encoder mobilenetv2 --weights {weights} --augmentations 2 --crops 2 --jobs 2"
PUBLISHED = "--weights random --augmentations 1 --crops 1 --jobs 2"  # its three encoders, seeded
TREES = "--param min_data_in_leaf=2 --param num_iterations=4 --seeds 2"
BOOST = f"{TREES} --jobs 2 --head lightgbm --head logistic --head svm"
CNN = "--epochs 1 --batch-size 4 --jobs 2"

COMMANDS = {
    "bach": [
        "data list --images {images} > {out}/list.csv",
        "featurize --images {images} --out {out} {small} --view 0.25:200 --view 0.25:120",
        "boost --out {out} --folds 2 --folds 60/20/20 {boost} --head svm",
        "featurize --images {images} --out {out}-dense {small} --mode dense --view 0.5:160",
        "featurize --images {images} --out {out}-openvino {small} --engine openvino --view 0.25:120",
        "featurize --images {images} --out {out}-published {published} --view 0.25:120",
        "finetune --images {images} --out {out} --network patch-resnet --size 32 --folds 2 {cnn}",
        "evaluate {out} --out {out}/evaluated --bootstrap 100",
        "predict {out}/boost/2-lightgbm/model.bchisto --images {images} --out {out}/predicted.csv --jobs 2",
        "predict {out}/finetune/2-patch-resnet/model.bchisto --images {images} --out {out}/predicted-cnn.csv --jobs 2",
    ],
    "breakhis": [
        "data list --images {images} > {out}/list.csv",
        "featurize --images {images} --out {out} {small} --view 0.25:96",
        "boost --out {out} --folds 4 {boost}",
        "boost --out {out} --folds 3 --group-by none {boost}",
        "evaluate {out} --out {out}/evaluated --bootstrap 100",
        "predict {out}/boost/4-grouped-lightgbm/model.bchisto --images {images} --out {out}/predicted.csv --jobs 2",
    ],
    "idc": [
        "data list --images {images} > {out}/list.csv",
        "featurize --images {images} --out {out} {small} --view 1.0:32 --only {only}",
        "boost --out {out} --folds 2 --folds idc-published {boost}",
        "finetune --images {images} --out {out} --network patch-densenet --size 32 --folds 2 --only {only} {cnn}",
        "evaluate {out} --out {out}/evaluated --bootstrap 100",
    ],
}


def run_all(checkout, data, out, weights):
    """Run every command with the code of a checkout, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "bchisto").symlink_to(checkout.resolve())
        plugins = checkout.resolve() / "tests" / "plugins"
        environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{plugins}", "OMP_NUM_THREADS": "1"}
        for name, (images, only) in data.items():
            target = out / name
            target.mkdir(parents=True)
            for command in COMMANDS[name]:
                filled = command.format(
                    images=shlex.quote(str(images)), out=shlex.quote(str(target)), only=shlex.quote(str(only)),
                    small=SMALL.format(weights=weights), published=PUBLISHED, boost=BOOST, cnn=CNN,
                )  # fmt: skip
                done = subprocess.run(
                    f"{shlex.quote(sys.executable)} -m bchisto {filled}",
                    shell=True, env=environment, cwd=out, capture_output=True, text=True, check=False,
                )  # fmt: skip
                if done.returncode:
                    print(f"{checkout}: bchisto {filled}\n{done.stderr}", file=sys.stderr)
                    sys.exit(1)


PIXELS = """
import hashlib, json, sys
from pathlib import Path
from bchisto.data import decode_image
from bchisto.core import ImageError
found = {}
for path in sorted(Path(sys.argv[1]).rglob("*")):
    if path.suffix.casefold() in (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".dcm", ".ljpeg"):
        try:
            image = decode_image(path)
            found[str(path)] = [image.shape, hashlib.sha256(image.tobytes()).hexdigest()]
        except ImageError as error:
            found[str(path)] = str(error)
print(json.dumps(found))
"""


def pixels_of(checkout, shared):
    """Return the hash of the decoded pixels of every image below a folder, by the code of a checkout."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "bchisto").symlink_to(checkout.resolve())
        done = subprocess.run(
            [sys.executable, "-c", PIXELS, str(shared)],
            env={**os.environ, "PYTHONPATH": folder}, capture_output=True, text=True, check=True,
        )  # fmt: skip
    return json.loads(done.stdout)


def flat(value, path=""):
    """Yield every leaf of a JSON value with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from flat(inner, f"{path}/{index}")
    else:
        yield path, value


def differences(old, new):
    """Return what differs between two files, as short texts; columns and keys that only the new one has do not."""
    kind = old.suffix
    if kind == ".h5" and "features" in str(old):
        with h5py.File(old) as a, h5py.File(new) as b:
            names = ["features", "image_id", "label", "group", "augmentation"]
            return [name for name in names if not np.array_equal(a[name][:], b[name][:])]
    if kind == ".h5":
        lines = []
        with h5py.File(old) as a, h5py.File(new) as b:
            arrays = [[], []]
            for index, file in enumerate((a, b)):
                file.visititems(lambda _, item, p=index: arrays[p].append(item[()]) if hasattr(item, "shape") else None)
            same = len(arrays[0]) == len(arrays[1])
            if not same or not all(np.array_equal(x, y) for x, y in zip(*arrays, strict=True)):
                lines.append("weights")
        return lines
    if kind == ".json":
        after = dict(flat(json.loads(new.read_text(encoding="utf-8"))))
        before = dict(flat(json.loads(old.read_text(encoding="utf-8"))))
        return [f"{p}: {v!r} -> {after.get(p)!r}" for p, v in before.items() if after.get(p) != v]
    if kind == ".csv":
        with old.open(newline="", encoding="utf-8") as a, new.open(newline="", encoding="utf-8") as b:
            rows, others = list(csv.DictReader(a)), list(csv.DictReader(b))
        if len(rows) != len(others):
            return [f"{len(rows)} -> {len(others)} rows"]
        wrong = Counter(
            key for row, other in zip(rows, others, strict=True) for key in row if row[key] != other.get(key)
        )
        return [f"column {key} in {count} rows" for key, count in wrong.items()]
    if kind == ".txt":  # a model: its trees, without the list of parameters
        trees = [path.read_text(encoding="utf-8").partition("\nparameters:")[0] for path in (old, new)]
        return [] if trees[0] == trees[1] else ["trees"]
    if kind == ".bchisto":
        with zipfile.ZipFile(old) as a, zipfile.ZipFile(new) as b:
            return [] if len(a.namelist()) == len(b.namelist()) else ["members"]
    return []


def counterpart(path):
    """Return the file of the same name, or with a key in its name; None if there is none."""
    stem, dot, suffix = path.name.partition(".")
    keyed = sorted(path.parent.glob(f"{stem}-{'[0-9a-f]' * 16}{dot}{suffix}")) if path.parent.is_dir() else []
    return path if path.is_file() else next(iter(keyed), None)


def compare(before, after):
    """Print a line per kind of file; return how many files differ."""
    counts, wrong = Counter(), 0
    for old in sorted(path for path in before.rglob("*") if path.is_file()):
        relative = old.relative_to(before)
        if old.suffix in (".html", ".tex") or old.name.endswith("run.json") or "records" in relative.parts:
            continue
        if old.name in ("settings.json", "images.csv") or old.suffix in (".npy", ".bin", ".npz"):
            continue
        if old.suffix == ".csv" and "models" in relative.parts:  # now in the packs of models
            continue
        new = counterpart(after / relative)
        changes = differences(old, new) if new is not None else ["missing"]
        counts[old.suffix or old.name] += 1
        if changes:
            wrong += 1
            print(f"{relative}: {'; '.join(changes[:4])}{f' and {len(changes) - 4} more' if len(changes) > 4 else ''}")
    for kind, count in sorted(counts.items()):
        print(f"{count:5} files {kind} compared")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--weights", default="random", help="Of MobileNetV2: a file, or random, which is seeded.")
    parser.add_argument("--keep", type=Path, help="A new folder, in which the outputs are kept.")
    parser.add_argument("--pixels", action="store_true", help="Compare the decoded pixels of --shared alone.")
    options = parser.parse_args()
    old, new = (pixels_of(checkout, options.shared) for checkout in (options.before, options.after))
    unlike = [path for path in old if old[path] != new.get(path)]
    print(f"decoded pixels: {len(old)} images, {len(unlike)} differ", *unlike[:5], sep="\n  ")
    if options.pixels or unlike:
        sys.exit(bool(unlike))
    if options.keep is not None:
        options.keep.mkdir(parents=True)
    with nullcontext(options.keep) if options.keep is not None else tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        make = [sys.executable, "-m", "bchisto", "data", "make", "--images-per-class", "5", "--size", "1024x800"]
        subprocess.run([*make, "--out", root / "tissue"], check=True, capture_output=True)
        data = {"bach": (root / "tissue", "")}
        if (options.shared / "data").is_dir():
            shared = (options.shared / "data").resolve()
            only = root / "only.csv"
            patches = sorted(path.name for path in (shared / "idc").rglob("*.png"))[::20]
            only.write_text("image_id\n" + "\n".join(patches) + "\n")
            data["breakhis"] = (shared / "breakhis" / "BreaKHis_v1", "")
            data["idc"] = (shared / "idc" / "IDC_regular_ps50_idx5", only)
        for name, checkout in (("before", options.before), ("after", options.after)):
            run_all(checkout, data, root / name, options.weights)
        wrong = compare(root / "before", root / "after")
        print("everything is equal" if wrong == 0 else f"{wrong} files differ")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
