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
MODULES, MEDIAN = 254, 138
CODE_LINES = 31_349
GROUND_AND_ROAD, COMMANDS = 22_460, 1_759
APPS = {
    "check": 507,
    "doctor": 420,
    "explain": 1_284,
    "recipes": 2_191,
    "serve": 1_102,
    "slides": 845,
    "submit": 781,
}
TEST_LINES = 33_500
ROWS = {
    "page": (1_102, "apps/serve"),
    "checks before a run": (731, "apps/check data/check.py commands/data.py"),
    "submit and status": (997, "apps/submit commands/submit.py"),
    "encoders of others": (
        1_229,
        "encoders/card.py encoders/checkup.py encoders/fetch.py encoders/hub.py encoders/onnx_encoder.py "
        "encoders/opening.py encoders/registry.py encoders/timm_encoder.py encoders/torch_network.py "
        "encoders/vectors.py commands/encoder.py",
    ),
    "embeddings of other programs": (
        577,
        "featurize/embedding_files.py featurize/embeddings.py featurize/imported.py predict/embedded.py",
    ),
    "explain": (1_284, "apps/explain"),
    "hostile files": (
        898,
        "core/formats/archive.py core/formats/hdf5.py core/formats/limits.py "
        "core/formats/texts.py core/formats/tables.py core/formats/columns.py data/layouts/manifest.py "
        "data/layouts/folder.py",
    ),
    "outliers and nearest images": (160, "boost/reference.py predict/sheet.py"),
    "doctor": (420, "apps/doctor"),
    "options, messages, help, terminal": (
        1_173,
        "commands/options.py commands/help.py commands/terminal.py commands/ending.py core/messages.py core/options.py "
        "core/errors.py cli.py",
    ),
    "report": (875, "evaluate/report"),
    "calibration, operating points, external tables": (
        428,
        "evaluate/calibration.py evaluate/operating.py evaluate/external.py",
    ),
    "fine-tuned networks": (2_073, "finetune"),
}
"""Code lines of what hangs on the road, and the files that each row counts."""
WAYS = {"featurize": (47, 250), "boost": (66, 359), "predict": (55, 238)}
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
    assert [
        path for path, count in sizes.items() if count < 40 and not path.stem.startswith("__")
    ] == []


def test_code_lines(sizes):
    rooms = Counter()
    for path, count in sizes.items():
        app = path.parts[1] if path.parts[0] == "apps" and len(path.parts) > 2 else None
        rooms[app or ("commands" if path.parts[0] in ("commands", "cli.py") else "road")] += count
    assert sum(rooms.values()) <= CODE_LINES
    most = {"road": GROUND_AND_ROAD, "commands": COMMANDS, **APPS}
    assert rooms.keys() == most.keys()
    assert not {room: count for room, count in rooms.items() if count > most[room]}


@pytest.mark.parametrize("row", ROWS)
def test_rows(sizes, row):
    most, names = ROWS[row]
    assert all((REPOSITORY / name).exists() for name in names.split())
    lines = sum(
        count
        for path, count in sizes.items()
        if any(path.is_relative_to(name) for name in map(Path, names.split()))
    )
    assert lines <= most


def test_tests_do_not_grow():
    assert (
        sum(len(path.read_text().splitlines()) for path in (REPOSITORY / "tests").rglob("*.py"))
        <= TEST_LINES
    )


@pytest.mark.slow
def test_ways_of_an_image_of_folds_and_of_a_prediction(house):
    measured = house.ways()
    assert not {
        stage: counts
        for stage, counts in measured.items()
        if any(count > most for count, most in zip(counts, WAYS[stage], strict=True))
    }
