"""Vision transformers in Keras, with weights by the names of transformers (ViT, DINOv2) and of timm.

One network covers what the published encoders differ in: class token, registers, which tokens have positions, scaled
residuals, and a gated feed-forward part. Everything is standard layers, so that it runs on every backend.

References
----------
Dosovitskiy et al. 2021, "An image is worth 16x16 words"; Oquab et al. 2024, "DINOv2"; Darcet et al. 2024, "Vision
transformers need registers"; Shazeer 2020, "GLU variants improve transformer".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError, WeightsError
from .folder import Tensors

Array = npt.NDArray[np.float32]

_HUGGING = {
    "class": "embeddings.cls_token", "registers": "embeddings.register_tokens",
    "positions": "embeddings.position_embeddings", "patch": "embeddings.patch_embeddings.projection",
    "block": "encoder.layer.{}.", "query": "attention.attention.query", "key": "attention.attention.key",
    "value": "attention.attention.value", "out": "attention.output.dense", "norm": "layernorm",
}  # fmt: skip

_DINOV2 = {
    **_HUGGING, "norm1": "norm1", "norm2": "norm2", "scale1": "layer_scale1.lambda1", "scale2": "layer_scale2.lambda1",
    "wide": "mlp.fc1", "narrow": "mlp.fc2",
}  # fmt: skip

NAMES: Mapping[str, Mapping[str, str]] = {
    "vit": {
        **_HUGGING, "norm1": "layernorm_before", "norm2": "layernorm_after", "scale1": "", "scale2": "",
        "wide": "intermediate.dense", "narrow": "output.dense",
    },
    "dinov2": _DINOV2,
    "dinov2-gated": {**_DINOV2, "wide": "mlp.weights_in", "narrow": "mlp.weights_out"},
    "timm": {
        "class": "cls_token", "registers": "reg_token", "positions": "pos_embed", "patch": "patch_embed.proj",
        "block": "blocks.{}.", "qkv": "attn.qkv", "out": "attn.proj", "norm": "norm", "norm1": "norm1",
        "norm2": "norm2", "scale1": "ls1.gamma", "scale2": "ls2.gamma", "wide": "mlp.fc1", "narrow": "mlp.fc2",
    },
}  # fmt: skip
"""Names of the tensors by who wrote the file."""

_MOST_BLOCKS = 200
"""Bound on the depth of a network (ours; the largest published ones have 48 blocks)."""

_CUBIC = -0.75
"""Coefficient of the bicubic kernel by which PyTorch resizes, and so transformers' positions."""


@dataclass(frozen=True)
class TransformerPlan:
    """The sizes of a transformer.

    Attributes
    ----------
    size, patch : int
        Pixels on a side of the image and of a patch.
    width, depth, heads : int
    wide : int
        Outputs of the first layer of the feed-forward part; twice its hidden size where it is gated.
    gated : bool
        SwiGLU in place of GELU.
    registers : int
    placed : int
        Tokens before those of the patches that have a position: 0, 1 (the class token) or all.
    scaled : bool
        Whether residuals are scaled.
    biased : bool
        Whether query, key and value have a bias.
    epsilon : float
        Of the normalisations.
    """

    size: int
    patch: int
    width: int
    depth: int
    heads: int
    wide: int
    gated: bool
    registers: int
    placed: int
    scaled: bool
    biased: bool
    epsilon: float

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.size // self.patch

    @property
    def outputs(self) -> tuple[str, ...]:
        """What can be asked for."""
        return ("cls", "mean", *(f"block{number}" for number in range(1, self.depth + 1)))


def plan_transformer(tensors: Tensors, *, names: str, size: int, heads: int, epsilon: float) -> TransformerPlan:
    """Read the sizes of a network from the shapes of its weights; what these do not show is given.

    Raises
    ------
    WeightsError
        They are of another kind of network, or contradict each other.
    """
    known = NAMES[names]
    if not tensors.find_prefix(known["positions"]):
        raise WeightsError(f"{tensors.path}: its weights lack {known['positions']}; they are of another network")
    width, _, patch, _ = _shape(tensors, f"{known['patch']}.weight", 4)
    block = known["block"].format
    depth = next((n for n in range(_MOST_BLOCKS) if f"{block(n)}{known['norm1']}.weight" not in tensors), _MOST_BLOCKS)
    if not depth or depth == _MOST_BLOCKS:
        raise WeightsError(f"{tensors.path}: its weights have {depth} blocks; they are of another network")
    wide, _ = _shape(tensors, f"{block(0)}{known['wide']}.weight", 2)
    _, narrow = _shape(tensors, f"{block(0)}{known['narrow']}.weight", 2)
    registers = _shape(tensors, known["registers"], 3)[1] if known["registers"] in tensors else 0
    tokens = _shape(tensors, known["positions"], 3)[1]
    squares = [n for n in (1, 0, 1 + registers) if tokens > n and round((tokens - n) ** 0.5) ** 2 == tokens - n]
    placed = min(squares, key=lambda n: tokens - n != (size // patch) ** 2, default=None)
    qkv = f"{block(0)}{known.get('qkv') or known['query']}.bias"
    scaled = bool(known["scale1"]) and block(0) + known["scale1"] in tensors
    if placed is None or wide not in (narrow, 2 * narrow) or width % heads or size < patch:
        raise WeightsError(
            f"{tensors.path}: the sizes of its weights do not fit each other; they are of another network"
        )
    return TransformerPlan(
        size // patch * patch, patch, width, depth, heads, wide, wide == 2 * narrow, registers, placed, scaled,
        qkv in tensors, epsilon,
    )  # fmt: skip


def _shape(tensors: Tensors, name: str, axes: int) -> tuple[int, ...]:
    shape = tensors.shape(name)
    if len(shape) != axes or not all(shape):
        raise WeightsError(f"{tensors.path}: {name} has the shape {shape}; the weights are of another network")
    return shape


def build_transformer(plan: TransformerPlan, outputs: tuple[str, ...]) -> Any:
    """Build the network: normalised images, channels last, to one tensor of shape (n, width) for each output.

    ``cls`` is the class token and ``mean`` the mean of the patch tokens, both normalised; ``block3`` is the mean of the
    patch tokens behind the third block, not normalised.
    """
    import keras
    from keras import layers, ops

    if unknown := [name for name in outputs if name not in plan.outputs]:
        raise InputError(f"`encoders`: no output {unknown[0]}; choose of cls, mean, block1 to block{plan.depth}")
    scale_layer, tokens_layer = _own_layers()
    head = plan.width // plan.heads
    before = 1 + plan.registers

    def norm(name: str) -> Any:
        return layers.LayerNormalization(epsilon=plan.epsilon, name=name)

    def scaled(x: Any, name: str) -> Any:
        return scale_layer(name=name)(x) if plan.scaled else x

    def attention(x: Any, name: str) -> Any:
        joined = layers.Dense(3 * plan.width, use_bias=plan.biased, name=f"{name}_qkv")(x)
        parts = ops.transpose(ops.reshape(joined, (-1, joined.shape[1], 3, plan.heads, head)), (2, 0, 3, 1, 4))
        query, key, value = parts[0], parts[1], parts[2]
        shares = ops.softmax(ops.matmul(query * head**-0.5, ops.swapaxes(key, -1, -2)))
        mixed = ops.transpose(ops.matmul(shares, value), (0, 2, 1, 3))
        return layers.Dense(plan.width, name=f"{name}_out")(ops.reshape(mixed, (-1, joined.shape[1], plan.width)))

    def forward(x: Any, name: str) -> Any:
        x = layers.Dense(plan.wide, name=f"{name}_wide")(x)
        if plan.gated:
            half = plan.wide // 2
            x = ops.silu(x[..., :half]) * x[..., half:]
        else:
            x = ops.gelu(x, approximate=False)
        return layers.Dense(plan.width, name=f"{name}_narrow")(x)

    images = keras.Input((plan.size, plan.size, 3), name="images")
    x = layers.Conv2D(plan.width, plan.patch, strides=plan.patch, name="patch")(images)
    x = tokens_layer(plan, name="tokens")(ops.reshape(x, (-1, plan.grid**2, plan.width)))
    found: dict[str, Any] = {}
    for number in range(1, plan.depth + 1):
        name = f"block{number}"
        x = x + scaled(attention(norm(f"{name}_norm1")(x), name), f"{name}_scale1")
        x = x + scaled(forward(norm(f"{name}_norm2")(x), name), f"{name}_scale2")
        found[name] = x
    x = norm("norm")(x)
    found = {name: ops.mean(tokens[:, before:], axis=1) for name, tokens in found.items() if name in outputs}
    found |= {"cls": x[:, 0], "mean": ops.mean(x[:, before:], axis=1)}
    return keras.Model(images, [found[name] for name in outputs], name="transformer")


def _own_layers() -> tuple[Any, Any]:
    import keras
    from keras import ops

    class Scale(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
        """Multiplies each feature by a weight."""

        def build(self, shape: Any) -> None:
            self.gamma = self.add_weight(shape=(shape[-1],), initializer="ones", name="gamma")

        def call(self, x: Any) -> Any:
            return x * self.gamma

    class Tokens(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
        """Puts class token and registers before the patches, and adds positions."""

        def __init__(self, plan: TransformerPlan, **options: Any) -> None:
            super().__init__(**options)
            self.plan = plan

        def build(self, shape: Any) -> None:
            plan = self.plan
            self.first = self.add_weight(shape=(1, 1, plan.width), initializer="zeros", name="class")
            self.positions = self.add_weight(
                shape=(1, plan.placed + plan.grid**2, plan.width), initializer="zeros", name="positions"
            )
            if plan.registers:
                self.registers = self.add_weight(
                    shape=(1, plan.registers, plan.width), initializer="zeros", name="registers"
                )

        def call(self, x: Any) -> Any:
            plan, zeros = self.plan, ops.zeros_like(x[:, :1])
            first = [self.first + zeros, *([self.registers + zeros] if plan.registers else [])]
            if plan.placed == 1:
                first[0] = first[0] + self.positions[:, :1]
            elif plan.placed:
                return ops.concatenate([*first, x], axis=1) + self.positions
            return ops.concatenate([*first, x + self.positions[:, plan.placed :]], axis=1)

    return Scale, Tokens


def read_transformer(model: Any, plan: TransformerPlan, tensors: Tensors, *, names: str) -> None:
    """Put weights into a network of `build_transformer`; blocks that it lacks, since no output needs them, stay out.

    Raises
    ------
    WeightsError
        A tensor is missing, or has another shape.
    """
    known = NAMES[names]
    layers = {layer.name: layer for layer in model.layers}

    def put(variable: Any, name: str, value: Array) -> None:
        if tuple(variable.shape) != value.shape:
            raise WeightsError(
                f"{tensors.path}: {name} has another shape than the network, {value.shape} and not "
                f"{tuple(variable.shape)}; the weights are of another network"
            )
        variable.assign(value)

    def put_both(layer: Any, name: str, turn: Callable[[Array], Array] = np.transpose) -> None:
        put(layer.kernel, f"{name}.weight", turn(tensors[f"{name}.weight"]))
        if layer.bias is not None:
            put(layer.bias, f"{name}.bias", tensors[f"{name}.bias"])

    def put_norm(layer: Any, name: str) -> None:
        put(layer.gamma, f"{name}.weight", tensors[f"{name}.weight"])
        put(layer.beta, f"{name}.bias", tensors[f"{name}.bias"])

    put_both(layers["patch"], known["patch"], lambda value: value.transpose(2, 3, 1, 0))
    tokens = layers["tokens"]
    put(tokens.first, known["class"], tensors[known["class"]])
    if plan.registers:
        put(tokens.registers, known["registers"], tensors[known["registers"]])
    positions = resize_positions(tensors[known["positions"]], before=plan.placed, grid=plan.grid)
    put(tokens.positions, known["positions"], positions)
    for number in range(plan.depth):
        name, at = f"block{number + 1}", known["block"].format(number)
        if f"{name}_qkv" not in layers:
            continue
        for part in ("norm1", "norm2"):
            put_norm(layers[f"{name}_{part}"], at + known[part])
        if "qkv" in known:
            put_both(layers[f"{name}_qkv"], at + known["qkv"])
        else:
            three = [at + known[part] for part in ("query", "key", "value")]
            kernel = np.concatenate([tensors[f"{part}.weight"] for part in three]).T
            put(layers[f"{name}_qkv"].kernel, f"{three[0]}.weight", kernel)
            if plan.biased:
                bias = np.concatenate([tensors[f"{part}.bias"] for part in three])
                put(layers[f"{name}_qkv"].bias, f"{three[0]}.bias", bias)
        for part in ("out", "wide", "narrow"):
            put_both(layers[f"{name}_{part}"], at + known[part])
        if plan.scaled:
            for part in ("scale1", "scale2"):
                put(layers[f"{name}_{part}"].gamma, at + known[part], tensors[at + known[part]])
    if "norm" in layers:
        put_norm(layers["norm"], known["norm"])


def resize_positions(positions: Array, *, before: int, grid: int) -> Array:
    """Resize the positions of patches to another grid, as PyTorch's bicubic interpolation does without antialiasing.

    Parameters
    ----------
    positions : ndarray of float32, shape (1, before + side * side, width)
    before : int
        Positions of other tokens, which stay as they are.
    grid : int
        The side that is wanted.

    Returns
    -------
    ndarray of float32, shape (1, before + grid * grid, width)

    References
    ----------
    Keys 1981, "Cubic convolution interpolation for digital image processing".
    """
    side = round((positions.shape[1] - before) ** 0.5)
    if side == grid:
        return positions
    matrix = np.zeros((grid, side))
    for row in range(grid):
        place = (row + 0.5) * side / grid - 0.5
        first = int(np.floor(place))
        for column in range(first - 1, first + 3):
            far = abs(place - column)
            near = (_CUBIC + 2) * far**3 - (_CUBIC + 3) * far**2 + 1
            wide = _CUBIC * far**3 - 5 * _CUBIC * far**2 + 8 * _CUBIC * far - 4 * _CUBIC
            matrix[row, min(max(column, 0), side - 1)] += near if far <= 1 else wide if far < 2 else 0.0
    square = positions[0, before:].reshape(side, side, -1)
    resized = np.einsum("ia,jb,abd->ijd", matrix, matrix, square, optimize=True).reshape(1, grid * grid, -1)
    return np.concatenate([positions[:, :before], resized], axis=1).astype(np.float32)
