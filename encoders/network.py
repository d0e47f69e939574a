"""Layers of a Keras network and the geometry of their feature maps; the ResNet-50 of Keras 2.1.3.

Pixel i of a frame reaches from i to i + 1. Along each axis a map is described by the centre of its first cell, the
stride and the number of cells. Every layer changes these three by its own rule (Dumoulin & Visin 2016, "A guide to
convolution arithmetic for deep learning"; Araujo et al. 2019, "Computing receptive fields of convolutional neural
networks").

Branches that are joined have the same stride. In ResNet, MobileNet, DenseNet and Inception they also have the same
centre. If centres differ, as next to the padded pooling of Xception and in NASNet, their mean is used. For concatenated
maps the mean is weighted by their numbers of features. A branch without a position, such as the averages of
squeeze-and-excitation, does not count.

It uses the weights of today's ResNet-50, but computes other features:

- The first convolution is padded as ``same``, which is one pixel less on the left if the side is even.
- The maximum pooling is not padded.
- Batch normalisation has an epsilon of 1e-3 instead of 1.001e-5.
- The last feature map is first averaged over 7x7 cells at a stride of 7.

For crops of 400 pixels the last map has 13x13 cells, and that average covers only the top-left 7x7. For crops of 650
pixels it has 21x21 cells, and all are covered.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError

_MOST_SIZES = 256
"""Sizes of frames and crops whose geometry is cached; calculating one takes a tenth of a second."""


@dataclass(frozen=True)
class Axis:
    """The cells of a map along one axis.

    Attributes
    ----------
    first : float
        Centre of the first cell, in pixels from the edge of the frame.
    stride : float
        Distance between cells, in pixels.
    cells : int
        Number of cells; below 1 if the frame is too small for the network.
    """

    first: float
    stride: float
    cells: int

    @property
    def edges(self) -> tuple[float, float]:
        """Start of the first cell and end of the last one, in pixels. A cell is one stride wide around its centre."""
        return self.first - self.stride / 2, self.first + (self.cells - 0.5) * self.stride


class Places:
    """Converts windows of a frame to positions on the feature maps of a network.

    Parameters
    ----------
    model : keras.Model
        A functional model of images, channels last.
    """

    def __init__(self, model: Any) -> None:
        self._maps = len(model.outputs)
        self._axes = functools.lru_cache(maxsize=_MOST_SIZES)(functools.partial(map_axes, model))

    def __call__(self, windows: npt.NDArray[np.int64], *, height: int, width: int) -> npt.NDArray[np.float32]:
        """Return windows in cells of each map.

        A window covers the cells that the feature map of a crop at this place would have, each one stride wide. So for
        a network without padding the cells cover less than the window, as they do for a crop.

        Parameters
        ----------
        windows : ndarray of int, shape (k, 4)
            Top, left, bottom, right in pixels; bottom and right are exclusive.
        height, width : int
            Size of the frame in pixels.

        Returns
        -------
        ndarray of float32, shape (maps, k, 4)
            Top, left, bottom, right in cells, from the edge of the first cell.
        """
        cells = np.empty((self._maps, len(windows), 4))
        for axis, size in enumerate((height, width)):
            for number, frame in enumerate(self._axes(size=size, axis=axis)):
                for row, window in enumerate(windows):
                    start, stop = int(window[axis]), int(window[axis + 2])
                    crop = self._axes(size=stop - start, axis=axis)[number]
                    low, high = crop.edges if crop.cells > 0 else (0.0, float(stop - start))
                    for column, pixel in ((axis, start + low), (axis + 2, start + high)):
                        cells[number, row, column] = (pixel - frame.edges[0]) / frame.stride
        return cells.astype(np.float32)


def map_axes(model: Any, *, size: int, axis: int) -> list[Axis]:
    """Return the geometry of each output of a network along one axis.

    Parameters
    ----------
    model : keras.Model
        A functional model of images, channels last.
    size : int
        Height or width of the frame, in pixels.
    axis : int
        0 for rows, 1 for columns.

    Returns
    -------
    list of Axis
        One per output. An output whose position cannot be calculated is assumed to be one cell that covers the frame.
    """
    start: list[Axis | None] = [Axis(0.5, 1.0, size)] * len(model.inputs)
    return [known_axis or Axis(size / 2, float(size), 1) for known_axis in _follow(model, start, axis)]


def _follow(model: Any, inputs: Sequence[Axis | None], axis: int) -> list[Axis | None]:
    """Return the geometry of the outputs of a functional model from that of its inputs; None without a position."""
    known: dict[int, Axis | None] = {id(t): start for t, start in zip(model.inputs, inputs, strict=True)}
    waiting = list(model.outputs)
    while waiting:
        tensor = waiting[-1]
        if id(tensor) in known:
            waiting.pop()
            continue
        operation, node, index = tensor._keras_history
        sources = operation._inbound_nodes[node].input_tensors
        missing = [source for source in sources if id(source) not in known]
        if missing:
            waiting.extend(missing)
            continue
        known[id(tensor)] = _through(operation, [(s, known[id(s)]) for s in sources], tensor, index, axis)
    return [known[id(tensor)] for tensor in model.outputs]


def _through(
    operation: Any, sources: Sequence[tuple[Any, Axis | None]], tensor: Any, index: int, axis: int
) -> Axis | None:
    """Return the geometry of the output of an operation; None without a position."""
    import keras
    from keras import layers

    averages = (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)
    located = [(source, known_axis) for source, known_axis in sources if known_axis is not None]
    if not located or len(tensor.shape) != 4 or isinstance(operation, averages):
        return None
    if isinstance(operation, keras.Model):
        return _follow(operation, [known_axis for _, known_axis in sources], axis)[index]
    if len(located) > 1:
        joined = isinstance(operation, layers.Concatenate)
        return _mean(
            [known_axis for _, known_axis in located], [source.shape[-1] if joined else 1 for source, _ in located]
        )
    before = located[0][1]
    if isinstance(operation, (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)):
        reach = operation.dilation_rate[axis] * (operation.kernel_size[axis] - 1) + 1
        return _slid(before, reach, operation.strides[axis], operation.padding)
    if isinstance(operation, (layers.MaxPooling2D, layers.AveragePooling2D)):
        return _slid(before, operation.pool_size[axis], operation.strides[axis], operation.padding)
    if isinstance(operation, layers.ZeroPadding2D):
        return _cut(before, -operation.padding[axis][0], -operation.padding[axis][1])
    if isinstance(operation, layers.Cropping2D):
        return _cut(before, *operation.cropping[axis])
    return _resized(before, _cells_behind(operation, located[0][0], before.cells, axis))


def _slid(before: Axis, reach: int, stride: int, padding: str) -> Axis:
    """Return the geometry after a kernel of `reach` cells, padded as Keras does on every backend."""
    if padding == "same":
        cells = -(-before.cells // stride)
        left = max((cells - 1) * stride + reach - before.cells, 0) // 2
    else:
        cells, left = (before.cells - reach) // stride + 1, 0
    return Axis(before.first + ((reach - 1) / 2 - left) * before.stride, before.stride * stride, cells)


def _cut(before: Axis, left: int, right: int) -> Axis:
    return Axis(before.first + left * before.stride, before.stride, before.cells - left - right)


def _resized(before: Axis, cells: int) -> Axis:
    """Return the geometry after an operation without a rule: its cells are assumed to cover the same range evenly."""
    if cells == before.cells or cells < 1:
        return before
    stride = before.stride * before.cells / cells
    return Axis(before.edges[0] + stride / 2, stride, cells)


def _cells_behind(operation: Any, source: Any, cells: int, axis: int) -> int:
    """Return the number of cells along an axis after an operation on one map; unchanged if it cannot be computed."""
    import keras

    if type(operation).__name__ in _POINTWISE or cells < 1:
        return cells
    shape = [1, cells, cells, source.shape[-1]]
    try:
        spec = operation.compute_output_spec(keras.KerasTensor(shape, dtype=source.dtype))
        return int(spec.shape[1 + axis])
    except (TypeError, ValueError, AttributeError, IndexError, NotImplementedError):
        return cells


_POINTWISE = frozenset({
    "Activation", "BatchNormalization", "Dense", "Dropout", "ELU", "GroupNormalization", "LayerNormalization",
    "LayerScale", "LeakyReLU", "Normalization", "PReLU", "ReLU", "Rescaling", "Softmax", "SpatialDropout2D",
})  # fmt: skip
"""Layers that leave every cell in its place, so that their output shape need not be computed."""


def _mean(axes: Sequence[Axis], weights: Sequence[int]) -> Axis:
    """Return the mean geometry of joined branches; see the module docstring."""
    return Axis(
        float(np.average([axis.first for axis in axes], weights=weights)),
        float(np.average([axis.stride for axis in axes], weights=weights)),
        min(axis.cells for axis in axes),
    )


@contextlib.contextmanager
def precision_policy(precision: str) -> Iterator[None]:
    """Set Keras's dtype policy within a block, and restore the previous one afterwards."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def canonical_names(model: Any) -> dict[str, str]:
    """Return the layer names of a fresh process: canonical name to present name.

    Keras numbers automatic names per process (``conv2d_94`` in a second InceptionV3). Canonical names are numbered from
    the start of the model.
    """
    automatic: dict[str, list[tuple[int, str]]] = {}
    names: dict[str, str] = {}
    for layer in model.layers:
        prefix = _snake(type(layer).__name__)
        match = re.fullmatch(rf"{re.escape(prefix)}(?:_(\d+))?", layer.name)
        if match is None:
            names[layer.name] = layer.name
        else:
            automatic.setdefault(prefix, []).append((int(match[1] or 0), layer.name))
    for prefix, numbered in automatic.items():
        for rank, (_, name) in enumerate(sorted(numbered)):
            names[f"{prefix}_{rank}" if rank else prefix] = name
    return names


def _snake(name: str) -> str:
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def variables_of(model: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield (layer, variable, tensor) of all weights in layer order, with canonical names of layers."""
    present = {name: canonical for canonical, name in canonical_names(model).items()}
    for layer in model.layers:
        for variable in layer.weights:
            yield present[layer.name], variable.name, variable


def default_layer(model: Any) -> str:
    """Return the canonical name of the layer whose output is the model's output."""
    last = model.layers[-1].name
    return next(canonical for canonical, present in canonical_names(model).items() if present == last)


def find_layers(model: Any, layers: Sequence[str], *, encoder: str) -> list[Any]:
    """Return the layers of these canonical names, each with an output of shape (batch, rows, columns, d).

    Raises
    ------
    InputError
        There is no such layer, and the message lists similar names; or a layer has no feature map.
    """
    names = canonical_names(model)
    chosen = []
    for name in layers:
        if name not in names:
            import difflib

            close = difflib.get_close_matches(name, names, n=5) or sorted(names)[-5:]
            raise InputError("{encoders} {}: no layer {}; close names are {}", encoder, name, ", ".join(close))
        layer = model.get_layer(names[name])
        if len(layer.output.shape) != 4:
            raise InputError(
                "{encoders} {}: layer {} gives no feature map; choose a convolution or block", encoder, name
            )
        chosen.append(layer)
    return chosen


RESNET50_KERAS213 = "resnet50-keras213"
"""Name of the encoder."""

LEAST_KERAS213 = 197
"""Smallest side of a crop in pixels, because the last map needs 7x7 cells. Keras 2.1.3 had the same limit."""

_EPSILON = 1e-3
_STACKS = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Filters, blocks and stride of each stack of blocks (He et al. 2016, table 1)."""


def build_resnet50_keras213(*, weights: str | None = None, include_top: bool = False) -> Any:
    """Build the network, with the layer names of today's ResNet-50, so that the same weights files fit.

    Parameters
    ----------
    weights : {None, "imagenet"}
    include_top : bool
        Whether to add the classifier, for weights files that contain it.

    Returns
    -------
    keras.Model
        A model from preprocessed images, channels last, to the 7x7 averages of the last map.
    """
    from keras import Model, layers

    image = layers.Input((None, None, 3))
    x = layers.Conv2D(64, 7, strides=2, padding="same", name="conv1_conv")(image)
    x = layers.Activation("relu", name="conv1_relu")(_normalised(x, "conv1_bn"))
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stack, (filters, blocks, stride) in enumerate(_STACKS, start=2):
        for block in range(1, blocks + 1):
            x = _block(
                x, filters, stride=stride if block == 1 else 1, first=block == 1, name=f"conv{stack}_block{block}"
            )
    x = layers.AveragePooling2D(7, name="avg_pool7")(x)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dense(1000, activation="softmax", name="predictions")(x)
    model = Model(image, x, name="resnet50_keras213")
    if weights is not None:
        from keras import applications

        published = applications.ResNet50(weights=weights, include_top=include_top)
        for layer in published.layers:
            if layer.weights:
                model.get_layer(layer.name).set_weights(layer.get_weights())
    return model


def _normalised(x: Any, name: str) -> Any:
    from keras import layers

    return layers.BatchNormalization(epsilon=_EPSILON, name=name)(x)


def _block(x: Any, filters: int, *, stride: int, first: bool, name: str) -> Any:
    """Add a bottleneck block. The first one of a stack changes size and features, so its shortcut is a convolution."""
    from keras import layers

    shortcut = x
    if first:
        shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = _normalised(shortcut, f"{name}_0_bn")
    for number, (features, size, step) in enumerate(
        ((filters, 1, stride), (filters, 3, 1), (4 * filters, 1, 1)), start=1
    ):
        x = layers.Conv2D(features, size, strides=step, padding="same", name=f"{name}_{number}_conv")(x)
        x = _normalised(x, f"{name}_{number}_bn")
        if number < 3:
            x = layers.Activation("relu", name=f"{name}_{number}_relu")(x)
    return layers.Activation("relu", name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))
