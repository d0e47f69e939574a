"""Weights from files: the networks in plain NumPy against ours, layer maps, and files that do not fit."""

from dataclasses import replace

import numpy as np
import pytest
from bchisto.core import WeightsError
from bchisto.finetune import FinetuneSettings, build_network
from bchisto.finetune.model import build_model
from bchisto.finetune.pretrained import CAFFE_LAYERS
from refusals import refusing
from safetensors.numpy import save_file
from training_sources import assert_same_arrays, model_of

pytestmark = pytest.mark.slow

MEAN = np.array([104.0, 117.0, 123.0])


def conv(x, weight, bias, *, stride=1, pad=0, groups=1):
    """Convolve (channels, rows, columns) with (out, in, rows, columns), as Caffe does, and rectify."""
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    parts = []
    for part, kernel in zip(np.split(x, groups), np.split(weight, groups), strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(part, kernel.shape[2:], axis=(1, 2))[
            :, ::stride, ::stride
        ]
        parts.append(np.tensordot(kernel, windows, axes=([1, 2, 3], [0, 3, 4])))
    return np.maximum(np.concatenate(parts) + bias[:, None, None], 0)


def pool(x, *, stride=2, pad=0):
    """Largest of 3x3 windows, the last ones cut off at the edge, as Caffe has them."""
    rows = -(-(x.shape[1] + 2 * pad - 3) // stride) * stride + 3 - x.shape[1] - pad
    x = np.pad(x, ((0, 0), (pad, rows), (pad, rows)), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[
        :, ::stride, ::stride
    ].max(axis=(3, 4))


def local(x):
    squares = np.pad(x**2, ((2, 2), (0, 0), (0, 0)))
    total = sum(squares[start : start + len(x)] for start in range(5))
    return x / (1 + 1e-4 / 5 * total) ** 0.75


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def enter(image):
    """RGB to BGR less the mean, channels first."""
    return (image[:, :, ::-1] - MEAN).transpose(2, 0, 1)


def alexnet(image, w):
    def c(x, name, **options):
        return conv(x, w[f"{name}.weight"], w[f"{name}.bias"], **options)

    x = pool(local(c(enter(image), "conv1", stride=4)))
    x = pool(local(c(x, "conv2", pad=2, groups=2)))
    x = c(c(c(x, "conv3", pad=1), "conv4", pad=1, groups=2), "conv5", pad=1, groups=2)
    x = pool(x).ravel()
    for name in ("fc6", "fc7"):
        x = np.maximum(w[f"{name}.weight"] @ x + w[f"{name}.bias"], 0)
    return softmax(w["fc8.weight"] @ x + w["fc8.bias"])


def googlenet(image, w):
    def c(x, name, **options):
        return conv(x, w[f"{name}.weight"], w[f"{name}.bias"], **options)

    x = local(pool(c(enter(image), "conv1/7x7_s2", stride=2, pad=3)))
    x = pool(local(c(c(x, "conv2/3x3_reduce"), "conv2/3x3", pad=1)))
    for module in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        name = f"inception_{module}"
        x = np.concatenate(
            [
                c(x, f"{name}/1x1"),
                c(c(x, f"{name}/3x3_reduce"), f"{name}/3x3", pad=1),
                c(c(x, f"{name}/5x5_reduce"), f"{name}/5x5", pad=2),
                c(pool(x, stride=1, pad=1), f"{name}/pool_proj"),
            ]
        )
        if module in ("3b", "4e"):
            x = pool(x)
    x = x.mean(axis=(1, 2))
    return softmax(w["loss3/classifier.weight"] @ x + w["loss3/classifier.bias"])


def caffe_weights(network, rng, classes=7):
    """Random weights under the published names and shapes, scaled so that signals stay alive through the network."""
    model = build_network(network, classes=classes)
    shapes = {}
    for layer in model.layers:
        for variable in layer.weights:
            name = layer.name.removesuffix("_a").removesuffix("_b")
            grouped = name != layer.name
            kind = "weight" if variable.name == "kernel" else "bias"
            shape = list(variable.shape)
            if kind == "weight" and len(shape) == 4:
                shape = [shape[3], shape[2], shape[0], shape[1]]
            elif kind == "weight":
                shape = shape[::-1]
            if grouped:
                shape[0] *= 2
            shapes[f"{CAFFE_LAYERS[network][name]}.{kind}"] = tuple(shape)
    weights = {}
    for name, shape in shapes.items():
        spread = np.sqrt(2 / np.prod(shape[1:])) if name.endswith("weight") else 0.1
        # so that no class is certain
        last = 0.01 if name.startswith(CAFFE_LAYERS[network]["classes"]) else 1.0
        weights[name] = rng.normal(0, last * spread, shape).astype(np.float32)
    return weights


@pytest.mark.parametrize(("network", "forward"), [("alexnet", alexnet), ("googlenet", googlenet)])
def test_a_caffe_model_gives_what_plain_numpy_gives(network, forward, rng, tmp_path):
    weights = caffe_weights(network, rng)
    save_file(weights, tmp_path / "w.safetensors")
    settings = FinetuneSettings(network, weights=str(tmp_path / "w.safetensors"))
    model = build_model(settings, classes=7, fold=1)
    size = model.input_shape[1]
    image = rng.integers(0, 256, (size, size, 3)).astype(np.float64)
    expected = forward(image, {name: value.astype(np.float64) for name, value in weights.items()})
    found = np.asarray(model(image[None].astype(np.float32)))[0]
    assert expected.max() < 0.999  # else every network would agree
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-6)
    other = model_of(settings)
    assert_same_arrays(
        model.get_layer("conv1").get_weights(), other.get_layer("conv1").get_weights()
    )


def ours(model):
    return {
        f"{layer.name}/{variable.name}": np.array(variable)
        for layer in model.layers
        for variable in layer.weights
    }


SMALL = FinetuneSettings("patch-resnet", size=32)


def test_our_own_names_in_every_format(tmp_path):
    kept = ours(model_of(replace(SMALL, seed=5), fold=3))
    np.savez(tmp_path / "w.npz", **kept)
    save_file(kept, tmp_path / "w.safetensors")
    plain = ours(model_of(SMALL))
    for path in (tmp_path / "w.npz", tmp_path / "w.safetensors"):
        read = replace(SMALL, weights=str(path))
        whole = ours(model_of(read))
        part = ours(model_of(replace(read, fresh=("stage3", "classes"))))
        for name, value in kept.items():
            np.testing.assert_array_equal(whole[name], value)
            fresh = name.startswith(("stage3", "classes"))
            np.testing.assert_array_equal(part[name], plain[name] if fresh else value)


def test_files_that_do_not_fit(tmp_path, rng):
    def load(path, network="patch-resnet", **options):
        return model_of(FinetuneSettings(network, size=32, weights=str(path), **options))

    model = model_of(SMALL)
    whole = ours(model)
    np.savez(
        tmp_path / "short.npz",
        **{name: value for name, value in whole.items() if not name.startswith("first")},
    )
    np.savez(
        tmp_path / "other.npz", **{**whole, "first/kernel": np.zeros((7, 7, 3, 16), np.float32)}
    )
    np.savez(tmp_path / "caffe.npz", **{"conv1.weight": np.zeros(3), "conv1.bias": np.zeros(3)})
    np.savez(tmp_path / "pickled.npz", first=np.array([{}], dtype=object))
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    (tmp_path / "w.pkl").write_bytes(b"")
    for name, message in [
        ("gone.npz", "no such weights file"),
        (
            "short.npz",
            "has no first/kernel of finite values and of the shape .*, so it is not of patch-resnet",
        ),
        ("other.npz", "has no first/kernel of finite values and of the shape"),
        ("caffe.npz", "a Caffe model; only alexnet, googlenet are read from one"),
        ("pickled.npz", "not a weights file, or damaged"),
        ("cut.npz", "not a weights file, or damaged"),
        ("cut.safetensors", "not a safetensors file, or damaged"),
        ("w.pkl", "give weights as .npz or .safetensors"),
    ]:
        with refusing(message, WeightsError):
            load(tmp_path / name)
    with refusing('`weights="imagenet"`: Keras has none of patch-resnet'):
        load("imagenet")
    with refusing("`convention` caffe: belongs to alexnet, googlenet"):
        load("random", convention="caffe")
    with refusing("`fresh`: the top of an encoder is always fresh"):
        load("random", network="mobilenetv2", fresh=("top",))
