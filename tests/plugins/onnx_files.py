"""A small encoder as an ONNX file."""

import json

import numpy as np


def write_onnx(folder, *, name="patches", side=32, layers=2):
    """Write convolutions of 16 channels over crops of `side` pixels, and their average; return the encoder's name."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, kernels, last = [], [], "pixels"
    for number in range(layers):
        values = rng.normal(0, 0.3, (16, 16 if number else 3, 3, 3)).astype(np.float32)
        kernels.append(numpy_helper.from_array(values, f"kernel{number}"))
        nodes.append(
            helper.make_node("Conv", [last, f"kernel{number}"], [f"map{number}"], pads=[1, 1, 1, 1])
        )
        nodes.append(helper.make_node("Relu", [f"map{number}"], [f"active{number}"]))
        last = f"active{number}"
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["vector"]),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, side, side])
    vector = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", 16])
    graph = helper.make_graph(nodes, name, [pixels], [vector], kernels)
    path = folder / f"{name}.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9),
        str(path),
    )
    path.with_suffix(".json").write_text(
        json.dumps({"patch_size_pixels": side, "transform": [{"name": "ToTensor"}]})
    )
    return f"onnx:{path}"
