"""Short forms of benchmarks: scaling the mean of fold models costs nothing on new images, drops are covered."""

import importlib.util
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "tools" / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    def load(name):
        spec = importlib.util.spec_from_file_location(f"{name}_benchmark", BENCHMARKS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load


def test_an_external_drop_is_covered(load):
    benchmark = load("external")
    for internal, external in (benchmark.DESIGNS[2], benchmark.DESIGNS[3]):
        covered, width = benchmark.coverage(internal, external, replicates=300)
        assert covered > 0.92
        assert width < 0.2


def test_no_worse_than_as_it_is(load):
    benchmark = load("temperature")
    for head in ("logistic, free", "logistic, C = 1", "ridge, C = 0.01"):
        for _, size, found in benchmark.simulate(8, heads=(head,), sizes=(60, 100)):
            assert found["shrunk"] < found["raw"] + 0.002 + 2 * found["gain_error"], (head, size)
            assert found["best"] <= found["shrunk"]
            assert found["sensitivity"] > 0.87
