"""What is killed, cut or full in the middle of training: done again, and equal in the end."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from bchisto.core.models import pack_arrays
from bchisto.finetune import FinetuneSettings
from bchisto.finetune import fit as state
from bchisto.finetune.fit import TrainingPlan
from bchisto.finetune.pretrained import load_network, network_arrays
from training_sources import (
    assert_same_arrays,
    bright_and_dark,
    finetune_here,
    model_of,
    source_of,
    trained,
)

pytestmark = pytest.mark.slow

SMALL = FinetuneSettings(
    "convs", weights="random", size=32, epochs=3, batch_size=8, augmentations=()
)


@pytest.fixture(scope="module", autouse=True)
def every_epoch():
    """A state is saved after every epoch."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(state, "_MOST_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def work():
    """Bright against dark noise."""
    rng = np.random.default_rng(1)
    labels = np.arange(16) % 2
    source = source_of(bright_and_dark(labels, rng), labels, batch_size=8)
    return source, TrainingPlan(replace(SMALL, patience=9), np.arange(8), np.arange(8, 16), 2)


@pytest.fixture(scope="module")
def whole(work, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    trained(model_of(SMALL), *work, folder)
    return folder / "s.npz"


def cuts(data):
    """Truncated at every kind of place, emptied, zeroed as a whole and in parts, and altered."""
    size = len(data)
    places = [0, 1, 4, 60, size // 3, size - 5000, size - 22, size - 1]
    yield from ((f"cut at {place}", data[:place]) for place in places)
    yield "zeros", bytes(size)
    for place in (0, 128, size // 2, size - 300, size - 30):
        yield f"zeros at {place}", data[:place] + bytes(64) + data[place + 64 :]
    yield "other", b"PK\x03\x04" + b"\xff" * 500
    yield "text", b"{}"
    yield (
        "list",
        b"\x93NUMPY\x01\x00" + b"\x76\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    )


def test_any_damaged_state_is_warned_of_and_trained_from_the_start(work, whole, tmp_path, caplog):
    model = model_of(SMALL)
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    before = [np.array(value) for value in variables]
    path = tmp_path / "state.npz"
    for name, data in cuts(whole.read_bytes()):
        caplog.clear()
        path.write_bytes(data)
        assert state.StateFile(path, model, "").restore().done == 0, name
        assert caplog.text.count("; made again") == 1, name
        assert_same_arrays(before, variables)


@pytest.mark.parametrize("network", ["patch-resnet", "mobilenetv2"])
def test_equal_weights_are_equal_bytes(network):
    """Keras counts its names up in a process: the second network of one has others."""
    settings = replace(SMALL, network=network)
    first, again = (pack_arrays(network_arrays(model_of(settings))) for _ in range(2))
    assert first == again
    other = model_of(settings, fold=2)
    load_network(other, first)
    expected = model_of(settings).get_weights()
    assert_same_arrays(expected, other.get_weights())


TINY = replace(SMALL, epochs=1, batch_size=4)


@pytest.fixture(scope="module")
def run(tissue, tmp_path_factory):
    run = tmp_path_factory.mktemp("run") / "run"
    finetune_here(tissue, run, TINY, "2")
    return run


def test_what_an_index_of_images_may_hold(run, tissue, tmp_path, caplog):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (index,) = (copy / "finetune").glob("images-*.npy")
    expected = index.read_bytes()
    for place, data in enumerate((b"", bytes(100), expected[:90], expected[:-1])):
        index.write_bytes(data)
        finetune_here(tissue, copy, TINY, "2")
        assert caplog.text.count("not a whole file of decoded images") == place + 1
        assert index.read_bytes() == expected
