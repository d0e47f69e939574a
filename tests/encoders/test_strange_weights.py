"""Weights files of strangers: numbers of the file itself, or a line that says why not."""

import io
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from bchisto.core import StoreError, WeightsError
from bchisto.core.formats import check_tree
from bchisto.encoders import fill_weights, read_weight_arrays
from bchisto.encoders.loading import keras_trouble, read_keras
from safetensors.numpy import save_file

WHOLE = {"first/kernel": np.ones((2, 2, 3, 4), np.float32), "first/bias": np.zeros(4, np.float32)}


def savez(path, **arrays):
    np.savez(path, **{**WHOLE, **arrays})


def member(path, name, data, *, flag=0, method=None):
    """An NPZ with one more member, which the directory calls encrypted or packed by another method."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, data)
    raw = bytearray(path.read_bytes())
    for signature, flags, packed in ((b"PK\x03\x04", 6, 8), (b"PK\x01\x02", 8, 10)):
        place = raw.index(signature)
        raw[place + flags] |= flag
        if method is not None:
            raw[place + packed] = method
    path.write_bytes(raw)


def array(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def safetensors(path, dtype, size):
    """A file whose one tensor is of a type of which NumPy has none."""
    header = f'{{"x":{{"dtype":"{dtype}","shape":[{size}],"data_offsets":[0,{size}]}}}}'.encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))


def bomb(path):
    np.savez_compressed(path, x=np.zeros(3_000_000))


STRANGE = {
    "npz with a raw member": ("w.npz", lambda p: member(p, "readme.txt", b"hello"), "readme.txt holds bytes"),
    "npz of text": ("w.npz", lambda p: savez(p, x=np.array(["a"])), "x holds <U1, not numbers"),
    "npz of objects": ("w.npz", lambda p: np.savez(p, x=np.array([{}], object)), "Object arrays cannot be loaded"),
    "npz encrypted": ("w.npz", lambda p: member(p, "x.npy", array(np.ones(3)), flag=1), "encrypted"),
    "npz of an unknown method": ("w.npz", lambda p: member(p, "x.npy", array(np.ones(3)), method=99), "or damaged"),
    "npz whose header is code": (
        "w.npz", lambda p: member(p, "x.npy", array(np.ones(3)).replace(b"{'descr'", b"[exit( ]")), "or damaged",
    ),
    "npz that is a bomb": ("w.npz", bomb, "unpacks to more than a network can hold"),
    "npz that is no zip": ("w.npz", lambda p: p.write_bytes(b"PK\x03\x04xx"), "not a weights file, or damaged"),
    "safetensors of F8": ("w.safetensors", lambda p: safetensors(p, "F8_E4M3", 4), "w.safetensors: "),
    "safetensors of truth values": (
        "w.safetensors", lambda p: save_file({"x": np.ones(3, bool)}, p), "x holds bool, not numbers",
    ),
    "safetensors whose header lies": (
        "w.safetensors", lambda p: p.write_bytes((2**60).to_bytes(8, "little") + b"{}"), "not a safetensors file",
    ),
    "safetensors cut off": (
        "w.safetensors", lambda p: (save_file(WHOLE, p), p.write_bytes(p.read_bytes()[:-9])), "not a safetensors file",
    ),
    "a folder": ("w.npz", lambda p: p.mkdir(), "no such weights file"),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_arrays_of_strangers(tmp_path, monkeypatch, name):
    file, write, message = STRANGE[name]
    monkeypatch.setattr("bchisto.core.formats.limits.WEIGHTS_SMALL", 1024**2)
    write(tmp_path / file)
    with pytest.raises(WeightsError, match=message) as caught:
        read_weight_arrays(tmp_path / file)
    assert str(caught.value).startswith(f"{tmp_path / file}: ")
    assert "\n" not in str(caught.value)


def test_arrays_that_hold(tmp_path):
    savez(tmp_path / "w.npz", whole=np.arange(3), half=np.ones(2, "f2"))
    found = read_weight_arrays(tmp_path / "w.npz")
    np.testing.assert_array_equal(found["first/kernel"], WHOLE["first/kernel"])
    assert set(read_weight_arrays(tmp_path / "w.npz", values=False)) == {*WHOLE, "whole", "half"}


@pytest.fixture(scope="module")
def network():
    import keras

    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, keras.layers.Conv2D(4, 2, name="first")(inputs))


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "w.weights.h5"
    network.save_weights(path)
    return path


@pytest.fixture
def weights(saved, tmp_path):
    return Path(shutil.copy(saved, tmp_path))


KERNEL = "layers/conv2d/vars/0"


def put(value=None, **options):
    """Put another dataset in the place of the kernel."""

    def alter(file, folder):
        shape = file[KERNEL].shape
        del file[KERNEL]
        if value is None:
            given = {"shape": shape, "dtype": "f4", **options}
            given = {name: one(folder) if callable(one) else one for name, one in given.items()}
            file.create_dataset(KERNEL, **given)
        else:
            file[KERNEL] = value(file) if callable(value) else value

    return alter


def virtual(file, folder):
    shape = file[KERNEL].shape
    del file[KERNEL]
    layout = h5py.VirtualLayout(shape=shape, dtype="f4")
    layout[...] = h5py.VirtualSource(str(folder / "other.h5"), "x", shape=shape)
    file.create_virtual_dataset(KERNEL, layout, fillvalue=1.0)


def circle(file, folder):
    file["layers/conv2d/vars/more"] = file["layers"]


H5 = {
    "an external link": (put(h5py.ExternalLink("/etc/hostname", "x")), "is a link to another object"),
    "a soft link": (put(h5py.SoftLink("/layers/conv2d/vars/1")), "is a link to another object"),
    "raw values of another file": (
        put(external=lambda folder: [("/etc/passwd", 0, 192)]), "are in other files, which are not read",
    ),
    "values of another HDF5 file": (virtual, "are in other files, which are not read"),
    "a group within itself": (circle, "is in it twice"),
    "a type without values": (put(np.dtype("f4")), "is not a dataset"),
    "a hundred GB of zeros": (
        put(shape=(50_000, 500_000), chunks=(64, 64), compression="gzip"), "claims 100,000,000,000 bytes",
    ),
    "an unknown filter": (
        put(chunks=(1, 1, 3, 4), compression=32_015, allow_unknown_filter=True), "packed with filter 32015",
    ),
    "NaN": (put(np.full((2, 2, 3, 4), np.nan, np.float32)), "lacks first/kernel"),
    "another shape": (put(np.ones((2, 2, 3, 5), np.float32)), "not weights of"),
    "nothing": (put(shape=None, dtype="f4", data=h5py.Empty("f4")), "is not a dataset with values"),
}  # fmt: skip


def load_whole(network, path):
    """Load a file into the network that it was saved from, as encoders load theirs."""
    reason = keras_trouble(path)
    filled = None if reason else fill_weights(network, read_keras(path))
    if filled is None or not filled.whole:
        raise WeightsError(f"{path}: not weights of this network ({reason or filled.reason[:120]})")


@pytest.mark.parametrize("name", H5)
def test_networks_of_strangers(network, weights, tmp_path, name):
    alter, message = H5[name]
    with h5py.File(weights, "r+") as file:
        alter(file, tmp_path)
    with pytest.raises(WeightsError, match=message) as caught:
        load_whole(network, weights)
    assert str(caught.value).startswith(f"{weights}: not weights of this network")
    assert "\n" not in str(caught.value)


def test_a_network_that_holds_is_read(network, weights):
    load_whole(network, weights)
    check_tree(weights)


def test_too_much_of_anything(weights, monkeypatch):
    monkeypatch.setattr("bchisto.core.formats.limits.HDF5_OBJECTS", 2)
    with pytest.raises(StoreError, match="more than 2 objects"):
        check_tree(weights)
    monkeypatch.undo()
    monkeypatch.setattr("bchisto.core.formats.limits.HDF5_BYTES", 10)
    with pytest.raises(StoreError, match=r"w\.weights\.h5: holds more than 0 GiB"):
        check_tree(weights)


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
    keras.Model(inputs, keras.layers.Lambda(call, name="evil", output_shape=(7, 7, 4))(first)).save(tmp_path / "w.h5")
    assert b"Lambda" in (tmp_path / "w.h5").read_bytes()
    mark.unlink(missing_ok=True)
    try:
        load_whole(network, tmp_path / "w.h5")
    except WeightsError as error:
        said = str(error)
    else:
        said = ""
        assert float(network.get_layer("first").kernel.numpy().min()) == 1.0
    assert "\n" not in said
    assert not mark.exists()
