"""Published Caffe models are read as they are, whatever form their arrays have."""

import numpy as np
import pytest
from bchisto.core import WeightsError
from bchisto.finetune import FinetuneSettings
from bchisto.finetune.model import resolved
from bchisto.finetune.networks import get_network
from bchisto.finetune.pretrained import network_arrays, read_caffe
from refusals import refusing
from training_sources import model_of

ARRAYS = {
    "conv1/7x7_s2.weight": (4, 3, 2, 2),
    "conv1/7x7_s2.bias": (4,),
    "fc8.weight": (5, 16),
    "norm é.weight": (3,),
    "norm é.bias": (3,),
    "norm é.2": (1,),
}


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def piece(field, content):
    return varint(field << 3 | 2) + varint(len(content)) + content


def number(field, value):
    return varint(field << 3) + varint(value)


def blob(array, form):
    """An array as Caffe writes it: four sides; a shape in one piece; or doubles, and a shape one number at a time."""
    floats = piece(5, array.astype("<f4").tobytes())
    if form == "sides":
        sides = (1,) * (4 - array.ndim) + array.shape
        return b"".join(number(field, side) for field, side in enumerate(sides, start=1)) + floats
    if form == "shape":
        return floats + piece(7, piece(1, b"".join(map(varint, array.shape))))
    return piece(7, b"".join(number(1, side) for side in array.shape)) + piece(
        8, array.astype("<f8").tobytes()
    )


def caffemodel(arrays, form):
    """A network with a name, a layer without weights, and fields that nobody reads, by the older or newer numbers."""
    layers = {}
    for name, array in arrays.items():
        layers.setdefault(name.rpartition(".")[0], []).append(array)
    field, name_field, blob_field = (2, 4, 6) if form == "sides" else (100, 1, 7)
    out = piece(1, b"net") + piece(field, piece(name_field, b"data"))
    for name, held in layers.items():
        blobs = b"".join(piece(blob_field, blob(array, form)) for array in held)
        skipped = varint(90 << 3 | 5) + b"\0\0\0\1" + number(91, 2**40)
        out += piece(field, piece(name_field, name.encode()) + skipped + blobs)
    return out


@pytest.mark.parametrize("form", ["sides", "shape", "doubles"])
def test_a_caffe_model_is_read_in_every_form(tmp_path, rng, form):
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in ARRAYS.items()}
    path = tmp_path / "é.caffemodel"
    path.write_bytes(caffemodel(arrays, form))
    read = read_caffe(path)
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02ctorch\n",
        b"\x0a\x03net",
        b"\xa2\x06\xff\xff\xff\xff\x0f",
        b"\x12\x05ab",
        b"\xff" * 12,
        piece(100, piece(1, b"a") + piece(7, number(5, 3))),
        piece(100, piece(7, piece(5, b"1234"))),
        piece(100, piece(1, b"a") + piece(7, piece(5, b"1234567"))),
        piece(100, piece(1, b"a") + piece(7, piece(7, number(1, 2)) + piece(5, b"1234"))),
    ],
)
def test_what_is_not_a_caffe_model_is_refused_in_a_line(tmp_path, content):
    (tmp_path / "x.caffemodel").write_bytes(content)
    with refusing(r"x\.caffemodel: not a Caffe model, or ", WeightsError):
        read_caffe(tmp_path / "x.caffemodel")


def test_weights_of_a_caffemodel_are_those_of_the_same_arrays(tmp_path, rng):
    """GoogLeNet at its smallest: the file as it is, and its arrays in a .npz."""
    spec = get_network("googlenet")
    shapes = {
        name: array.shape
        for name, array in network_arrays(
            model_of(FinetuneSettings("googlenet", size=32), fold=0)
        ).items()
    }
    arrays = {}
    for layer, theirs in spec.caffe.names.items():
        *field, into, out = shapes[f"{layer}/kernel"]
        arrays[f"{theirs}.weight"] = rng.normal(size=(out, into, *field)).astype(np.float32)
        arrays[f"{theirs}.bias"] = rng.normal(size=out).astype(np.float32)
    (tmp_path / "w.caffemodel").write_bytes(caffemodel(arrays, "sides"))
    np.savez(tmp_path / "w.npz", **arrays)
    for name in ("w.caffemodel", "w.npz"):
        settings = FinetuneSettings("googlenet", size=32, weights=str(tmp_path / name))
        assert resolved(settings)["convention"] == "caffe"
    for name, array in read_caffe(tmp_path / "w.caffemodel").items():
        np.testing.assert_array_equal(array, arrays[name])
    read = FinetuneSettings("googlenet", size=32, weights=str(tmp_path / "w.caffemodel"))
    found = network_arrays(model_of(read, fold=0))
    for layer, theirs in spec.caffe.names.items():
        weight = arrays[f"{theirs}.weight"]
        if weight.ndim == 4:
            np.testing.assert_array_equal(found[f"{layer}/kernel"], weight.transpose(2, 3, 1, 0))
            np.testing.assert_array_equal(found[f"{layer}/bias"], arrays[f"{theirs}.bias"])
