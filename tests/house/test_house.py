"""The house: rooms import downwards, start-up is light, the package is whole, documents are true."""

import ast
import doctest
import importlib
import inspect
import os
import pkgutil
import re
import sys
from pathlib import Path

import bchisto
import package_tree
import pytest
from conftest import REPOSITORY, needs_repository
from documented import public, pyproject, text_of
from own_process import printed_by, run_process

ROOT = Path(bchisto.__file__).parent

GROUND = ["core", "core.formats", "core.jobs", "core.runs", "core.models"]
ROAD = [
    *("stains", "data", "evaluate", "evaluate.report", "crossval"),
    *("encoders", "featurize", "boost", "finetune", "predict"),
]
APPS = [
    "apps.check",
    "apps.doctor",
    "apps.explain",
    "apps.next",
    "apps.submit",
    "apps.recipes",
    "apps.slides",
    "apps.serve",
]
ROOMS = [*GROUND, *ROAD, *APPS, "commands", "cli"]
"""Lowest first; .github/architecture.md has the same order."""

HEAVY = (
    "tensorflow",
    "keras",
    "torch",
    "timm",
    "transformers",
    "onnx",
    "lightgbm",
    "sklearn",
    "matplotlib",
    "joblib",
    "dask",
    "distributed",
    "jinja2",
    "PIL",
    "shapely",
    "tifffile",
    "imagecodecs",
    "cv2",
    "numpy",
    "h5py",
)


def room_of(dotted):
    """Return the innermost room of a dotted name and what follows it; no room for the package itself and a group."""
    rooms = [room for room in ROOMS if dotted == room or dotted.startswith(f"{room}.")]
    if not rooms:
        return None, dotted
    innermost = max(rooms, key=len)
    return innermost, dotted.removeprefix(innermost)[1:]


def sources():
    """Yield (room, file) of every module of a room."""
    for file in package_tree.modules():
        dotted = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        room, _ = room_of(dotted.removesuffix(".__init__"))
        if room is not None:
            yield room, file


def imported_rooms(file):
    """Yield (room, dotted rest) of every relative import in a file."""
    package = file.relative_to(ROOT).parts[:-1]
    for node in ast.walk(package_tree.tree_of(file)):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        parts = list(package[: len(package) - node.level + 1])
        if node.module:
            parts.append(node.module)
        for alias in node.names:
            # `from ..core import formats` imports the room core.formats, `from ..core import few` the room core
            name = ".".join([*parts, alias.name])
            room, rest = room_of(name if name in ROOMS else ".".join(parts))
            if room is not None:
                yield room, rest


def test_rooms_import_only_rooms_below_them():
    """So the road and the ground know no application, and an application only those below it."""
    seen = 0
    for room, file in sources():
        for other, _ in imported_rooms(file):
            seen += 1
            assert ROOMS.index(other) <= ROOMS.index(room), (
                f"{file.relative_to(ROOT)} imports {other}"
            )
    assert seen > 1000


def test_rooms_use_only_public_names_of_other_rooms():
    for room, file in sources():
        for other, rest in imported_rooms(file):
            assert other == room or not rest, (
                f"{file.relative_to(ROOT)} reaches into {other}.{rest}"
            )


def test_what_users_may_use_is_documented_and_little():
    """`__all__` of a room are the names of its section of a page of docs/api."""
    documented = [name for name, _ in public()]
    for room in ROOMS[:-1]:
        module = importlib.import_module(f"bchisto.{room}")
        assert module.__doc__
        names = getattr(module, "__all__", [])
        on_page = {name for name in documented if name.rpartition(".")[0] == module.__name__}
        assert on_page == {f"bchisto.{room}.{name}" for name in names}
        for item in (getattr(module, name) for name in names):
            assert item.__doc__ or not (inspect.isroutine(item) or inspect.isclass(item)), (
                f"{item} has no docstring"
            )
    assert 100 <= len(documented) <= 156


def test_nothing_that_runs_code_is_loaded():
    for _, file in sources():
        text = file.read_text()
        assert not re.search(
            r"\bpickle\b.*import|import pickle|joblib\.(load|dump)|torch\.load|eval\(|exec\(|yaml\.load\(",
            text,
        ), file


def test_help_imports_nothing_heavy():
    script = (
        "import sys\nfrom bchisto.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = run_process(sys.executable, "-c", script, check=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_importing_a_room_imports_no_engine():
    script = (
        "import importlib, sys\n"
        "for room in 'stains data encoders featurize boost evaluate predict apps.recipes'.split():\n"
        "    importlib.import_module(f'bchisto.{room}')\n"
        "print([name for name in ('tensorflow', 'keras', 'lightgbm', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    assert printed_by(script).strip() == "[]"


@pytest.mark.parametrize(
    ("room", "others"), [("featurize", {"evaluate", "finetune"}), ("predict", {"finetune"})]
)
def test_importing_a_room_imports_no_other_stage(room, others):
    script = f"import sys, bchisto.{room}; print(*{{name.split('.')[1] for name in sys.modules if 'bchisto.' in name}})"
    loaded = printed_by(script).split()
    assert room in loaded
    assert not others & set(loaded)


def modules():
    for info in pkgutil.walk_packages([str(ROOT)], "bchisto."):
        if room_of(info.name.removeprefix("bchisto."))[0]:
            yield info.name


def test_examples_in_docstrings(monkeypatch):
    import numpy as np

    # for each example a debugger would look at all files of which lines were read
    monkeypatch.setattr("linecache.checkcache", lambda *args: None)
    failed = [
        name
        for name in modules()
        if doctest.testmod(importlib.import_module(name), extraglobs={"np": np}).failed
    ]
    assert not failed


@needs_repository
def test_every_room_is_packaged_and_tests_are_not():
    project = pyproject()
    listed = project["tool"]["setuptools"]["packages"]
    outside = {"tests", "docs", "tools", "build"}
    found = {"bchisto"}
    for folder in REPOSITORY.glob("[!.]*/"):
        if folder.name not in outside:
            for path in folder.rglob("__init__.py"):
                found.add(".".join(["bchisto", *path.parent.relative_to(REPOSITORY).parts]))
    assert set(listed) == found


@needs_repository
def test_the_reference_of_the_command_line_is_current():
    script = REPOSITORY / "docs" / "make_cli_reference.py"
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    # without the packages of the tests: the help names what other packages add
    path = os.pathsep.join(entry for entry in entries if not entry.endswith("plugins"))
    done = run_process(
        sys.executable, script, "--check", env={**os.environ, "COLUMNS": "100", "PYTHONPATH": path}
    )
    assert (done.returncode, done.stdout) == (0, ""), (
        f"run: python docs/make_cli_reference.py {done.stderr}"
    )


@needs_repository
def test_the_public_host_runs_the_first_commands_of_readme():
    readme = text_of("README.md")
    block = re.search(r"```sh\n(.*?)```", readme, flags=re.DOTALL)[1]
    commands = [line.split("#")[0].strip() for line in block.splitlines()]
    workflow = text_of(".github/workflows/test.yml")
    assert commands == re.findall(r"run: (make \w+)", workflow)
