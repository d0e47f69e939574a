"""Geometry of the feature maps of a Keras network: which pixels of a frame the cells of each map see.

Pixel i of a frame reaches from i to i + 1. Along each axis a map is described by the centre of its first cell, the
stride and the number of cells. Every layer changes these three by its own rule (Dumoulin & Visin 2016, "A guide to
convolution arithmetic for deep learning"; Araujo et al. 2019, "Computing receptive fields of convolutional neural
networks").

Branches that are joined have the same stride. In ResNet, MobileNet, DenseNet and Inception they also have the same
centre. If centres differ, as next to the padded pooling of Xception and in NASNet, their mean is used. For concatenated
maps the mean is weighted by their numbers of features. A branch without a position, such as the averages of
squeeze-and-excitation, does not count.

The rules are read from a network once. Without operations that only Keras can compute they are plain numbers, which can
be kept in a file.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core.formats import Floats32, Integers

_MOST_SIZES = 256
"""Sizes of frames and crops whose geometry is cached."""


class Axis(NamedTuple):
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


class MapStep(NamedTuple):
    """What one operation of a network does to the cells of a map.

    Attributes
    ----------
    kind : {"image", "slid", "cut", "mean", "resized", "none"}
        The input of the network, a kernel that slides, cells cut off or (negative) added, joined branches, an operation
        that only Keras can compute, or an output without a position.
    sources : tuple of int
        Positions of the steps before it.
    numbers : tuple
        By axis: reach and stride of a kernel, with 1 if it is padded as ``same``; or cells cut off at both ends. Of
        joined branches, their weights.
    cells_of : callable, optional
        For ``resized``, cells before to cells after the operation, by axis.
    """

    kind: str
    sources: tuple[int, ...] = ()
    numbers: tuple[Any, ...] = ()
    cells_of: Any = None

    def after(self, sources: Sequence[Axis], axis: int) -> Axis:
        """Return the geometry after the operation along an axis."""
        origin = sources[0]
        if self.kind == "slid":
            reach, stride, same = self.numbers[axis]
            cells = (origin.cells - reach) // stride + 1
            padding = 0
            if same:  # Keras pads in this way on every backend
                cells = math.ceil(origin.cells / stride)
                padding = max((cells - 1) * stride + reach - origin.cells, 0) // 2
            first = origin.first + ((reach - 1) / 2 - padding) * origin.stride
            return Axis(first, origin.stride * stride, cells)
        if self.kind == "cut":
            left, right = self.numbers[axis]
            first = origin.first + left * origin.stride
            return Axis(first, origin.stride, origin.cells - left - right)
        if self.kind == "mean":
            first = float(np.average([source.first for source in sources], weights=self.numbers))
            stride = float(np.average([source.stride for source in sources], weights=self.numbers))
            return Axis(first, stride, min(source.cells for source in sources))
        cells = self.cells_of(origin.cells, axis)  # they are assumed to cover the same range evenly
        if cells == origin.cells or cells < 1:
            return origin
        stride = origin.stride * origin.cells / cells
        return Axis(origin.edges[0] + stride / 2, stride, cells)


class Geometry:
    """The geometry of the outputs of a network, for frames of any size.

    Parameters
    ----------
    steps : sequence of MapStep
        Each after its sources; the first is the image.
    outputs : sequence of int
        Position of the step of each output.

    Attributes
    ----------
    axes : callable
        ``axes(size=..., axis=...)``: height or width of a frame in pixels, and 0 for rows or 1 for columns. Returns the
        `Axis` of each output along it. An output without a position is assumed to be one cell that covers the frame.
        Results for the last sizes are kept.
    """

    def __init__(self, steps: Sequence[MapStep], outputs: Sequence[int]) -> None:
        self.steps = tuple(steps)
        self.outputs = tuple(outputs)
        self.axes = functools.lru_cache(maxsize=_MOST_SIZES)(self._axes)

    @classmethod
    def of(cls, model: Any) -> Geometry:
        """Return the geometry of a functional Keras model of images, channels last."""
        steps = [MapStep("image")]
        outputs = []
        for position in _follow(model, [0] * len(model.inputs), steps):
            if position is None:
                position = len(steps)
                steps.append(MapStep("none"))
            outputs.append(position)
        return cls(steps, outputs)

    @property
    def plain(self) -> list[Any] | None:
        """The geometry as JSON; None if it needs an operation of Keras."""
        if any(step.cells_of for step in self.steps):
            return None
        return [[[step.kind, step.sources, step.numbers] for step in self.steps], self.outputs]

    @classmethod
    def from_plain(cls, plain: Sequence[Any]) -> Geometry:
        """Return the geometry that `plain` describes."""
        return cls(
            [MapStep(kind, tuple(sources), tuple(numbers)) for kind, sources, numbers in plain[0]],
            plain[1],
        )

    def _axes(self, *, size: int, axis: int) -> list[Axis]:
        """Compute `axes`."""
        axes = []
        for step in self.steps:
            if step.kind == "image":
                axes.append(Axis(0.5, 1.0, size))
            elif step.kind == "none":
                axes.append(Axis(size / 2, float(size), 1))
            else:
                axes.append(step.after([axes[source] for source in step.sources], axis))
        return [axes[position] for position in self.outputs]

    def places(self, windows: Integers, *, height: int, width: int) -> Floats32:
        """Return windows of a frame in cells of each map.

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
        cells = np.empty((len(self.outputs), len(windows), 4))
        for axis, size in enumerate((height, width)):
            starts = windows[:, axis]
            sides = windows[:, axis + 2] - starts
            for side in np.unique(sides).tolist():
                rows = np.flatnonzero(sides == side)
                crops = self.axes(size=side, axis=axis)
                for number, frame in enumerate(self.axes(size=size, axis=axis)):
                    low, high = crops[number].edges
                    if crops[number].cells < 1:
                        low, high = 0.0, float(side)
                    origin = frame.edges[0]
                    cells[number, rows, axis] = (starts[rows] + low - origin) / frame.stride
                    cells[number, rows, axis + 2] = (starts[rows] + high - origin) / frame.stride
        return cells.astype(np.float32)


def _follow(model: Any, inputs: Sequence[int | None], steps: list[MapStep]) -> list[int | None]:
    """Add the steps of a functional model, and return the step of each output; None for one without a position."""
    positions = {
        id(tensor): position for tensor, position in zip(model.inputs, inputs, strict=True)
    }
    stack = list(model.outputs)
    while stack:
        tensor = stack[-1]
        if id(tensor) in positions:
            stack.pop()
            continue
        operation, node, index = tensor._keras_history
        sources = operation._inbound_nodes[node].input_tensors
        missing = [source for source in sources if id(source) not in positions]
        if missing:
            stack.extend(missing)
            continue
        located = [(source, positions[id(source)]) for source in sources]
        positions[id(tensor)] = _through(operation, located, tensor, index, steps)
    return [positions[id(tensor)] for tensor in model.outputs]


def _through(
    operation: Any,
    sources: Sequence[tuple[Any, int | None]],
    tensor: Any,
    index: int,
    steps: list[MapStep],
) -> int | None:
    """Add the step of an operation, if it moves cells, and return the step of its output; None without a position."""
    import keras
    from keras import layers

    averages = (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)
    located = [(source, position) for source, position in sources if position is not None]
    if not located or len(tensor.shape) != 4 or isinstance(operation, averages):
        return None
    if isinstance(operation, keras.Model):
        return _follow(operation, [position for _, position in sources], steps)[index]
    if len(located) > 1:
        steps.append(_joined(operation, located))
        return len(steps) - 1
    source, position = located[0]
    step = _by_rule(operation, position)
    if step is None:
        # cells stay in their places; tensors beside the map are gates of channels
        if type(operation).__name__ in _POINTWISE or len(sources) > 1:
            return position
        cells_of = functools.partial(_cells_behind, operation, source)
        step = MapStep("resized", (position,), cells_of=cells_of)
    steps.append(step)
    return len(steps) - 1


def _joined(operation: Any, maps: Sequence[tuple[Any, int]]) -> MapStep:
    """Return the step of branches that meet."""
    from keras import layers

    weights = [1] * len(maps)
    if isinstance(operation, layers.Concatenate):
        weights = [tensor.shape[-1] for tensor, _ in maps]
    return MapStep("mean", tuple(position for _, position in maps), tuple(weights))


def _by_rule(operation: Any, source: int) -> MapStep | None:
    """Return the step of a layer that slides a kernel, pads or crops; None for other operations."""
    from keras import layers

    if isinstance(operation, (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)):
        dilated = zip(operation.dilation_rate, operation.kernel_size, strict=True)
        return _slid(source, [rate * (kernel - 1) + 1 for rate, kernel in dilated], operation)
    if isinstance(operation, (layers.MaxPooling2D, layers.AveragePooling2D)):
        return _slid(source, operation.pool_size, operation)
    if isinstance(operation, layers.ZeroPadding2D):
        added = tuple((-left, -right) for left, right in operation.padding)
        return MapStep("cut", (source,), added)
    if isinstance(operation, layers.Cropping2D):
        return MapStep("cut", (source,), tuple(operation.cropping))
    return None


def _slid(source: int, reaches: Sequence[int], operation: Any) -> MapStep:
    same = int(operation.padding == "same")
    strides = operation.strides
    numbers = tuple((reach, strides[axis], same) for axis, reach in enumerate(reaches))
    return MapStep("slid", (source,), numbers)


def _cells_behind(operation: Any, source: Any, cells: int, axis: int) -> int:
    """Return the number of cells along an axis after an operation on one map; unchanged if it cannot be computed."""
    import keras

    if cells < 1:
        return cells
    shape = [1, cells, cells, source.shape[-1]]
    try:
        spec = operation.compute_output_spec(keras.KerasTensor(shape, dtype=source.dtype))
        return int(spec.shape[1 + axis])
    except (TypeError, ValueError, AttributeError, IndexError, NotImplementedError):
        return cells


_POINTWISE = {
    "Activation",
    "BatchNormalization",
    "Dense",
    "Dropout",
    "ELU",
    "GroupNormalization",
    "LayerNormalization",
    "LayerScale",
    "LeakyReLU",
    "Normalization",
    "PReLU",
    "ReLU",
    "Rescaling",
    "Softmax",
    "SpatialDropout2D",
}
"""Layers that leave every cell in its place, so that their output shape need not be computed."""
