"""The corpus of files of strangers: every reader refuses each of them by one line that says why, and touches nothing.

The files are made in tests/plugins, in the modules whose names begin with ``hostile``; those that are odd and yet right
are in `test_odd.py`.
"""

import re
import resource
import shutil
import subprocess
import sys
import time
import zipfile
from functools import partial
from pathlib import Path

import h5py
import hostile_arrays
import hostile_models
import hostile_pictures
import hostile_texts
import pytest
from archives import model, rewrite
from bchisto.boost import Bundle
from bchisto.boost.sources import read_sources
from bchisto.core import BundleError, ImageError, StoreError, WeightsError
from bchisto.core.formats import read_header
from bchisto.data import decode_image, read_dataset
from bchisto.featurize import open_store
from sample_trees import findings

SECONDS = 5


def refused(kind, path, words, read):
    """Read a file: one line that begins with its path, in little time and memory."""
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(kind, match=words) as caught:
        read(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    assert "/bchisto-" not in said
    assert time.process_time() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000  # kB


def ended(cli, *words):
    """Run a command: exit code 2, and one line of words for people."""
    code, out, err = cli(*words)
    assert (code, out) == (2, ""), err
    (line,) = (line for line in err.splitlines() if line.startswith("error: "))
    for bad in ("Traceback", "this is a bug", "unexpected", "\x1b"):
        assert bad not in err
    return line


@pytest.mark.parametrize("name", hostile_pictures.PICTURES)
def test_headers_of_pictures(tmp_path, name):
    write, words = hostile_pictures.PICTURES[name]
    path = write(tmp_path)
    for read in (read_header, decode_image):
        refused(ImageError, path, words, read)


@pytest.mark.parametrize("name", hostile_pictures.PIXELS)
def test_pixels(tmp_path, name):
    write, words = hostile_pictures.PIXELS[name]
    refused(ImageError, write(tmp_path), words, decode_image)


@pytest.mark.parametrize("name", hostile_pictures.CASES)
def test_cases_of_the_ddsm(tmp_path, cli, name):
    write, words = hostile_pictures.CASES[name]
    folder = write(tmp_path)
    errors = findings(read_dataset(folder, dataset="ddsm"), "error")
    assert errors
    for error in errors:
        assert re.search(words, error)
        assert len(error) < 600
        assert "\n" not in error
    code, _, err = cli("data check --table - --images {} --dataset ddsm", folder)
    assert code == 2
    assert len(err.splitlines()) < 4


@pytest.fixture(scope="module")
def boosted_models(every_head):
    return {head: result.folder / "model.bchisto" for head, result in every_head[1].items()}


@pytest.mark.parametrize(
    ("head", "name"),
    [(head, name) for head, models in hostile_models.BOOSTED.items() for name in models],
)
def test_boosted_models(boosted_models, tmp_path, head, name):
    change, words = hostile_models.BOOSTED[head][name]
    path = rewrite(boosted_models[head], tmp_path / "x.bchisto", change)
    refused(BundleError, path, words, Bundle.load)


@pytest.mark.parametrize("name", hostile_models.ARCHIVES)
def test_archives(boosted_models, tmp_path, name):
    change, words = hostile_models.ARCHIVES[name]
    path = tmp_path / "x.bchisto"
    path.write_bytes(change(boosted_models["lightgbm"].read_bytes()))
    refused(BundleError, path, words, Bundle.load)


def test_a_model_file_that_unpacks_to_a_thousand_times_as_much(boosted_models, tmp_path):
    path = rewrite(
        boosted_models["lightgbm"], tmp_path / "x", model(lambda data: bytes(100 * 1024**2))
    )
    with (
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(tmp_path / "y", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    refused(BundleError, tmp_path / "y", "unpacks to more than", Bundle.load)


@pytest.fixture(scope="module")
def network_model(tmp_path_factory):
    """A model file of two untrained networks."""
    from bchisto.core.jobs import prepare_backend
    from bchisto.core.models import BundleFacts, pack_arrays
    from bchisto.finetune import CnnBundle, FinetuneSettings
    from bchisto.finetune.model import build_model
    from bchisto.finetune.pretrained import network_arrays

    prepare_backend()
    settings = FinetuneSettings("speck", size=32, batch_size=4)
    networks = {
        fold: network_arrays(build_model(settings, classes=2, fold=fold)) for fold in (1, 2)
    }
    path = tmp_path_factory.mktemp("strange") / "x.bchisto"
    CnnBundle.save(
        path,
        BundleFacts(classes=("benign", "malignant"), protocol="2 folds", temperature=1.5),
        settings=settings,
        models={fold: partial(pack_arrays, arrays) for fold, arrays in networks.items()},
        dataset="folder",
        reading={"label_level": "class", "context": "tight"},
    )
    bundle = CnnBundle.load(path)
    assert sorted(bundle.models) == [1, 2]
    assert bundle.temperature == 1.5
    assert bundle.reading["context"] == "tight"
    return path


@pytest.mark.parametrize("name", hostile_models.NETWORKS)
def test_models_of_networks(network_model, tmp_path, name):
    from bchisto.finetune import CnnBundle

    change, words = hostile_models.NETWORKS[name]
    refused(
        BundleError, rewrite(network_model, tmp_path / "y.bchisto", change), words, CnnBundle.load
    )


@pytest.mark.parametrize("name", hostile_models.PREDICTED)
def test_models_by_the_command(boosted_model, tissue, tmp_path, cli, name):
    change, words = hostile_models.PREDICTED[name]
    path = rewrite(boosted_model, tmp_path / "x.bchisto", change)
    line = "predict {} --images {} --out T/p.csv --calibrated --jobs 1"
    assert re.search(words, ended(cli, line, path, tissue))
    assert {one.name for one in tmp_path.iterdir()} <= {"p.csv.run.json", "x.bchisto"}


@pytest.mark.parametrize("name", hostile_arrays.STORES)
def test_feature_files(described, tmp_path, name):
    change, words = hostile_arrays.STORES[name]
    path = Path(shutil.copy(described / "features" / "tiny-1.0-64.h5", tmp_path))
    other = hostile_arrays.elsewhere(tmp_path)
    with h5py.File(path, "a") as file:
        change(file, other)

    def read(path):
        read_sources([path])
        with open_store(path) as store:
            store.features()

    refused(StoreError, path, words, read)


@pytest.fixture(scope="module")
def embedded(described, tmp_path_factory):
    """A store of embeddings: the same descriptors, which came through a file."""
    from bchisto.featurize import export_features, import_features

    folder = tmp_path_factory.mktemp("embedded")
    export_features(described / "features" / "tiny-1.0-64.h5", folder / "x.npz")
    import_features([folder / "x.npz"], folder=folder / "features")
    return folder / "features" / "x.h5"


@pytest.mark.parametrize("name", hostile_arrays.EMBEDDINGS)
def test_files_of_embeddings_by_the_command(embedded, tmp_path, cli, name):
    change, words = hostile_arrays.EMBEDDINGS[name]
    path = Path(shutil.copy(embedded, tmp_path))
    with h5py.File(path, "a") as file:
        change(file, None)
    line = ended(cli, "boost --features {} --folds 3 --seeds 1 --jobs 1 --out T/r", path)
    assert re.search(f"{path}: .*{words}", line)


@pytest.mark.parametrize("name", hostile_arrays.ARRAYS)
def test_arrays_of_weights(tmp_path, monkeypatch, name):
    from bchisto.encoders import read_weight_arrays

    file, write, words = hostile_arrays.ARRAYS[name]
    monkeypatch.setattr("bchisto.core.formats.limits.WEIGHTS_SMALL", 1024**2)
    write(tmp_path / file)
    refused(WeightsError, tmp_path / file, words, read_weight_arrays)


@pytest.fixture(scope="module")
def network():
    import keras
    from bchisto.core.jobs import prepare_backend

    prepare_backend()
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, keras.layers.Conv2D(4, 2, name="first")(inputs))


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    """Its weights before any file was read."""
    path = tmp_path_factory.mktemp("saved") / "w.weights.h5"
    network.save_weights(path)
    load_whole(path, network)
    return path


def load_whole(path, network):
    """Load a file into the network that it was saved from, as encoders load theirs."""
    from bchisto.encoders.weights import fill_weights, keras_trouble, read_keras

    reason = keras_trouble(path)
    filled = None if reason else fill_weights(network, partial(read_keras, path), needed=network)
    if filled is None or filled.reason:
        raise WeightsError(f"{path}: not weights of this network ({reason or filled.reason[:120]})")


@pytest.mark.parametrize("name", hostile_arrays.KERAS)
def test_weights_of_networks(network, saved, tmp_path, name):
    change, words = hostile_arrays.KERAS[name]
    path = Path(shutil.copy(saved, tmp_path))
    with h5py.File(path, "r+") as file:
        change(file, tmp_path)
    refused(WeightsError, path, words, partial(load_whole, network=network))


def test_a_legacy_model_with_a_lambda_layer_runs_nothing(network, tmp_path):
    """A whole model in Keras's old form, whose configuration holds Python code: its weights alone are read."""
    import keras

    mark = tmp_path / "ran"

    def call(x, path=str(mark)):
        import pathlib

        pathlib.Path(path).touch()
        return x

    inputs = keras.Input((8, 8, 3))
    first = keras.layers.Conv2D(4, 2, name="first", kernel_initializer="ones")(inputs)
    keras.Model(inputs, keras.layers.Lambda(call, name="evil", output_shape=(7, 7, 4))(first)).save(
        tmp_path / "w.h5"
    )
    assert b"Lambda" in (tmp_path / "w.h5").read_bytes()
    mark.unlink(missing_ok=True)
    load_whole(tmp_path / "w.h5", network)
    assert float(network.get_layer("first").kernel.numpy().min()) == 1.0
    assert not mark.exists()


@pytest.mark.parametrize("name", hostile_texts.RECIPES)
def test_recipes(tmp_path, cli, name):
    content, words = hostile_texts.RECIPES[name]
    path, images = tmp_path / "in" / "recipe.yaml", tmp_path / "images"
    path.parent.mkdir()
    images.mkdir()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    line = hostile_texts.REPRODUCE.format(path, images=images, out=tmp_path / "out")
    assert words in ended(cli, line)
    assert {one.name for one in tmp_path.rglob("*")} == {"in", "images", "recipe.yaml"}


@pytest.mark.parametrize("name", hostile_texts.ALIASES)
def test_options(tmp_path, cli, name):
    (tmp_path / "c.yaml").write_text(hostile_texts.ALIASES[name])
    line = hostile_texts.OPTIONS.format(tmp_path / "c.yaml", out=tmp_path / "out")
    assert "with what its aliases repeat" in ended(cli, line)


@pytest.mark.parametrize("name", hostile_texts.TABLES)
def test_tables(tissue, tmp_path, cli, name):
    content, command, words = hostile_texts.TABLES[name]
    path = tmp_path / "t.csv"
    path.write_text(content.replace("{first}", str(tissue / "benign" / "benign00.png")))
    assert words in ended(cli, command.format(path, out=tmp_path / "out", tissue=tissue))
    assert not (tmp_path / "out").exists()


MEASURE = (
    "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], stderr=subprocess.STDOUT); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, flush=True); sys.exit(done.returncode)"
)
"""A process between, since what is started has at first the memory of what starts it."""

MOST = 400
"""Megabytes: a command that loads no network takes 100 to 200."""


def measured(line):
    """Return exit code and output of a command whose peak of memory is measured."""
    command = [sys.executable, "-c", MEASURE, sys.executable, "-m", "bchisto", *line.split()]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    *lines, megabytes = done.stdout.splitlines(keepends=True)
    assert int(megabytes) < MOST
    assert "Traceback" not in done.stdout
    return done.returncode, "".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", hostile_texts.GIGABYTES)
def test_small_files_that_used_to_take_gigabytes(tmp_path, name):
    file, write, command, words = hostile_texts.GIGABYTES[name]
    write(tmp_path / file)
    code, text = measured(command.format(tmp_path / file, out=tmp_path / "out"))
    assert code == 2, text
    assert text.count("\n") == 1, text
    assert words in text
