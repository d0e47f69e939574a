"""Caffe models written by Google's protobuf from the fields of caffe.proto, and read by ours."""

import numpy as np
import pytest
from bchisto.encoders import read_weight_arrays
from bchisto.errors import InputError, WeightsError
from bchisto.finetune import convert_caffe
from bchisto.finetune.pretrained import input_convention


@pytest.fixture(scope="module")
def messages():
    """NetParameter and what it holds, as far as weights go."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    kinds = descriptor_pb2.FieldDescriptorProto

    def message(name, *fields):
        made = file.message_type.add(name=name)
        for number, field, kind, repeated in fields:
            one = made.field.add(name=field, number=number)
            one.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if isinstance(kind, str):
                one.type, one.type_name = kinds.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                one.type = kind
            one.options.packed = field in ("data", "double_data", "dim")

    integer, text, single = kinds.TYPE_INT32, kinds.TYPE_STRING, kinds.TYPE_FLOAT
    message("BlobShape", (1, "dim", kinds.TYPE_INT64, True))
    message(
        "BlobProto", (1, "num", integer, False), (2, "channels", integer, False), (3, "height", integer, False),
        (4, "width", integer, False), (5, "data", single, True), (6, "diff", single, True),
        (7, "shape", "BlobShape", False), (8, "double_data", kinds.TYPE_DOUBLE, True),
    )  # fmt: skip
    message("LayerParameter", (1, "name", text, False), (2, "type", text, False), (7, "blobs", "BlobProto", True))
    message("V1LayerParameter", (2, "bottom", text, True), (4, "name", text, False), (5, "type", integer, False),
            (6, "blobs", "BlobProto", True), (7, "blobs_lr", single, True))  # fmt: skip
    message("NetParameter", (1, "name", text, False), (2, "layers", "V1LayerParameter", True),
            (5, "force_backward", kinds.TYPE_BOOL, False), (100, "layer", "LayerParameter", True))  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))
            for name in ("NetParameter", "BlobProto")}  # fmt: skip


ARRAYS = {
    "conv1/7x7_s2.weight": (4, 3, 2, 2),
    "conv1/7x7_s2.bias": (4,),
    "fc8.weight": (5, 16),
    "fc8.bias": (5,),
    "norm é.weight": (3,),
    "norm é.bias": (3,),
    "norm é.2": (1,),
}


def arrays(rng):
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in ARRAYS.items()}


def write(messages, path, found, *, older):
    net = messages["NetParameter"](name="nét", force_backward=True)
    layers = {}
    for name, value in found.items():
        layer = name.rpartition(".")[0]
        if layer not in layers:
            layers[layer] = (net.layers if older else net.layer).add(name=layer)
        blob = layers[layer].blobs.add(diff=[0.0, 1.0])
        if older:
            blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - value.ndim) + value.shape
        else:
            blob.shape.dim.extend(value.shape)
        (blob.double_data if name.startswith("fc8") and not older else blob.data).extend(value.ravel().tolist())
    (net.layers if older else net.layer).add(name="relu")
    path.write_bytes(net.SerializeToString())


@pytest.mark.parametrize("older", [True, False])
def test_both_forms_are_read(messages, tmp_path, rng, older):
    path, found = tmp_path / "bvlc é.caffemodel", arrays(rng)
    write(messages, path, found, older=older)
    read = read_weight_arrays(path)
    assert list(read) == list(ARRAYS)
    for name, value in found.items():
        np.testing.assert_array_equal(read[name], value)
        assert read[name].dtype == np.float32
    assert {name: value.size for name, value in read_weight_arrays(path, values=False).items()} == dict.fromkeys(
        found, 0
    )
    assert input_convention(path) == "caffe"
    target = tmp_path / "w.safetensors"
    assert convert_caffe(path, target) == list(ARRAYS)
    again = read_weight_arrays(target)
    for name, value in found.items():
        np.testing.assert_array_equal(again[name], value)


def test_numbers_one_by_one_are_read_too(tmp_path):
    """A file of proto2 may hold each number of an array as a field of its own."""
    numbers = np.array([1.5, -2.0], "<f4")
    blob = b"".join(b"\x2d" + one.tobytes() for one in numbers) + b"\x3a\x02\x08\x02"
    layer = b"\x0a\x01a" + b"\x3a" + bytes([len(blob)]) + blob
    (tmp_path / "w.caffemodel").write_bytes(b"\xa2\x06" + bytes([len(layer)]) + layer)
    np.testing.assert_array_equal(read_weight_arrays(tmp_path / "w.caffemodel")["a.weight"], numbers)


def test_every_cut_and_every_changed_byte_is_refused_or_read_within_bounds(messages, tmp_path, rng):
    """No exception but ours, whatever byte is another one."""
    path = tmp_path / "w.caffemodel"
    write(messages, path, arrays(rng), older=False)
    whole = path.read_bytes()
    damaged = [whole[:end] for end in range(1, len(whole) - 6, 11)]
    places = range(0, len(whole), 5)
    damaged += [whole[:k] + bytes([whole[k] ^ flip]) + whole[k + 1 :] for k in places for flip in (1, 0x80)]
    said = []
    for content in damaged:
        path.write_bytes(content)
        try:
            assert len(read_weight_arrays(path)) <= len(ARRAYS)
        except WeightsError as error:
            said.append(str(error))
    assert len(said) > 100  # most bytes are of numbers, and another number is a number
    assert all(one.startswith(f"{path}: not a whole Caffe model (") for one in said)


def test_what_is_no_caffe_model(tmp_path, messages, rng):
    for content, message in [
        (b"", "empty"),
        (b"\x80\x02ctorch\n", "not a whole Caffe model"),
        (b"\x0a\x03net", "no layer with weights"),
        (b"\xa2\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "cut off"),
    ]:
        (tmp_path / "x.caffemodel").write_bytes(content)
        with pytest.raises(WeightsError, match=message):
            read_weight_arrays(tmp_path / "x.caffemodel")
    with pytest.raises(WeightsError, match="x.caffemodel: not a whole Caffe model"):
        convert_caffe(tmp_path / "x.caffemodel", tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()
    with pytest.raises(WeightsError, match="give a .caffemodel file"):
        convert_caffe(tmp_path / "x.npz", tmp_path / "x.safetensors")
    write(messages, tmp_path / "w.caffemodel", arrays(rng), older=True)
    with pytest.raises(InputError, match="`out` .*w.npz: name a .safetensors file"):
        convert_caffe(tmp_path / "w.caffemodel", tmp_path / "w.npz")
