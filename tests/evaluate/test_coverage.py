"""Do intervals hold the truth, and do tests leave alone what is equal? `benchmarks/coverage.py` in a short form."""

import importlib.util
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def simulation():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        patch.setenv("OMP_NUM_THREADS", "1")
        spec = importlib.util.spec_from_file_location("simulated_coverage", BENCHMARKS / "coverage.py")
        module = importlib.util.module_from_spec(spec)
        patch.setitem(__import__("sys").modules, spec.name, module)  # dataclasses look their module up
        spec.loader.exec_module(module)
        yield module


@pytest.mark.parametrize(
    ("name", "replicates", "least"),
    [
        ("30 images, 95 % right", 300, 0.92),  # percentile bootstrap: 78 %
        ("40 patients x 10", 150, 0.90),
        ("49 slides x 300", 60, 0.85),  # Wilson's over rows: 21 %
        ("ridge, 100 images", 40, 0.85),
    ],
)
def test_intervals_cover_and_tests_reject_little(simulation, name, replicates, least):
    """Bounds are three standard errors below 95 % and above 5 %, or so."""
    _, found = simulation.work((name, 0, replicates))
    for key in ("accuracy", "balanced_accuracy", "sensitivity", "auc", "difference of accuracy", "difference of auc"):
        if key in found:
            tables, held, _ = found[key]
            assert held / tables >= least, key
    chosen = found.get("rejects: sign_flip", found.get("rejects: mcnemar"))
    assert chosen[1] / chosen[0] <= 1.03 - least
    if "slides" in name:
        assert found["rejects: McNemar over rows"][1] > replicates / 3


def test_the_benchmark_writes_its_tables(simulation, tmp_path):
    _, found = simulation.work(("40 patients x 10", 0, 2))
    lines = simulation.tables_of({"40 patients x 10": found})
    assert lines[1].startswith("| covers, percent (mean width, points) | accuracy | balanced accuracy | macro f1 |")
    assert lines[-1].startswith("| 40 patients x 10 | ")
    assert "| rejects | sign flip | McNemar over rows |" in lines
