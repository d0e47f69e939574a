"""Do intervals hold the truth, and do tests leave alone what is equal?

`tools/benchmarks/coverage.py` in a short form.
"""

import csv
import importlib.util
import re

import pytest
from conftest import REPOSITORY

pytestmark = pytest.mark.slow

BENCHMARKS = REPOSITORY / "tools" / "benchmarks"


@pytest.fixture(scope="module")
def simulation():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        patch.setenv("OMP_NUM_THREADS", "1")
        spec = importlib.util.spec_from_file_location(
            "simulated_coverage", BENCHMARKS / "coverage.py"
        )
        module = importlib.util.module_from_spec(spec)
        # dataclasses look their module up
        patch.setitem(__import__("sys").modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module


@pytest.mark.parametrize(
    ("name", "tables", "least"),
    [("48 images", 60, 0.86), ("15 patients x 20", 60, 0.86), ("ridge, 100 images", 20, 0.8)],
)
def test_intervals_cover_and_tests_reject_little(simulation, name, tables, least):
    """Bounds are three standard errors below 95 % and above 5 %, or so."""
    _, counts = simulation.work((name, 0, tables))
    pairs = [
        (figure, "ours", kind) for figure in ("accuracy", "auc") for kind in ("equal", "better")
    ]
    for key in [(figure, "ours") for figure in ("accuracy", "balanced_accuracy", "auc")] + pairs:
        _, known, held, _ = counts[key]
        assert held / known >= least, key
    drawn, _, rejected, _ = counts["rejects", "ours"]
    assert rejected / drawn <= 1.01 - least
    rows = simulation.rows_of({name: counts})
    assert {row[1] for row in rows if row[0] == name} >= {
        "accuracy",
        "difference of auc",
        "rejects",
    }


def least_of(lines):
    """Return the least of the numbers before brackets."""
    return min(float(number) for line in lines for number in re.findall(r"([\d.]+) \(", line))


def test_the_table_of_the_documents_is_that_of_what_was_measured(simulation):
    _, *rows = csv.reader((BENCHMARKS / "coverage.csv").read_text().splitlines())
    assert {row[0] for row in rows} == {*simulation.DESIGNS, *simulation.CROSSED}
    text = (REPOSITORY / "docs" / "methods.md").read_text()
    head, rule, *lines = simulation.summary_of(rows)
    shown = [line for line in lines if line in text]
    assert f"{head}\n{rule}\n{shown[0]}\n" in text
    rows_of_the_page = re.search(rf"{re.escape(head)}\n((?:\|.*\n)+)", text)[1].splitlines()
    assert rows_of_the_page == [rule, *shown]
    # the least of all coverages is among those shown; 93 % less two standard errors of 400 tables
    covered = [line for line in lines if "rejected" not in line]
    assert least_of(covered) == least_of([line for line in covered if line in shown]) >= 90.8
