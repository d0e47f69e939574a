"""Ceilings: what was won stays won. Lower them with each change; only an issue that says by how much raises one."""

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from statistics import median

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TOOL = REPOSITORY / "tools" / "benchmarks" / "house.py"

pytestmark = pytest.mark.skipif(not TOOL.is_file(), reason="needs the repository")

AT_ROOT = {"package folders": 12, "folders": 15, "files": 13}
ARROWS = 53
MODULES, MEDIAN = 261, 145
CODE_LINES = 33_860
GROUND_AND_ROAD, COMMANDS = 24_960, 1_970
APPS = {"check": 870, "doctor": 440, "explain": 1_410, "recipes": 2_360, "serve": 980, "submit": 910}
TEST_LINES = 35_500
WAYS = {"featurize": (47, 250), "boost": (67, 367), "predict": (55, 243)}
"""Modules and functions that 12 images, 3 folds and the prediction of an image enter, in every thread and process."""


@pytest.fixture(scope="module")
def house():
    sys.path.insert(0, str(TOOL.parent))
    try:
        spec = importlib.util.spec_from_file_location("house", TOOL)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(TOOL.parent))
    return module


@pytest.fixture(scope="module")
def sizes(house):
    return house.sizes()


def test_a_visitor_sees_few_folders_and_files(house):
    if not (REPOSITORY / ".git").exists():
        pytest.skip("counts what git tracks")
    assert dict(zip(AT_ROOT, house.at_root(), strict=True)) == AT_ROOT


def test_folders_know_few_others(house):
    arrows = house.arrows()
    assert len(arrows) <= ARROWS
    assert ("core", "data") not in arrows
    assert ("commands", "core") in arrows


def test_modules_are_few_and_of_a_size(sizes):
    assert len(sizes) <= MODULES
    assert median(count for path, count in sizes.items() if path.stem != "__init__") >= MEDIAN
    assert [path for path, count in sizes.items() if count < 40 and not path.stem.startswith("__")] == []


def test_code_lines(sizes):
    rooms = Counter()
    for path, count in sizes.items():
        app = path.parts[1] if path.parts[0] == "apps" and len(path.parts) > 2 else None
        rooms[app or ("commands" if path.parts[0] in ("commands", "cli.py") else "road")] += count
    assert sum(rooms.values()) <= CODE_LINES
    most = {"road": GROUND_AND_ROAD, "commands": COMMANDS, **APPS}
    assert rooms.keys() == most.keys()
    assert not {room: count for room, count in rooms.items() if count > most[room]}


def test_tests_do_not_grow():
    assert sum(len(path.read_text().splitlines()) for path in (REPOSITORY / "tests").rglob("*.py")) <= TEST_LINES


@pytest.mark.slow
def test_ways_of_an_image_of_folds_and_of_a_prediction(house):
    measured = house.ways()
    assert not {stage: counts for stage, counts in measured.items()
                if any(count > most for count, most in zip(counts, WAYS[stage], strict=True))}  # fmt: skip
