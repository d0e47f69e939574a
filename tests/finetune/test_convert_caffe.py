"""The script that turns a published Caffe model into .safetensors."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bchisto.encoders import read_weight_arrays
from bchisto.finetune.pretrained import input_convention

SCRIPT = Path(__file__).parents[2] / "tools" / "convert_caffe.py"
ARRAYS = {"conv1/7x7_s2.weight": (4, 3, 2, 2), "conv1/7x7_s2.bias": (4,), "fc8.weight": (5, 16), "norm é.2": (1,),
          "norm é.bias": (3,), "norm é.weight": (3,)}  # fmt: skip


@pytest.fixture(scope="module")
def network():
    """The class of a network, of which Google's protobuf writes the files."""
    spec = importlib.util.spec_from_file_location("convert_caffe", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.network_class()


def converted(path, out):
    return subprocess.run([sys.executable, SCRIPT, path, out], capture_output=True, text=True)


@pytest.mark.parametrize("older", [True, False])
def test_both_forms_are_converted(network, tmp_path, rng, older):
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in ARRAYS.items()}
    model, layers = network(), {}
    for name in sorted(arrays, key=lambda name: ("weight", "bias", "2").index(name.rpartition(".")[2])):
        value, layer = arrays[name], name.rpartition(".")[0]
        if layer not in layers:
            layers[layer] = (model.layers if older else model.layer).add(name=layer)
        blob = layers[layer].blobs.add()
        if older:
            blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - value.ndim) + value.shape
        else:
            blob.shape.dim.extend(value.shape)
        (blob.double_data if layer == "fc8" and not older else blob.data).extend(value.ravel().tolist())
    path, out = tmp_path / "é.caffemodel", tmp_path / "w.safetensors"
    path.write_bytes(model.SerializeToString())
    assert converted(path, out).returncode == 0
    found = read_weight_arrays(out)
    assert set(found) == set(ARRAYS)
    for name, value in arrays.items():
        np.testing.assert_array_equal(found[name], value)
    assert input_convention(out) == "caffe"


@pytest.mark.parametrize("content", [b"", b"\x80\x02ctorch\n", b"\x0a\x03net", b"\xa2\x06\xff\xff\xff\xff\x0f"])
def test_what_is_not_a_caffe_model_is_refused_in_a_line(tmp_path, content):
    (tmp_path / "x.caffemodel").write_bytes(content)
    done = converted(tmp_path / "x.caffemodel", tmp_path / "x.safetensors")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "x.safetensors").exists()
