"""ONNX files: compared with the same arithmetic in NumPy, on both runtimes; refused before a runtime sees them."""

import os

import numpy as np
import pytest
from bchisto.core import BchistoError, WeightsError
from bchisto.encoders import EncoderChoice, open_encoder
from bchisto.encoders.onnx_encoder import read_onnx, read_sidecar
from numpy.testing import assert_allclose
from refusals import refusing
from written_tables import write_json

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'bchisto[test]'")
pytest.importorskip("onnxruntime", reason="needs onnx: pip install 'bchisto[onnx]'")

SIDECAR = {
    "spec_version": "1.0",
    "patch_size_pixels": 32,
    "spacing_um_px": 0.5,
    "license": "CC-BY-NC-4.0",
    "transform": [
        {"name": "Resize", "arguments": {"size": 16, "interpolation": "bicubic"}},
        {"name": "ToTensor"},
        {"name": "Normalize", "arguments": {"mean": [0.5, 0.4, 0.6], "std": [0.2, 0.25, 0.3]}},
    ],
}


def weights(rank):
    rng = np.random.default_rng(rank)
    return rng.normal(0, 0.3, (5, 3, 4, 4)).astype(np.float32), rng.normal(0, 0.3, (5,)).astype(
        np.float32
    )


def network(rank=2, *, shape=("n", 3, 16, 16), operator="Relu", domain=""):
    """A convolution of patches and a rectifier; rank 2 averages its places, rank 3 gives them as tokens."""
    from onnx import TensorProto, helper, numpy_helper

    kernel, bias = weights(rank)
    nodes = [
        helper.make_node(
            "Conv", ["pixels", "kernel", "bias"], ["places"], kernel_shape=[4, 4], strides=[4, 4]
        ),
        helper.make_node(operator, ["places"], ["active"], domain=domain),
    ]
    last = "active"
    if rank < 4:
        nodes.append(
            helper.make_node("Flatten" if rank == 0 else "Reshape", ["active", "form"], ["flat"])
        )
        nodes.append(helper.make_node("Transpose", ["flat"], ["tokens"], perm=[0, 2, 1]))
        last = "tokens"
    if rank == 2:
        nodes.append(helper.make_node("ReduceMean", ["tokens", "axes"], ["vector"], keepdims=0))
        last = "vector"
    graph = helper.make_graph(
        nodes,
        "patches",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(bias, "bias"),
            numpy_helper.from_array(np.array([0, 5, 16], np.int64), "form"),
            numpy_helper.from_array(np.array([1], np.int64), "axes"),
        ],
    )
    domains = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=domains, ir_version=9)


def written(folder, model=None, *, sidecar=SIDECAR, name="patches"):
    path = folder / f"{name}.onnx"
    onnx.save(model or network(), str(path))
    if sidecar is not None:
        write_json(folder / f"{name}.json", sidecar)
    return path


def opened(path, outputs=(), **options):
    return open_encoder(EncoderChoice(f"onnx:{path}", outputs), **options)


def by_hand(pictures, rank):
    """The places of each picture, float64 of shape (n, 16, 5)."""
    kernel, bias = weights(rank)
    pixels = (pictures / 255 - [0.5, 0.4, 0.6]) / [0.2, 0.25, 0.3]
    patches = (
        pixels.reshape(len(pictures), 4, 4, 4, 4, 3)
        .transpose(0, 1, 3, 5, 2, 4)
        .reshape(len(pictures), 16, 48)
    )
    return np.maximum(patches @ kernel.reshape(5, 48).T + bias, 0)


@pytest.fixture
def pictures():
    return np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_both_runtimes_agree_with_numpy(tmp_path, pictures, engine):
    if engine == "openvino":
        pytest.importorskip("openvino")
    for rank, outputs in ((2, ()), (3, ("cls", "mean")), (4, ())):
        path = written(tmp_path, network(rank), name=f"rank{rank}")
        encoder = opened(path, outputs, engine=engine)
        places = by_hand(pictures, rank)
        wanted = (
            np.hstack([places[:, 0], places[:, 1:].mean(axis=1)])
            if rank == 3
            else places.mean(axis=1)
        )
        assert_allclose(encoder.encode(pictures), wanted, atol=1e-5)
        assert encoder.engine == ("onnxruntime" if engine == "keras" else "openvino")
        assert encoder.layers == (outputs or {2: ("vector",), 4: ("mean",)}[rank])
    assert encoder.card.terms() == "CC-BY-NC-4.0, non-commercial use only"
    assert encoder.card.mpp == (1.0,)  # patches of 32 pixels at 0.5, which are resized to 16


@pytest.mark.parametrize(
    ("patch", "resized", "wanted"),
    [(350, 224, 0.390625), ([350, 350], [224, 224], 0.390625), (None, 224, 0.25)],
)
def test_the_spacing_is_of_the_patch_before_it_is_resized(tmp_path, patch, resized, wanted):
    """As in WSInfer's files: 350 pixels at 0.25 micrometres, of which the network sees 224."""
    steps = [{"name": "Resize", "arguments": {"size": resized}}]
    sidecar = {
        "patch_size_pixels": patch,
        "spacing_um_px": 0.25,
        "transform": steps,
        "license": "CC BY-NC 4.0",
    }
    write_json(tmp_path / "any.json", sidecar)
    card, _, _ = read_sidecar(tmp_path / "any.onnx")
    assert (card.size, card.mpp, card.non_commercial) == (224, (wanted,), True)


def test_one_picture_at_a_time_and_any_size(tmp_path, pictures):
    path = written(tmp_path, network(shape=(1, 3, "height", "width")))
    encoder = opened(path)
    assert_allclose(encoder.encode(pictures), by_hand(pictures, 2).mean(axis=1), atol=1e-5)


def test_the_middle_of_a_resized_crop_and_tokens_without_a_class(tmp_path):
    steps = [
        {"name": "Resize", "arguments": {"size": 20, "interpolation": "bicubic"}},
        {"name": "CenterCrop", "arguments": {"size": [16, 16]}},
        *SIDECAR["transform"][1:],
    ]
    path = written(
        tmp_path, network(3), sidecar={**SIDECAR, "transform": steps, "prefix_tokens": 0}
    )
    encoder = opened(path)
    crops = np.random.default_rng(2).integers(0, 256, (2, 20, 20, 3), dtype=np.uint8)
    assert encoder.layers == ("mean",)
    assert encoder.card.size == 16
    assert encoder.card.resize == 20
    assert encoder.card.mpp == (0.8,)
    assert_allclose(encoder.encode(crops), by_hand(crops[:, 2:18, 2:18], 3).mean(axis=1), atol=1e-5)
    write_json(tmp_path / "patches.json", {**SIDECAR, "prefix_tokens": 3})
    places = by_hand(crops[:, :16, :16], 3)
    found = opened(path, ("cls", "mean")).encode(crops[:, :16, :16])
    assert_allclose(found, np.hstack([places[:, 0], places[:, 3:].mean(axis=1)]), atol=1e-5)


def test_values_beside_the_file_count_and_those_elsewhere_are_refused(tmp_path, pictures):
    inner = tmp_path / "inner"
    inner.mkdir()
    model, path = network(), inner / "patches.onnx"
    onnx.save(
        model, str(path), save_as_external_data=True, location="patches.data", size_threshold=200
    )
    write_json(inner / "patches.json", SIDECAR)
    encoder = opened(path)
    assert_allclose(encoder.encode(pictures), by_hand(pictures, 2).mean(axis=1), atol=1e-5)
    assert read_onnx(path).files == (path, inner / "patches.data")
    values = bytearray((inner / "patches.data").read_bytes())
    values[1] ^= 1
    (inner / "patches.data").write_bytes(values)
    assert opened(path).weights_sha256 != encoder.weights_sha256

    (inner / "patches.data").rename(tmp_path / "patches.data")
    with refusing("patches.data is missing, which holds its values", WeightsError):
        opened(path)
    (inner / "patches.data").symlink_to(tmp_path / "patches.data")
    with refusing("outside its folder"):
        opened(path)
    for location in ("../patches.data", os.fspath(tmp_path / "patches.data")):
        changed = onnx.load(str(path), load_external_data=False)
        for tensor in changed.graph.initializer:
            for entry in tensor.external_data:
                entry.value = location if entry.key == "location" else entry.value
        onnx.save_model(changed, str(inner / "other.onnx"))
        write_json(inner / "other.json", SIDECAR)
        with refusing("other.onnx: its values are in .*outside its folder"):
            opened(inner / "other.onnx")


def _inside_a_branch():
    """A custom operator that only a branch holds."""
    from onnx import TensorProto, helper

    branch = helper.make_graph(
        [helper.make_node("Load", ["pixels"], ["inner"], domain="evil")],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    node = helper.make_node("If", ["yes"], ["out"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph(
        [node],
        "outer",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [helper.make_tensor("yes", TensorProto.BOOL, [], [True])],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("evil", 1)]
    )


def _altered(change):
    model = network()
    change(model)
    return model


def _half(model):
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16


def _two_inputs(model):
    model.graph.input.append(
        onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1])
    )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: network(operator="Own", domain="com.example"),
            "has the custom operator com.example::Own; export",
        ),
        (_inside_a_branch, "has the custom operator evil::Load"),
        (lambda: _altered(_two_inputs), r"takes .*'more': \(1,\).*; an encoder takes only images"),
        (lambda: _altered(_half), "ONNX Runtime cannot load it"),
        (
            lambda: network(shape=("n", 3, 20, 20)),
            "cannot be run on images of 16x16 pixels .*Expected: 20",
        ),
        (
            lambda: network(shape=("n", 4, 16, 16)),
            r"takes .*\(0, 4, 16, 16\).*; an encoder takes only",
        ),
        (
            lambda: network(shape=(8, 3, 16, 16)),
            "cannot be run on images of 16x16 pixels .*Expected: 8",
        ),
        (lambda: network(operator="Nonsense"), "ONNX Runtime cannot load it"),
    ],
)
def test_a_file_that_is_no_encoder_is_refused_in_a_line(tmp_path, model, message):
    path = written(tmp_path, model())
    with refusing(message, BchistoError) as refused:
        opened(path)
    assert str(path) in str(refused.value)


PLAIN = {"transform": [], "patch_size_pixels": 16}


def step(name, **arguments):
    return {**PLAIN, "transform": [{"name": name, "arguments": arguments}]}


@pytest.mark.parametrize(
    ("sidecar", "message"),
    [
        (None, "no patches.json or config.json next to it"),
        ({}, "does not define how images are prepared, .*it lacks 'transform'"),
        (
            {"transform": [{"name": "RandomCrop", "arguments": {"size": 16}}]},
            "takes only Resize, CenterCrop, ToT",
        ),
        (
            step("CenterCrop", size=20),
            "its preprocessing is not supported .20 of 16 pixels",
        ),
        (
            step("Normalize", mean=[123.7, 116.3, 103.5], std=[58, 57, 57]),
            "not supported .* normalises pixels of 0..1",
        ),
        (
            {**PLAIN, "prefix_tokens": -1},
            "prefix_tokens is not a number of tokens",
        ),
        ({"transform": []}, "not supported .None of None pixels"),
        ({"transform": {}, "patch_size_pixels": "16"}, "not supported .16 of 16 pixels"),
        ({"transform": [3], "patch_size_pixels": 16}, "does not define how images are prepared"),
        (
            step("Normalize", mean=[0, 0]),
            "it lacks 'std'",
        ),
        (
            step("Normalize", mean=[0, 0, 0], std=[1, 1, 0]),
            "normalises pixels of 0..1 by three",
        ),
        (
            {**PLAIN, "output": "other"},
            "has no output other; it has vector",
        ),
        (
            {**PLAIN, "spacing_um_px": -0.25},
            "spacing_um_px -0.25: give 0.02 to 20",
        ),
        (
            {**PLAIN, "spacing_um_px": float("nan")},
            "nan: give 0.02 to 20",
        ),
        (
            {**PLAIN, "prefix_tokens": "5"},
            "does not define how images are prepared",
        ),
        (
            {
                "transform": [{"name": "Resize", "arguments": {"size": 16}}],
                "patch_size_pixels": -16,
            },
            "not one of pixels",
        ),
        (
            {**step("Resize", size=16), "patch_size_pixels": float("nan")},
            "not one of pixels",
        ),
    ],
)
def test_a_json_that_does_not_say_enough_is_refused(tmp_path, sidecar, message):
    path = written(tmp_path, sidecar=sidecar)
    with refusing(message):
        opened(path)


def test_damaged_files_are_refused_and_never_crash(tmp_path):
    whole = network().SerializeToString()
    path = tmp_path / "patches.onnx"
    write_json(tmp_path / "patches.json", SIDECAR)
    for content in (
        b"",
        b"\x00" * 40,
        whole[:100],
        whole[: len(whole) // 2],
        b"PK\x03\x04" + whole,
    ):
        path.write_bytes(content)
        with refusing("patches.onnx: ", BchistoError) as refused:
            opened(path)
        assert " a ONNX" not in str(refused.value)
    with refusing("no such file; give an ONNX file"):
        opened(tmp_path / "none.onnx")


def test_what_does_not_run_it_is_refused(tmp_path, monkeypatch):
    import sys

    choice = EncoderChoice(f"onnx:{written(tmp_path)}")
    with refusing("`engine` torch: does not run onnx:.*; leave it out, or use openvino"):
        open_encoder(choice, engine="torch")
    with refusing("`precision` bfloat16: onnx:.* is computed as it is; leave it out"):
        open_encoder(choice, precision="bfloat16")
    with refusing("no output cls; it has vector"):
        open_encoder(EncoderChoice(choice.name, ("cls",)))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with refusing("onnx cannot be loaded .*; pip install", BchistoError):
        open_encoder(choice)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with refusing("onnxruntime cannot be loaded .*; pip install", BchistoError):
        open_encoder(choice)
