"""How many crops go through a network together: ``auto`` is decided once, recorded, and kept by a run."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from bchisto.core import InputError
from bchisto.core.jobs import gpu_memory
from bchisto.featurize import FeaturizeSettings, open_store
from bchisto.predict import ModelFile, load_model
from conftest import refuses, typed
from written_tables import read_json

SETTINGS = "bchisto.featurize.settings"
GIB = 2**30


@pytest.fixture
def card(monkeypatch):
    """Return a function that lets settings see a GPU of so much memory, or none."""

    def show(memory, gpus=("0",)):
        monkeypatch.setattr(f"{SETTINGS}.visible_gpus", lambda: gpus)
        monkeypatch.setattr(f"{SETTINGS}.gpu_memory", lambda: memory)

    return show


@pytest.mark.parametrize(
    ("memory", "views", "crops"),
    [
        (139 * GIB, ("0.5:400", "0.5:650"), 100),
        (0.75 * 79 * GIB, ("0.5:400", "0.5:650"), 100),  # what JAX takes of an H100
        (0.75 * 24 * GIB, ("0.5:400", "0.5:650"), 40),
        (0.75 * 16 * GIB, ("0.5:400", "0.5:650"), 20),
        (0.75 * 16 * GIB, ("0.5um:224",), 100),
        (4 * GIB, ("0.5:400", "0.5:650"), 4),
        (None, ("0.5:400", "0.5:650"), 40),
    ],
)
def test_crops_follow_the_memory_of_the_card(card, memory, views, crops):
    card(memory)
    assert FeaturizeSettings(views=views, engine="keras").crops_at_once == crops
    assert FeaturizeSettings(views=views, engine="keras", batch_size=7).crops_at_once == 7


def test_what_does_not_run_on_the_card_has_the_number_of_a_cpu(card):
    card(139 * GIB)
    for changes in (
        {"engine": "openvino"},
        {"engine": "keras", "encoders": ("onnx:a.onnx",)},
        {"engine": "auto"},  # not decided yet
    ):
        assert FeaturizeSettings(**changes).crops_at_once == 4
    timm = {"encoders": ("timm:vit_tiny_patch16_224",), "views": ("1.0:224",)}
    assert FeaturizeSettings(engine="keras", **timm).crops_at_once == 100
    card(139 * GIB, gpus=())
    assert FeaturizeSettings(engine="keras").crops_at_once == 4


def test_words_that_are_no_number():
    settings = FeaturizeSettings(batch_size="auto")
    assert (
        settings
        == FeaturizeSettings()
        == replace(FeaturizeSettings(batch_size=8), batch_size="auto")
    )
    for value, message in (("all", "give a whole number, or auto"), (0, "give at least 1")):
        refuses(InputError, f"`batch_size` {value}: {message}", FeaturizeSettings, batch_size=value)
    refuses(InputError, "`crops` all: give a whole number, or grid", FeaturizeSettings, crops="all")


def test_the_memory_is_that_of_the_smallest_card(monkeypatch):
    def see(backend, module):
        monkeypatch.setattr("bchisto.core.jobs.backend.prepare_backend", lambda: backend)
        monkeypatch.setitem(sys.modules, backend, module)

    cards = [SimpleNamespace(total_memory=24 * GIB), SimpleNamespace(total_memory=16 * GIB)]
    cuda = SimpleNamespace(device_count=lambda: len(cards), get_device_properties=cards.__getitem__)
    see("torch", SimpleNamespace(cuda=cuda))
    assert gpu_memory() == 16 * GIB
    stats = [None, {"bytes_in_use": 0}, {"bytes_limit": 60 * GIB}, {"bytes_limit": 18 * GIB}]
    devices = [SimpleNamespace(memory_stats=lambda found=found: found) for found in stats]
    see("jax", SimpleNamespace(local_devices=lambda: devices))
    assert gpu_memory() == 18 * GIB
    devices.clear()
    assert gpu_memory() is None
    see("tensorflow", SimpleNamespace())
    assert gpu_memory() is None


@pytest.fixture
def words(tissue, tmp_path):
    """Return a command of a network of Keras whose images are small."""
    return typed(
        "featurize --images {} --out {} --encoder convs --weights random --view 1.0:64 "
        "--augmentations 1 --crops 2 --jobs 1",
        tissue,
        tmp_path / "run",
    )


def header(run):
    with open_store(run / "features" / "convs-1.0-64.h5") as store:
        return store.header


def test_shards_on_cards_of_other_memory_agree(words, cli, completed, card, tmp_path):
    run = tmp_path / "run"
    card(139 * GIB)
    completed(*words, "--shard", "1/2")
    card(4 * GIB)
    completed(*words, "--shard", "2/2")
    card(None, gpus=())
    completed(*words)
    assert header(run)["batch_size"] == 100
    records = read_json(run / "run.json")["records"]
    assert [record["config"]["batch_size"] for record in records] == [100, 100, 100]
    # what is begun anew is of this machine
    code, _, err = cli(*words, "--overwrite")
    assert (code, header(run)["batch_size"]) == (0, 4), err


def test_a_command_that_is_refused_decides_nothing(words, completed, refused, tmp_path):
    completed(*words, "--batch-size", 6)
    for further in (("--batch-size", 5), ("--engine", "openvino")):
        assert "made with other settings" in refused(*words, *further)
        assert "is complete already" in completed(*words)[1]
    assert header(tmp_path / "run")["batch_size"] == 6


def test_a_run_that_a_gpu_began_is_not_mixed_with_what_a_cpu_computes(
    words, completed, refused, card, tmp_path, monkeypatch
):
    card(139 * GIB)
    with monkeypatch.context() as patch:
        patch.setattr("bchisto.featurize.stream.visible_gpus", lambda: ("0",))
        completed(*words, "--shard", "1/2")
    card(None, gpus=())
    err = refused(*words, "--shard", "2/2")
    assert "made with other settings: device gpu -> cpu;" in err
    assert "batch" not in err


def test_a_model_takes_no_more_crops_than_fit_the_machine_that_predicts(
    words, completed, card, tmp_path
):
    """A GPU takes 100 large crops at once, which are more than the memory of a process on a CPU."""
    card(139 * GIB)
    completed(*words)
    completed("boost --out T/run --folds 2 --head logistic")
    (path,) = (tmp_path / "run").rglob("*.bchisto")
    for memory, gpus, crops in (
        (139 * GIB, ("0",), 100),
        (300_000_000, ("0",), 40),
        (None, (), 4),
    ):
        card(memory, gpus=gpus)
        load_model.cache_clear()
        (settings,) = load_model(ModelFile.of(path)).settings.values()
        assert settings.batch_size == crops
