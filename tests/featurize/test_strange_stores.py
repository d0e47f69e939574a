"""Stores of strangers: nothing outside of the file is read, and what is odd is refused in one line."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from bchisto.boost.sources import read_sources
from bchisto.core import StoreError
from bchisto.data import ImageRecord
from bchisto.featurize import ImageFailure, open_store

NAME = "tiny-1.0-64.h5"
TEXT = h5py.string_dtype("utf-8")


@pytest.fixture
def store(described, tmp_path):
    return Path(shutil.copy(described / "features" / NAME, tmp_path))


def replaced(file, name, **new):
    """Put another dataset in the place of one."""
    del file[name]
    file.create_dataset(name, **new)


def refused(path, message):
    """What the road of `boost` says of a store: one line that names the file."""

    def read():
        read_sources([path])
        with open_store(path) as store:
            store.features()

    with pytest.raises(StoreError, match=message) as told:
        read()
    said = str(told.value)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said


def elsewhere(tmp_path):
    """A file of somebody else with values of the right shape."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["features"] = np.ones((24, 16), np.float32)
        file["images/image_id"] = np.array([f"stranger{i}" for i in range(12)], dtype=object)
    (tmp_path / "raw.bin").write_bytes(np.ones((24, 16), np.float32).tobytes())
    return tmp_path / "other.h5"


def external_link(file, other):
    del file["features"]
    file["features"] = h5py.ExternalLink(str(other), "features")


def external_group(file, other):
    del file["images"]
    file["images"] = h5py.ExternalLink(str(other), "images")


def soft_link(file, other):
    file.move("features", "away")
    file["features"] = h5py.SoftLink("/away")


def soft_loop(file, other):
    del file["images"]
    file["images"] = h5py.SoftLink("/images")


def external_raw(file, other):
    replaced(file, "features", shape=(24, 16), dtype=np.float32,
             external=[(str(other.with_name("raw.bin")), 0, h5py.h5f.UNLIMITED)])  # fmt: skip


def virtual(file, other):
    del file["features"]
    layout = h5py.VirtualLayout((24, 16), np.float32)
    layout[:] = h5py.VirtualSource(str(other), "features", shape=(24, 16))
    file.create_virtual_dataset("features", layout)


def virtual_without_source(file, other):
    del file["features"]
    layout = h5py.VirtualLayout((24, 16), np.float32)
    layout[:] = h5py.VirtualSource("gone.h5", "features", shape=(24, 16))
    file.create_virtual_dataset("features", layout)


def failures_elsewhere(file, other):
    del file["failures"]
    file["failures"] = h5py.ExternalLink(str(other), "features")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external_link, "features is a link to another object"),
        (external_group, "images/image_id is a link to another object"),
        (soft_link, "features is a link to another object"),
        (soft_loop, "images/image_id is a link to another object"),
        (external_raw, "the values of features are in other files"),
        (virtual, "the values of features are in other files"),
        (virtual_without_source, "the values of features are in other files"),
        (failures_elsewhere, "failures is a link to another object"),
    ],
)
def test_nothing_outside_of_a_store_is_read(store, tmp_path, change, message):
    other = elsewhere(tmp_path)
    with h5py.File(store, "a") as file:
        change(file, other)
    refused(store, message)


def test_a_pack_of_another_kind_is_not_used(tmp_path, caplog):
    from bchisto.featurize.units import keep, pack_path, read_kept

    failure = ImageFailure(ImageRecord(image_id="a.png", path=tmp_path / "a.png", label=None), "why")
    keep(tmp_path, {"key": failure}, store="x", dim=16)
    pack = pack_path(tmp_path, ["key"])
    assert read_kept(pack, augmentations=2, dim=16).failures == {"key": "why"}
    arrays = dict(np.load(pack))
    np.savez(pack, **arrays | {"keys": np.array([{}], dtype=object)})  # which only a pickle could hold
    assert read_kept(pack, augmentations=2, dim=16) is None
    assert "incomplete" in caplog.text


def attribute(name, value):
    def change(file):
        file.attrs[name] = value

    return change


def without(name):
    def change(file):
        del file.attrs[name]

    return change


def setting(name, value=...):
    """Change one of the settings, which are one JSON."""

    def change(file):
        settings = json.loads(file.attrs["settings"])
        settings[name] = value
        file.attrs["settings"] = json.dumps({k: v for k, v in settings.items() if v is not ...})

    return change


def dataset(name, **new):
    return lambda file: replaced(file, name, **new)


NAMES = np.array([f"i{n}" for n in range(12)], dtype=object)

ODD = {
    "features as text": (dataset("features", shape=(24, 16), dtype=TEXT), "features holds text or objects, not float"),
    "features of integers": (dataset("features", data=np.ones((24, 16), np.int64)), "holds int64, not float"),
    "features of one axis": (dataset("features", data=np.ones(24, np.float32)), "not 2 axes"),
    "features that are empty": (dataset("features", dtype=np.float32, data=h5py.Empty("f4")), "not 2 axes"),
    "features that were never written": (dataset("features", shape=(24, 16), dtype=np.float32), "0 are stored"),
    "features of a terabyte": (
        dataset("features", shape=(24, 2**34), chunks=(1, 4096), dtype=np.float32, compression="gzip"),
        "claims .* bytes, of which 0 are stored",
    ),
    "chunks of a gigabyte": (
        dataset("features", shape=(24, 2**28), chunks=(1, 2**28), dtype=np.float32, compression="gzip"),
        "chunks of more than 256 MiB",
    ),
    "a group called features": (lambda file: (file.pop("features"), file.create_group("features")), "is not a dataset"),
    "short labels": (dataset("label", data=NAMES), "label has the shape"),
    "labels that are no UTF-8": (
        dataset("label", data=np.array([b"\xff\xfe"] * 24, dtype=object), dtype=TEXT),
        "codec can't decode",
    ),
    "ids twice": (
        lambda file: file["images/image_id"].__setitem__(1, file["images/image_id"][0]),
        "is in it twice",
    ),
    "an id without letters": (lambda file: file["images/image_id"].__setitem__(1, ""), "without a name"),
    "an id of a megabyte": (lambda file: file["images/image_id"].__setitem__(1, "x" * 2**20), "too long"),
    "no classes": (attribute("classes", np.array([], dtype=float)), "classes is not a list of texts"),
    "classes of numbers": (attribute("classes", [1.0, 2.0]), "classes is not a list of texts"),
    "a class twice": (attribute("classes", np.array(["a", "a"], dtype=object)), "classes names one twice"),
    "augmentations of 0": (attribute("augmentations", 0), "augmentations is 0"),
    "augmentations in words": (attribute("augmentations", "two"), "augmentations is not a whole number"),
    "no encoder": (setting("encoder"), "its settings have no 'encoder'"),
    "an encoder of a number": (setting("encoder", 3.0), "encoder is not text"),
    "an encoder of 60,000 letters": (setting("encoder", "x" * 60_000), "the attribute settings holds none"),
    "a reference in place of a text": (
        lambda file: file.attrs.create("settings", file.ref, dtype=h5py.ref_dtype), "no attribute settings"
    ),
    "synthetic in words": (attribute("synthetic", "no"), "synthetic is not true or false"),
    "failures that are no JSON": (dataset("failures", data="[[", dtype=TEXT), "damaged"),
    "failures nested without end": (dataset("failures", data="[" * 50_000, dtype=TEXT), "damaged"),
    "a selection that is none": (attribute("selection", "[]"), "selection has no options"),
    "a card of numbers": (attribute("card", np.arange(3)), "card is not text"),
    "a norm NaN": (setting("pool", np.nan), "pool is nan, out of range"),
    "a scale that is infinite": (setting("scale", np.inf), "scale is inf, out of range"),
    "colours NaN": (setting("color_range", [np.nan, 1.0]), "color_range is .nan, 1.0., out of range"),
    "one colour": (setting("color_range", [0.5]), "its settings do not fit: .*give 2 values"),
    "crops without end": (setting("crops", 2**62), "crops is 4611686018427387904, out of range"),
    "a seed of 64 bits": (setting("seed", 2**64 - 1), "seed is 18446744073709551615, out of range"),
    "a mode with an escape": (setting("mode", "\x1b[2J$\\frac{$"), "do not fit: `mode` .*choose one of exact, dense"),
    "a mode of embeddings": (setting("mode", "imported"), "its settings have no 'imported'"),
    "a schema of -1": (attribute("schema_version", -1), "-1 is not a schema number"),
    "a kind in numbers": (attribute("kind", [1, 2]), "not a bchisto feature file"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_content_is_refused(store, name):
    change, message = ODD[name]
    with h5py.File(store, "a") as file:
        change(file)
    refused(store, message)


ABOUT = {"facts": {}, "pooled": "", "source": "x"}
IMPORTED = {
    "a list": (setting("imported", [1]), "nothing is recorded about the embeddings"),
    "no source": (setting("imported", {"facts": {}, "pooled": ""}), "the embeddings have no source"),
    "a norm NaN": (
        setting("imported", {**ABOUT, "facts": {"pool": np.nan}}), "its attribute pool is not understood: nan",
    ),
    "nothing": (setting("imported"), "its settings have no 'imported'"),
    "a length in words": (setting("dim", "x"), "dim is not a whole number"),
    "another length": (setting("dim", 7), "its features have 16 numbers, and its settings 7"),
    "a hash of words": (setting("features_sha256", "../x"), "features_sha256 is not a SHA-256"),
}  # fmt: skip


@pytest.fixture(scope="module")
def embedded(described, tmp_path_factory):
    """A store of embeddings: the same descriptors, which came through a file."""
    from bchisto.featurize import export_features, import_features

    folder = tmp_path_factory.mktemp("embedded")
    export_features(described / "features" / NAME, folder / "x.npz")
    import_features([folder / "x.npz"], folder=folder / "features")
    return folder / "features" / "x.h5"


@pytest.mark.parametrize("name", IMPORTED)
def test_what_a_store_says_of_embeddings_is_checked(embedded, tmp_path, cli, name):
    """Before, most of these ended `boost` in an unexpected error."""
    store = Path(shutil.copy(embedded, tmp_path))
    change, message = IMPORTED[name]
    with h5py.File(store, "a") as file:
        change(file)
    code, _, said = cli("boost", "--features", store, "--folds", 3, "--seeds", 1, "--jobs", 1, "--out", tmp_path / "r")
    assert (code, f"{store}: " in said, message in said) == (2, True, True), said


def reference(file):
    file.attrs.create("more", file.ref, dtype=h5py.ref_dtype)


@pytest.mark.parametrize(
    "change",
    [attribute("more", np.arange(3)), attribute("more", np.bytes_(b"\xff\xfe")), attribute("more", h5py.Empty("f")),
     reference],
)  # fmt: skip
def test_an_attribute_that_we_do_not_know_goes_into_no_bundle(embedded, tmp_path, cli, change):
    """Before, the bundle could not be written after training."""
    from bchisto.boost import Bundle

    store = Path(shutil.copy(embedded, tmp_path))
    with h5py.File(store, "a") as file:
        change(file)
    small = ("--param", "num_iterations=1", "--folds", 2, "--seeds", 1, "--jobs", 1)
    code, _, said = cli("boost", "--features", store, *small, "--out", tmp_path / "r")
    assert code == 0, said
    assert "more" not in Bundle.load(tmp_path / "r/boost/2-lightgbm/model.bchisto").stores["x"]


def test_a_megabyte_in_an_attribute(described, tmp_path):
    """HDF5's newer form holds attributes of any size."""
    path = tmp_path / NAME
    with h5py.File(described / "features" / NAME) as old, h5py.File(path, "w", libver="latest") as new:
        for name in old:
            old.copy(name, new)
        for name, value in old.attrs.items():
            new.attrs[name] = value
        new.attrs["dataset"] = "x" * 2**20
    refused(path, "the attribute dataset is too long")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_descriptors_that_are_not_finite_do_not_train(store, value, tmp_path, cli):
    with h5py.File(store, "a") as file:
        file["features"][7, 3] = value
    code, _, said = cli("boost", "--features", store, "--folds", 3, "--seeds", 1, "--jobs", 1, "--out", tmp_path / "r")
    assert code == 2, said
    assert f"{store}: a feature of " in said
    assert "is not finite" in said
    assert "Traceback" not in said


def test_a_damaged_gzip_chunk_is_refused(store):
    with h5py.File(store, "a") as file:
        values = file["features"][:]
        replaced(file, "features", data=values, chunks=(24, 16), compression="gzip")
        start = file["features"].id.get_chunk_info(0)
    with store.open("r+b") as handle:
        handle.seek(start.byte_offset + 10)
        handle.write(b"\xff" * 50)
    with open_store(store) as found, pytest.raises(StoreError, match="damaged, .*; make it again"):
        found.features()


def test_a_store_that_was_repacked_reads_as_before(store):
    with open_store(store) as before:
        values = before.features()
    with h5py.File(store, "a") as file:
        rows = file["features"][:]
        replaced(file, "features", data=rows, chunks=(5, 16), compression="gzip", shuffle=True, fletcher32=True)
    with open_store(store) as after:
        np.testing.assert_array_equal(after.features(), values)


def test_growing_a_strange_store_reads_nothing_outside(described, tissue, tiny_options, tmp_path, cli):
    """A store that grows is copied, its columns too."""
    run = tmp_path / "run"
    shutil.copytree(described, run)
    other = elsewhere(tmp_path)
    with h5py.File(other, "a") as file:
        file["tissue"] = np.full(12, 0.123, np.float32)
    with h5py.File(run / "features" / NAME, "a") as file:
        del file["images/tissue"]
        file["images/tissue"] = h5py.ExternalLink(str(other), "tissue")
    images = shutil.copytree(tissue, tmp_path / "images")
    (images / "benign" / "more.png").write_bytes((images / "benign" / "benign00.png").read_bytes() + b"0")
    code, _, said = cli("featurize", "--images", images, "--out", run, *tiny_options)
    assert code != 0
    assert "tissue is a link to another object" in said
    assert json.loads((run / "run.json").read_text())["records"][-1]["status"] == "error"


def test_a_store_that_ends_hdf5_is_one_line(store, tmp_path, cli, monkeypatch):
    """Whether by a signal or without an end, in a process of its own; `tests/featurize/data` holds one of each."""
    from bchisto.core.formats import hdf5

    monkeypatch.setattr(hdf5, "_SECONDS", 1)
    for name, said in (("ends-hdf5.h5", "is ended by signal 11"), ("hangs-hdf5.h5", "does not come to an end")):
        path = Path(__file__).parent / "data" / name
        code, _, text = cli("boost", "--features", path, "--folds", 2, "--out", tmp_path / "run")
        assert (code, f"{path}: damaged, HDF5 {said}" in text) == (2, True), text


def test_the_first_look_passes_what_is_right_or_said_better_later(store, tmp_path):
    from bchisto.core.formats import refuse_deadly

    (tmp_path / "text.h5").write_text("no HDF5 at all")
    refuse_deadly([store, tmp_path / "text.h5", tmp_path / "none.h5", tmp_path])
    with h5py.File(store, "r+"):  # as another part of this program may have it
        refuse_deadly([store])
