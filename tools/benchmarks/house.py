"""The shape of the house: arrows between folders, modules and their sizes, and what the way of an image runs through.

    python tools/benchmarks/house.py

Counted: folders and files at the root; arrows between package folders at the root; modules, and the median of their
code lines (as `lines.py` counts) without `__init__`; modules of bchisto that a fresh process loads to import a room;
modules and functions that `featurize` of 12 images, `boost` of 3 folds and `predict` of an image enter, with a NumPy
encoder, in every thread and process. Comprehensions, lambdas, what runs during an import and what dataclasses write are
no functions of ours. `tests/house` compares with ceilings.
"""

import ast
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from lines import code_lines

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = {"tests", "docs", "tools", "build", "dist"}
PLUGINS = ROOT / "tests" / "plugins"
STAGES = ("featurize", "boost", "predict")

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
"""


def modules():
    """Return the path of each module of the package, below the root."""
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
    return sorted(
        path for path in paths if path.parts[0] not in OUTSIDE and not path.parts[0].startswith(".")
    )


def sizes():
    """Return the code lines of each module."""
    return {
        path: len(code_lines((ROOT / path).read_text(encoding="utf-8"))[1]) for path in modules()
    }


def imported(path):
    """Yield the dotted names that a module imports relatively, also inside functions."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
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
    """Return stage to the numbers of modules and of functions that it enters."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "sitecustomize.py").write_text(WATCH)
        fresh(WALK, root)
        counts = {}
        for stage in STAGES:
            entered = {
                line
                for file in (root / "walk" / stage).iterdir()
                for line in file.read_text().splitlines()
            }
            counts[stage] = (len({line.split()[0] for line in entered}), len(entered))
        return counts


def loaded(room):
    """Return how many modules of bchisto a fresh process loads to import a room."""
    code = f"import sys, bchisto.{room}; print(sum(name.startswith('bchisto.') for name in sys.modules))"
    with tempfile.TemporaryDirectory() as folder:
        return int(fresh(code, Path(folder)))


def main():
    packages, folders, files = at_root()
    print(
        f"at the root: {packages} package folders, {folders} folders without a dot, {files} files"
    )
    print(f"arrows between package folders: {len(arrows())}")
    lines = sizes()
    inits = [path for path in lines if path.stem == "__init__"]
    middle = median(count for path, count in lines.items() if path.stem != "__init__")
    small = [
        path.as_posix()
        for path, count in lines.items()
        if count < 40 and not path.stem.startswith("__")
    ]
    print(f"modules: {len(lines)}, {len(inits)} of them __init__; median {middle:g} code lines")
    print(f"code lines: {sum(lines.values()):,}")
    print(f"modules under 40 lines: {len(small)} ({', '.join(small)})")
    for room in STAGES:
        print(f"import bchisto.{room}: {loaded(room)} modules")
    for stage, (entered, functions) in ways().items():
        print(f"{stage}: {entered} modules, {functions} functions")


if __name__ == "__main__":
    main()
