"""The shape of the house: rooms and their arrows, what an import loads, what the way of one image runs through.

    python tools/benchmarks/house.py

Counted: code lines as `lines.py` does; rooms (folders and single modules at the root), arrows between them, floors (the
longest chain of arrows) and circles; names in `__all__` of the rooms, which other rooms use, and those in docs/api,
which users may; modules of bchisto that a fresh process loads to import a room; modules and functions that `featurize`
of a few images enters, with a NumPy encoder, when all modules are imported before. Comprehensions, lambdas and what
dataclasses write are no functions of ours.
"""

import ast
import importlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = {"tests", "docs", "benchmarks", "examples", "tools", ".ci", ".venv", "build", "dist", ".types"}
PLUGINS = ROOT / "tests" / "plugins"


def rooms():
    """Return room to its modules."""
    by_room = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).parts
        if parts[0] not in OUTSIDE and path.stem not in ("__main__",) and parts != ("__init__.py",):
            by_room.setdefault(parts[0].removesuffix(".py"), []).append(path)
    return by_room


def arrows(by_room):
    """Return the pairs of rooms of which the first imports the second, also inside functions."""
    pairs = set()
    for room, paths in by_room.items():
        for path in paths:
            depth = len(path.relative_to(ROOT).parts)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.level == depth:
                    names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
                    pairs.update((room, name) for name in names if name in by_room and name != room)
    return pairs


def floors(by_room, pairs):
    """Return the rooms of the longest chain, and whether there is a circle."""
    height, left = {}, set(by_room)
    while left:
        ready = {room for room in left if all(below in height for above, below in pairs if above == room)}
        if not ready:
            return max(height.values(), default=0), sorted(left)
        height |= {room: 1 + max((height[b] for a, b in pairs if a == room), default=0) for room in ready}
        left -= ready
    return max(height.values()), []


def fresh(code):
    """Run code in a fresh process and return the last line that it prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tempfile.gettempdir()
    )
    return json.loads(done.stdout.splitlines()[-1])


LOADED = """
import json, sys
{code}
loaded = [name for name in sys.modules if name.startswith("bchisto.")]
print(json.dumps([len(loaded), *(sum(n.startswith("bchisto." + room + ".") for n in loaded) for room in {rooms})]))
"""

WALK = """
import importlib, json, sys, tempfile
from pathlib import Path
sys.path.insert(0, {plugins!r})
import bchisto
from bchisto.data.synthetic import make_tissue
for module in {modules}:
    importlib.import_module(module)
from PIL import Image
from bchisto.featurize import FeaturizeSettings, featurize
from bchisto.core.jobs import Work
root = Path(tempfile.mkdtemp())
for number in range(12):
    path = root / "images" / ("ab"[number % 2]) / f"{{number}}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_tissue("Benign", seed=0, index=number, size=(96, 96))).save(path)
settings = FeaturizeSettings(encoders=({encoder!r},), weights=("random",), views=("1.0:64",), augmentations=2, crops=2)
entered = set()
def watch(frame, event, argument):
    name = frame.f_globals.get("__name__", "")
    own = not frame.f_code.co_name.startswith("<") and frame.f_code.co_filename != "<string>"
    if event == "call" and name.startswith("bchisto.") and own:
        entered.add((name, frame.f_code.co_qualname))
sys.setprofile(watch)
featurize(root / "images", out=root / "run", settings=settings, work=Work(jobs=1))
sys.setprofile(None)
modules = {{name for name, _ in entered}}
print(json.dumps([len(modules), len(entered), len({{name.split(".")[1] for name in modules}})]))
"""


def main():
    by_room = rooms()
    pairs = arrows(by_room)
    height, circle = floors(by_room, pairs)
    lines = subprocess.run(
        [sys.executable, Path(__file__).with_name("lines.py"), "HEAD"], capture_output=True, text=True
    )
    print(lines.stdout.strip())
    print(f"rooms {len(by_room)}, floors {height}, arrows {len(pairs)}, circles {', '.join(circle) or 0}")
    public = {room: importlib.import_module(f"bchisto.{room}") for room in by_room}
    counts = {room: len(module.__all__) for room, module in public.items() if hasattr(module, "__all__")}
    print(f"names in __all__: {sum(counts.values())} ({', '.join(f'{room} {n}' for room, n in counts.items())})")
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "api").glob("*.md")]
    documented = [
        names.count(",") + 1
        for page in pages
        for names in re.findall(r"automodule:: .+\n +:members: (.+)|autoclass::", page)
    ]
    print(f"names in docs/api: {sum(documented)}")
    for room, others in (
        ("featurize", ("evaluate", "report", "finetune")),
        ("boost", ("finetune",)),
        ("predict", ("finetune",)),
    ):
        all_of, *some = fresh(LOADED.format(code=f"import bchisto.{room}", rooms=others))
        listed = ", ".join(f"{n} of {other}" for n, other in zip(some, others, strict=True))
        print(f"import bchisto.{room}: {all_of} modules of bchisto, {listed}")
    encoder = "tiny"
    paths = (path.relative_to(ROOT).with_suffix("") for some in by_room.values() for path in some)
    names = [".".join(("bchisto", *path.parts)).removesuffix(".__init__") for path in paths]
    modules, functions, entered = fresh(WALK.format(plugins=str(PLUGINS), encoder=encoder, modules=names))
    print(f"featurize of 12 images: {modules} modules, {functions} functions, {entered} rooms")


if __name__ == "__main__":
    main()
