"""The house: arrows between folders, how its code reads, and what the way of an image runs through.

    python tools/benchmarks/house.py [--functions N]

Counted: folders and files at the root; arrows between package folders at the root; tokens by room, heavy functions and
dense expressions (`reading.py` has the rules); modules of bchisto that a fresh process loads to import a room; modules
and functions that `featurize` of 12 images, `boost` of 3 folds and `predict` of an image enter, with a NumPy encoder,
in every thread and process; and those of `evaluate` that a table enters until it is measured. Comprehensions, lambdas,
what runs during an import and what dataclasses write are no functions of ours. `tests/house/test_law.py` holds the law,
and `.github/CONTRIBUTING.md` says it in words.
"""

import argparse
import ast
import os
import subprocess
import sys
import tempfile
from collections import Counter
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import reading

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = {"tests", "docs", "tools", "build", "dist"}
PLUGINS = ROOT / "tests" / "plugins"
STAGES = ("featurize", "boost", "predict")
MEASURED = "measure"

WATCH = """
import os, sys, threading
entered = {}
def watch(frame, event, argument):
    folder = os.environ.get("BCHISTO_WALK")
    name = frame.f_globals.get("__name__", "")
    if event != "call" or not folder or not name.startswith("bchisto."):
        return
    if frame.f_code.co_name.startswith("<") or frame.f_code.co_filename == "<string>":
        return
    key = (folder, name, frame.f_code.co_qualname)
    if key in entered:
        return
    caller = frame.f_back
    while caller is not None:
        if caller.f_code.co_filename.startswith("<frozen importlib"):
            return
        caller = caller.f_back
    entered[key] = True
    with open(os.path.join(folder, str(os.getpid())), "a") as file:
        file.write(f"{name} {frame.f_code.co_qualname}\\n")
threading.setprofile(watch)
sys.setprofile(watch)
"""
"""A `sitecustomize`, which every process of the walk imports. It writes what is first entered."""

WALK = """
import os, sys
from pathlib import Path
from bchisto.data import FoldChoice
from bchisto.data.synthetic import make_tissue
from PIL import Image
from bchisto.boost import BoostSettings, train
from bchisto.core.jobs import Work
from bchisto.evaluate import measure, read_predictions
from bchisto.featurize import FeaturizeSettings, featurize
from bchisto.predict import predict
root = Path(sys.argv[1])
for number in range(12):
    path = root / "images" / "ab"[number % 2] / f"{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_tissue("Benign", seed=0, index=number, size=(96, 96))).save(path)
def begin(stage):
    (root / "walk" / stage).mkdir(parents=True)
    os.environ["BCHISTO_WALK"] = str(root / "walk" / stage)
settings = FeaturizeSettings(encoders=("tiny",), weights=("random",), views=("1.0:64",), augmentations=2, crops=2)
begin("featurize")
featurize(root / "images", out=root / "run", settings=settings, work=Work(jobs=1))
begin("boost")
boosting = BoostSettings(seeds=1, params=("min_data_in_leaf=2", "num_iterations=3"))
(trained,) = train(out=root / "run", folds="3", settings=boosting, work=Work(jobs=1))
begin("predict")
predict(trained.model, [root / "images" / "a" / "0.png"], out=root / "predicted.csv", work=Work(jobs=1))
begin("measure")
(table,) = read_predictions(root / "bchisto" / "tests" / "evaluate" / "golden" / "folds.csv")
measure(table)
"""


def modules():
    """Return the path of each module of the package, below the root."""
    folders = [path for path in ROOT.glob("[!.]*/") if path.name not in OUTSIDE]
    files = [*ROOT.glob("*.py"), *(file for folder in folders for file in folder.rglob("*.py"))]
    return sorted(path.relative_to(ROOT) for path in files)


@cache
def nodes_of(path):
    """Return the nodes of the syntax tree of a module."""
    return list(ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))))


def readings():
    """Return path to what is counted in each module."""
    flags = reading.flags_of(chain.from_iterable(map(nodes_of, modules())))
    return {
        path: reading.read((ROOT / path).read_text(encoding="utf-8"), flags, nodes_of(path))
        for path in modules()
    }


def room_of(path):
    """Return the room of a module: its folder at the root, or its app."""
    if len(path.parts) == 1:
        return "root"
    if path.parts[0] == "apps" and len(path.parts) > 2:
        return f"apps/{path.parts[1]}"
    return path.parts[0]


def tokens_by_room(counted):
    """Return room to tokens, the largest first."""
    tokens = Counter()
    for path, counts in counted.items():
        tokens[room_of(path)] += counts.tokens
    return dict(tokens.most_common())


class HeavyFunction(NamedTuple):
    """A function of the package; the heaviest is the largest."""

    branches: int
    statements: int
    place: str


def functions_of(counted):
    """Return all functions, the heaviest first."""
    functions = [
        HeavyFunction(
            function.branches, function.statements, f"{path}:{function.line} {function.name}"
        )
        for path, counts in counted.items()
        for function in counts.functions
    ]
    return sorted(functions, reverse=True)


class Density(NamedTuple):
    """How many of an expression stand in 1,000 tokens."""

    conditionals: float
    pairs: float
    walruses: float


class HiddenChoices(NamedTuple):
    """How many expressions do what a conditional expression does, by form."""

    by_index: int
    by_repetition: int
    by_and_or: int


def density_of(counted):
    """Return how dense expressions are in the package."""
    thousands = sum(counts.tokens for counts in counted.values()) / 1000
    return Density(
        conditionals=sum(counts.conditionals for counts in counted.values()) / thousands,
        pairs=sum(counts.pairs for counts in counted.values()) / thousands,
        walruses=sum(counts.walruses for counts in counted.values()) / thousands,
    )


def hidden_choices(counted):
    """Return how many choices are hidden in other expressions."""
    return HiddenChoices(
        by_index=sum(counts.by_index for counts in counted.values()),
        by_repetition=sum(counts.by_repetition for counts in counted.values()),
        by_and_or=sum(counts.by_and_or for counts in counted.values()),
    )


def imported(path):
    """Yield the dotted names that a module imports relatively, also inside functions."""
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parts[: len(path.parts) - node.level]
            yield from (
                ".".join((*base, *filter(None, [node.module]), alias.name)) for alias in node.names
            )


def arrows():
    """Return the pairs of package folders at the root of which the first imports the second."""
    folders = {path.parts[0] for path in modules() if len(path.parts) > 1}
    return {
        (path.parts[0], name.split(".")[0])
        for path in modules()
        if len(path.parts) > 1
        for name in imported(path)
        if name.split(".")[0] in folders - {path.parts[0]}
    }


def at_root():
    """Return how many package folders, folders without a dot and files are tracked at the root."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=True
    ).stdout
    paths = [Path(line) for line in listed.splitlines()]
    folders = {
        path.parts[0] for path in paths if len(path.parts) > 1 and not path.parts[0].startswith(".")
    }
    packages = {folder for folder in folders if (ROOT / folder / "__init__.py").is_file()}
    return len(packages), len(folders), sum(len(path.parts) == 1 for path in paths)


def fresh(code, folder):
    """Run code in a fresh process, with this package and what the folder holds; return its output."""
    if not (folder / "bchisto").exists():
        (folder / "bchisto").symlink_to(ROOT)
    # temporary folders of other processes of bchisto would be looked at, and so counted
    environment = {
        **os.environ,
        "TMPDIR": str(folder),
        "PYTHONPATH": os.pathsep.join((str(folder), str(PLUGINS))),
    }
    command = [sys.executable, "-c", code, folder]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def ways():
    """Return stage to the numbers of modules and of functions that it enters; of a measured table, of `evaluate`."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "sitecustomize.py").write_text(WATCH)
        fresh(WALK, root)
        counts = {}
        for stage in (*STAGES, MEASURED):
            room = "bchisto.evaluate." if stage == MEASURED else "bchisto."
            entered = {
                line
                for file in (root / "walk" / stage).iterdir()
                for line in file.read_text().splitlines()
                if line.startswith(room)
            }
            counts[stage] = (len({line.split()[0] for line in entered}), len(entered))
        return counts


def loaded(room):
    """Return how many modules of bchisto a fresh process loads to import a room."""
    code = f"import sys, bchisto.{room}; print(sum(name.startswith('bchisto.') for name in sys.modules))"
    with tempfile.TemporaryDirectory() as folder:
        return int(fresh(code, Path(folder)))


def print_reading(counted, heaviest):
    """Print how the code reads, and the heaviest functions."""
    tokens = sum(counts.tokens for counts in counted.values())
    lines = sum(counts.lines for counts in counted.values())
    print(
        f"modules {len(counted)}, code lines {lines}, tokens {tokens}, tokens a line {tokens / lines:.2f}"
    )
    functions = functions_of(counted)
    over_15 = sum(function.branches > 15 for function in functions)
    over_30 = sum(function.branches > 30 for function in functions)
    over_40 = sum(function.statements > 40 for function in functions)
    print(
        f"functions {len(functions)}: over 15 branches {over_15}, over 30 {over_30}, over 40 statements {over_40}"
    )
    dense = density_of(counted)
    print(
        f"per 1,000 tokens: conditional expressions {dense.conditionals:.2f}, "
        f"`a, b = x, y` {dense.pairs:.2f}, walrus {dense.walruses:.2f}"
    )
    hidden = hidden_choices(counted)
    print(
        f"choices hidden in other expressions: {hidden.by_index} by index, {hidden.by_repetition} by repetition, "
        f"{hidden.by_and_or} by and, or: with them {dense.conditionals + 1000 * sum(hidden) / tokens:.2f}"
    )
    rooms = tokens_by_room(counted).items()
    print("tokens by room: " + ", ".join(f"{room} {count}" for room, count in rooms))
    for function in functions[:heaviest]:
        print(f"  {function.branches} branches, {function.statements} statements: {function.place}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--functions", type=int, default=10, help="How many of the heaviest functions are printed."
    )
    options = parser.parse_args()
    packages, folders, files = at_root()
    print(
        f"at the root: {packages} package folders, {folders} folders without a dot, {files} files"
    )
    print(f"arrows between package folders: {len(arrows())}")
    print_reading(readings(), options.functions)
    for room in STAGES:
        print(f"import bchisto.{room}: {loaded(room)} modules")
    for stage, (entered, functions) in ways().items():
        print(f"{stage}: {entered} modules, {functions} functions")


if __name__ == "__main__":
    main()
