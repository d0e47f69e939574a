"""Two checkouts of bchisto run the same commands on the same images; the figures that they write are compared by value.

For a change that must not change results:

    git worktree add /tmp/before HEAD~5
    python tools/benchmarks/equality.py /tmp/before . --shared ../shared

Commands are run on real BreakHis and IDC images if --shared has them, and on synthetic BACH; each published system is
run with --quick on the layouts of the tests. A file is found by its path without keys, or by its name. What is
compared are the rows of tables, the numbers of JSON by the last name above them, the rows of feature files, trees and
arrays: not the form of a file, not what only the second checkout writes, and no sentences. Prints what differs by file
and figure, and exits with 1 if anything does. Both checkouts work at the same time, each with one process.
"""

import argparse
import csv
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from itertools import product
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

TESTS = Path(__file__).resolve().parents[2] / "tests"
# whose layouts of the published datasets are used
sys.path[:0] = [
    str(TESTS),
    str(TESTS / "plugins"),
]

PIXELS = """
import hashlib, sys
from pathlib import Path
from bchisto.data import decode_image
print("image_id,pixels")
for path in sorted(Path(sys.argv[1]).rglob("*")):
    if path.suffix.casefold() in (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".dcm", ".ljpeg"):
        image = decode_image(path)
        print(f"{path.name},{image.shape} {hashlib.sha256(image.tobytes()).hexdigest()}".replace(", ", " x "))
"""
"""Every real image, decoded. Files of `data/cases` are wrong on purpose, and no figure is of them."""

SMALL = (
    "--encoder mobilenetv2 --weights {weights} --augmentations 2 --crops 2 --engine keras --jobs 1"
)
PUBLISHED = "--weights random --augmentations 1 --crops 1 --engine keras --jobs 1"  # its three encoders, seeded
TREES = "--param min_data_in_leaf=2 --param num_iterations=4 --seeds 2 --jobs 1"
HEADS = f"{TREES} --head lightgbm --head logistic --head svm"
CNN = "--epochs 1 --batch-size 4 --jobs 1"
QUICK = "--out {out} --quick --weights random --jobs 1"

LISTING = "data check --images {images} --table -"

COMMANDS = {
    "tissue": [
        LISTING,
        f"featurize --images {{images}} --out {{out}} {SMALL} --view 0.25:200 --view 0.25:120",
        f"boost --out {{out}} --folds 2 --folds 60/20/20 {HEADS}",
        f"featurize --images {{images}} --out {{out}}-dense {SMALL} --mode dense --view 0.5:160",
        f"featurize --images {{images}} --out {{out}}-published {PUBLISHED} --view 0.25:120",
        f"finetune --images {{images}} --out {{out}} --network patch-resnet --size 32 --folds 2 {CNN}",
        "evaluate {out} --out {out}/evaluated --bootstrap 100",
        "predict {out}/boost/2-lightgbm/model.bchisto --images {images} --out {out}/predicted.csv --jobs 1",
        "predict {out}/finetune/2-patch-resnet/model.bchisto --images {images} --out {out}/predicted-cnn.csv --jobs 1",
    ],
    "breakhis": [
        LISTING,
        f"featurize --images {{images}} --out {{out}} {SMALL} --view 0.25:96",
        f"boost --out {{out}} --folds 4 {HEADS}",
        f"boost --out {{out}} --folds 3 --group-by none {TREES}",
        "evaluate {out} --out {out}/evaluated --bootstrap 100",
        "predict {out}/boost/4-grouped-lightgbm/model.bchisto --images {images} --out {out}/predicted.csv --jobs 1",
    ],
    "idc": [
        LISTING,
        f"featurize --images {{images}} --out {{out}} {SMALL} --view 1.0:32 --only {{only}}",
        f"boost --out {{out}} --folds 2 --folds idc-published {HEADS}",
        "evaluate {out} --out {out}/evaluated --bootstrap 100",
    ],
    "rakhlin2018": [
        f"reproduce {{recipe}} --images {{images}} {QUICK} --variant published --variant patient-disjoint"
    ],
    "breakhis-resnet": [
        f"reproduce breakhis-resnet --images {{images}} {QUICK} --variant best --variant decaf"
    ],
    "idc-patches": [
        f"reproduce idc-patches --images {{images}} {QUICK} --variant resnet --variant class-weights"
    ],
    "inbreast-inception": [
        f"reproduce inbreast-inception --images {{images}} {QUICK} --variant cross-validation --variant all-data"
    ],
    "ddsm-masses": [
        f"reproduce ddsm-masses --images {{images}} {QUICK} --variant googlenet --variant baseline"
    ],
}

OF_ROWS = ("image_id", "fold", "part", "figure", "store", "seed", "epoch", "row", "column", "name")
"""Columns that say of what a row of a table is; a table with none of them says it in its first column."""

NO_RESULT = {"settings.json", "run.json", "images.csv"}
LEFT_OUT = {"seconds", "key"}
"""Names of figures that are no results: times, and keys, which a version of the code changes."""


def make_inputs(root, before, shared):
    """Write the images of all commands; return what the commands are filled with, by name."""
    from documented import breakhis
    from miniatures import write_bach, write_cbis, write_inbreast

    make = "data make --images-per-class 5 --size 1024x800 --out tissue"
    run_in(before, [sys.executable, "-m", "bchisto", *make.split()], root).check_returncode()
    breakhis(root)
    write_idc(root / "IDC_regular_ps50_idx5")
    write_inbreast(root / "INbreast", ["1", "2", "4a", "5"] * 6)
    masses = [
        (f"P_{n:05d}", "test" if n % 4 == 0 else "train", ("BENIGN", "MALIGNANT")[n // 2 % 2])
        for n in range(32)
    ]
    write_cbis(root / "CBIS-DDSM", masses)
    filled = {
        "tissue": {"images": root / "tissue"},
        "rakhlin2018": {"images": write_bach(root, height=452, width=456)},
        "breakhis-resnet": {"images": root / "BreaKHis_v1"},
        "idc-patches": {"images": root / "IDC_regular_ps50_idx5"},
        "inbreast-inception": {"images": root / "INbreast"},
        "ddsm-masses": {"images": root / "CBIS-DDSM"},
    }
    if (shared / "data").is_dir():
        real = (shared / "data").resolve()
        only = root / "only.csv"
        patches = sorted(path.name for path in (real / "idc").rglob("*.png"))[::20]
        only.write_text("image_id\n" + "\n".join(patches) + "\n")
        filled["breakhis"] = {"images": real / "breakhis" / "BreaKHis_v1"}
        filled["idc"] = {"images": real / "idc" / "IDC_regular_ps50_idx5", "only": only}
    return filled


def write_idc(root):
    """Write patches of noise by the names of the published ones, more than a batch of the recipe."""
    rng = np.random.default_rng(3)
    for slide, label, number in product(range(8864, 8870), (0, 1), range(20)):
        path = (
            root
            / str(slide)
            / str(label)
            / f"{slide}_idx5_x{50 * number + 1}_y{50 * label + 1}_class{label}.png"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(80, 200 + 50 * label, (50, 50, 3), dtype=np.uint8)).save(path)


def run_in(checkout, command, folder, **options):
    """Run a command with the code of a checkout."""
    with tempfile.TemporaryDirectory() as types:
        Path(types, "bchisto").symlink_to(checkout.resolve())
        paths = os.pathsep.join((types, str(checkout.resolve() / "tests" / "plugins")))
        environment = {
            **os.environ,
            "PYTHONPATH": paths,
            "OMP_NUM_THREADS": "1",
            "BCHISTO_THREADS": "1",
        }
        return subprocess.run(
            [*map(str, command)],
            cwd=folder,
            env=environment,
            text=True,
            stderr=subprocess.PIPE,
            check=False,
            **options,
        )


def run_all(checkout, out, *, filled, only, weights, real):
    """Run every command with the code of a checkout, in a folder of its own; list how each ended in `commands.csv`."""
    out.mkdir()
    # its encoders on the smallest crops that they take, under names like its own
    recipe = out / "rakhlin2018.yaml"
    (published,) = (
        path for path in checkout.rglob("rakhlin2018.yaml") if "tests" not in path.parts
    )
    text = published.read_text(encoding="utf-8").replace("augmentations: 4", "augmentations: 1")
    for size, small in (("400", "200"), ("650", "224")):
        text = re.sub(rf"(0\.5[:-]){size}", rf"\g<1>{small}", text)
    recipe.write_text(text, encoding="utf-8")
    ended = []
    if real is not None and not only:
        with (out / "pixels.csv").open("w") as table:
            for name in ("breakhis", "idc"):
                ended.append(
                    (
                        name,
                        run_in(
                            checkout, [sys.executable, "-c", PIXELS, real / name], out, stdout=table
                        ),
                    )
                )
    for name, values in filled.items():
        for command in COMMANDS[name] if name in (only or filled) else ():
            words = named_by(checkout, command).format(
                **{key: shlex.quote(str(value)) for key, value in values.items()},
                out=name,
                weights=shlex.quote(weights),
                recipe=recipe,
            )
            with (out / f"{name}-list.csv" if command == LISTING else Path(os.devnull)).open(
                "w"
            ) as table:
                done = run_in(
                    checkout,
                    [sys.executable, "-m", "bchisto", *shlex.split(words)],
                    out,
                    stdout=table,
                )
            ended.append((words.replace(str(out), ""), done))
            print(
                f"{checkout}: exit status {done.returncode}: bchisto {words}",
                file=sys.stderr,
                flush=True,
            )
            if done.returncode:
                print(done.stderr[-2000:], file=sys.stderr)
    with (out / "commands.csv").open("w", newline="") as table:
        csv.writer(table).writerows(
            [("name", "status"), *((words, done.returncode) for words, done in ended)]
        )
    return sum(done.returncode != 0 for _, done in ended)


def named_by(checkout, command):
    """Return a command by the name that it has in a checkout."""
    if command == LISTING and "--table" not in (Path(checkout) / "commands/data.py").read_text():
        return "data list --images {images}"
    return command


def figures(path):
    """Return the figures of a file: kind and name to the values that have it."""
    found = defaultdict(set)
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            rows, seen = list(csv.DictReader(file)), Counter()
        for row in rows:
            names = [name for name in OF_ROWS if name in row] or list(row)[:1]
            key = ", ".join(row[name] for name in names)
            seen[key] += 1
            for column, cell in row.items():
                if column not in LEFT_OUT:
                    found[column, f"{key} ({seen[key]})" if seen[key] > 1 else key].add(
                        as_value(cell)
                    )
    elif path.suffix == ".json":
        add_numbers(json.loads(path.read_text(encoding="utf-8")), "", found)
    elif path.suffix == ".txt":  # a model: its trees, without the list of parameters
        trees = path.read_text(encoding="utf-8").partition("\nparameters:")[0].split("\nTree=")
        for number, tree in enumerate(trees[1:]):
            found["tree", str(number)].add(hash_of(np.frombuffer(tree.encode(), np.uint8)))
    elif path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            found |= {
                ("array", name): {hash_of(arrays[name])}
                for name in arrays.files
                if name not in LEFT_OUT and is_number(arrays[name])
            }
    elif path.suffix == ".h5":
        with h5py.File(path) as file:
            if "features" in file and "image_id" in file:
                ids = zip(file["image_id"].asstr()[:], file["augmentation"][:], strict=True)
                rows = {
                    f"{image}, {number}": file["features"][place]
                    for place, (image, number) in enumerate(ids)
                }
                found |= {("features", name): {hash_of(row)} for name, row in rows.items()}
            else:
                file.visititems(
                    lambda name, item: (
                        found["array", name].add(hash_of(item[()])) if is_number(item) else None
                    )
                )
    return found


def is_number(item):
    return getattr(item, "dtype", np.dtype("S")).kind in "fiub"  # keys and settings are texts


def as_value(cell):
    try:
        return float(cell)
    except (TypeError, ValueError):
        return cell


def hash_of(array):
    return hashlib.sha256(
        repr((array.shape, array.dtype.str)).encode() + array.tobytes()
    ).hexdigest()[:12]


def add_numbers(value, name, found):
    """Add the numbers of a JSON value, by the last name above them; value and interval of a figure by its name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            add_numbers(
                inner, name if "interval" in value and key in ("value", "interval") else key, found
            )
    elif isinstance(value, list):
        for inner in value:
            add_numbers(inner, name, found)
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and name not in LEFT_OUT:
        found["number", name].add(float(value))


def differences(old, new):
    """Return the figures that differ between two files by their kind, each as a text, and how many there are."""
    before, after = figures(old), figures(new)
    anywhere = set().union(*after.values()) if old.suffix in (".json", ".npz", ".h5") else set()
    lost = defaultdict(list)
    for (kind, name), values in before.items():
        if gone := values - after.get((kind, name), anywhere):
            others = sorted(map(str, after.get((kind, name), set()) - values)) or ["nothing"]
            lost[kind].append(
                f"{name}: {', '.join(sorted(map(str, gone))[:3])} -> {', '.join(others[:3])}"
            )
    return lost, Counter(kind for kind, _ in before)


def compared(folder):
    """Return the files of a folder that have figures, by their path without keys."""
    files = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.suffix in (".csv", ".json", ".txt", ".npz", ".h5") and not (
            path.name in NO_RESULT or path.name.endswith(".run.json") or "records" in relative.parts
        ):
            name = re.sub(
                r"-(?=[0-9a-f]*\d)[0-9a-f]{8}([0-9a-f]{8})?(?=[.\-/]|$)", "", relative.as_posix()
            )
            while name in files:
                name += "+"
            files[name] = path
    return files


def compare(before, after):
    """Print what differs, in one line for the models of a folder; return how many files differ."""
    old, new, wrong = compared(before), compared(after), set()
    names, lines = defaultdict(list), defaultdict(list)
    for name in new.keys() - old.keys():  # moved, or only of the second
        names[Path(name).name].append(name)
    for name, path in old.items():
        moved = names.get(Path(name).name, [])
        here = name if name in new else moved[0] if len(moved) == 1 else None
        lost, number = (
            ({"file": ["missing"]}, {"file": 1})
            if here is None
            else differences(path, new.pop(here))
        )
        several = path.suffix in (".npz", ".txt")
        where = (
            f"{Path(name).parent.as_posix()}/*{path.suffix}"
            if several and here is not None
            else name
        )
        for kind, figures_of_kind in lost.items():
            wrong.add(name)
            lines[where, kind].append((len(figures_of_kind), number[kind], figures_of_kind[0]))
    for (where, kind), files in lines.items():
        differ, number, firsts = zip(*files, strict=True)
        several = f" in {len(files)} files" if len(files) > 1 else ""
        print(
            f"{where}: {sum(differ)} of {sum(number)} differ in {kind}{several}, first {firsts[0]}"
        )
    counts = Counter(path.suffix for path in old.values())
    print("compared:", ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items())))
    if new:
        print(f"only in the second checkout: {len(new)} files, such as {min(new)}")
    return len(wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument(
        "--weights", default="random", help="Of MobileNetV2: a file, or random, which is seeded."
    )
    parser.add_argument("--keep", type=Path, help="A new folder, in which the outputs are kept.")
    parser.add_argument(
        "--only", action="append", choices=COMMANDS, help="Only these commands; may be repeated."
    )
    options = parser.parse_args()
    if options.keep is not None:
        options.keep.mkdir(parents=True)
    with (
        nullcontext(options.keep)
        if options.keep is not None
        else tempfile.TemporaryDirectory() as folder
    ):
        root = Path(folder).resolve()
        (inputs := root / "inputs").mkdir()
        filled = make_inputs(inputs, options.before, options.shared)
        real = (options.shared / "data").resolve() if "breakhis" in filled else None
        work = partial(
            run_all, filled=filled, only=options.only, weights=options.weights, real=real
        )
        with ThreadPoolExecutor(2) as both:
            sides = (
                (options.before.resolve(), options.after.resolve()),
                (root / "before", root / "after"),
            )
            failed = sum(both.map(work, *sides))
        wrong = compare(root / "before", root / "after")
        print("everything is equal" if wrong == 0 else f"{wrong} files differ")
    sys.exit(bool(wrong or failed))


if __name__ == "__main__":
    main()
