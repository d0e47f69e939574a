"""Positions of the cells of feature maps: centre and stride in pixels of the frame, calculated from the layers.

Pixel i of a frame reaches from i to i + 1. Along each axis a map is described by the centre of its first cell, the
stride and the number of cells. Every layer changes these three by its own rule (Dumoulin & Visin 2016, "A guide to
convolution arithmetic for deep learning"; Araujo et al. 2019, "Computing receptive fields of convolutional neural
networks").

Branches that are joined have the same stride. In ResNet, MobileNet, DenseNet and Inception they also have the same
centre. If centres differ, as next to the padded pooling of Xception and in NASNet, their mean is used. For concatenated
maps the mean is weighted by their numbers of features. A branch without a position, such as the averages of
squeeze-and-excitation, does not count.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

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
