"""`tools/benchmarks/gpu.py` in a small form: it measures the way of a GPU, and ends if another one is taken."""

import functools
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bchisto.core import InputError
from bchisto.encoders import FOLDED
from conftest import refuses, typed

GPU = Path(__file__).parents[2] / "tools" / "benchmarks" / "gpu.py"

pytestmark = pytest.mark.skipif(not GPU.is_file(), reason="needs the repository")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(GPU.parent)
    spec = importlib.util.spec_from_file_location("gpu_benchmark", GPU)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(benchmark, monkeypatch):
    def measured(part):
        words = typed("--encoders convs --part {} --precision float32", part)
        monkeypatch.setattr(sys, "argv", ["gpu.py", *words])
        benchmark.main()

    return measured


@pytest.mark.slow
@pytest.mark.parametrize("part", ["exact", "dense"])
def test_another_way_is_seen(benchmark, run, monkeypatch, part):
    """As it was before: asked for the device, the CPU cut the crops."""
    on_cpu = functools.partial(lambda describe, *a, **k: describe(*a, **k | {"on_device": False}))
    monkeypatch.setattr(
        benchmark, "describe_images", functools.partial(on_cpu, benchmark.describe_images)
    )
    refuses(SystemExit, "the device described 0 of 1 images", run, part)


def test_a_refused_device_is_seen(run, monkeypatch):
    monkeypatch.setattr("bchisto.featurize.stream.why_on_cpu", lambda *_: "broken")
    refuses(InputError, "`on_device`: broken", run, "exact")


def test_operations_are_those_of_convolutions(benchmark):
    import keras
    from keras import layers

    given = keras.Input((None, None, 3))
    values = layers.Conv2D(8, 3, strides=2, padding="same")(given)
    values = layers.DepthwiseConv2D(3, padding="valid")(layers.BatchNormalization()(values))
    model = keras.Model(given, layers.MaxPooling2D((2, 1))(values))
    # (10, 6) becomes (5, 3), and that (3, 1)
    assert benchmark.flops(model, (10, 6)) == 2 * (5 * 3 * 9 * 3 * 8 + 3 * 1 * 9 * 8)


def test_the_document_gives_commands_and_encoders_that_exist(benchmark, monkeypatch, capsys):
    page = (GPU.parents[2] / "docs" / "performance.md").read_text()
    commands = re.findall("^BCHISTO_CACHE=FOLDER KERAS_BACKEND=jax python (.*)", page, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        # what stands before the help is checked
        monkeypatch.setattr(sys, "argv", [*command.split(), "--help"])
        with pytest.raises(SystemExit) as ended:
            benchmark.main()
        assert ended.value.code == 0, capsys.readouterr().err
    (sentence,) = re.findall(r"`--precision float16`\) is for (.*?);", page)
    assert set(re.findall("`(.*?)`", sentence)) == FOLDED


@pytest.mark.slow
def test_the_whole_runs_on_a_cpu():
    """On JAX, as on the card."""
    pytest.importorskip("jax")
    done = subprocess.run(
        [sys.executable, GPU],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    out = done.stdout
    assert out.startswith("No GPU was found by Keras on jax: a small form on the CPU")
    for part in ("exact, float32", "exact, float16", "dense, float32", "dense, float16"):
        assert f"\nfeaturize, {part}: mobilenetv2;" in out
    (half,) = re.findall(r"float32 0, float16 (\S+)", out)
    assert 1e-4 < float(half) < 2e-2
    assert "\nfinetune: patch-resnet" in out
