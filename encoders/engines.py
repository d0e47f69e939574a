"""Compile encoders for Keras or, by exporting the network, for OpenVINO.

A compiled network has two functions. One turns crops into features by global averages. The other turns one frame and
its windows into features, by averages over the part of each feature map that a window covers.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..core import (
    BchistoError,
    Content,
    DependencyError,
    InputError,
    Message,
    how_to_install,
    is_out_of_memory,
)
from ..core.formats import Array, Floats32, Pixels
from ..core.jobs import visible_gpus
from .loading import short_reason

ENGINES = ("keras", "openvino", "onnxruntime", "torch")
"""Values of ``engine``. ``onnxruntime`` is the default for ONNX files, and ``torch`` for networks on PyTorch."""

_MOST_SHAPES = 4
"""Compiled shapes that are kept of each OpenVINO function. Four cover two views with a smaller last batch each, or two
scales of frames in two orientations."""

Function = Callable[..., Any]
"""A function of tensors or arrays."""

Specs = Sequence[tuple[str, tuple[int | None, ...]]]
"""Types of the arguments of a function: dtype and shape, with None for sizes that vary."""

Variables = Sequence[Any]
"""Variables of Keras."""


class Compiled(NamedTuple):
    """An encoder ready to run.

    Attributes
    ----------
    crops : callable
        uint8 crops (n, height, width, 3) to float32 (n, d).
    windows : callable
        A uint8 frame (1, height, width, 3) and float32 windows (maps, k, 4) to float32 (k, d). A window is top, left,
        bottom and right in cells of each map, from the edge of its first cell.
    """

    crops: Callable[[Pixels], Any]
    windows: Callable[[Pixels, Floats32], Any]


@dataclass(frozen=True)
class Network:
    """A network of Keras with its preprocessing.

    Attributes
    ----------
    model : keras.Model
        A model with one or several feature maps.
    preprocess : callable
        Preprocessing of the encoder.
    scale : float
        Factor of the feature maps of `model`, and of the images that it takes, see `bchisto.encoders.folded`.
    maps : int, optional
        For a network in float16, the number of its outputs that are feature maps; any after them are only watched: if
        one is not finite, nor are the maps of that image.
    """

    model: Any
    preprocess: Function
    scale: float = 1.0
    maps: int | None = None

    def crops(self, batch: Any) -> Any:
        """Return the features of crops, as tensors of Keras's backend, for use within `compile_tensors`."""
        maps = self._maps(batch)
        from keras import ops

        return ops.concatenate([ops.mean(m, axis=(1, 2)) for m in maps], axis=-1)

    def windows(self, image: Any, places: Any) -> Any:
        """Return the features of windows of a frame, see `Compiled`, for use within `compile_tensors`."""
        return self.frames(image, places[:, None])[0]

    def frames(self, images: Any, places: Any) -> Any:
        """Return the features of windows of frames as tensors, for use within `compile_tensors`.

        A cell counts by the share of it inside the window.

        Parameters
        ----------
        images : tensor of uint8, shape (n, height, width, 3)
        places : tensor of float32, shape (maps, n, k, 4)
            Windows, see `Compiled`.

        Returns
        -------
        tensor of float32, shape (n, k, d)
        """
        maps = self._maps(images)
        from keras import ops

        averages = []
        for number, feature_map in enumerate(maps):
            windows = places[number]
            count, height, width, depth = ops.shape(feature_map)
            cells = height * width
            rows = _overlap(windows[:, :, 0:1], windows[:, :, 2:3], height)
            columns = _overlap(windows[:, :, 1:2], windows[:, :, 3:4], width)
            shares = rows[:, :, :, None] * columns[:, :, None, :]
            weights = ops.reshape(shares, (count, -1, cells))
            sums = ops.matmul(weights, ops.reshape(feature_map, (count, cells, depth)))
            averages.append(sums / ops.sum(weights, axis=2, keepdims=True))
        return ops.concatenate(averages, axis=-1)

    def _maps(self, images: Any) -> list[Any]:
        """Return the feature maps of images, for use within a compiled function."""
        from keras import ops

        prepared = self.preprocess(ops.cast(images, "float32"))
        if self.maps is not None:
            prepared = prepared * self.scale
        outputs = self.model(prepared, training=False)
        if not isinstance(outputs, (list, tuple)):  # a network of one feature map
            outputs = [outputs]
        maps = [ops.cast(output, "float32") for output in outputs[: self.maps]]
        if self.maps is None:
            return maps
        # infinity stays infinity, or becomes NaN in the next convolution
        factor = 1 / self.scale
        for watched in outputs[len(maps) :]:
            peaks = ops.max(ops.abs(ops.cast(watched, "float32")), axis=(1, 2, 3), keepdims=True)
            factor = factor + ops.where(peaks < np.inf, 0.0, np.nan)
        return [values * factor for values in maps]


def _forms(outputs: int) -> Content:
    """Return the types of the arguments of each function of a network with so many feature maps."""
    return {
        "crops": [("uint8", (None, None, None, 3))],
        "windows": [("uint8", (1, None, None, 3)), ("float32", (outputs, None, 4))],
    }


def compile_keras(network: Network) -> Compiled:
    """Compile a network for Keras's backend."""
    from keras import ops

    specs = _forms(len(network.model.outputs))

    def compiled(form: str) -> Function:
        function = compile_tensors(getattr(network, form), specs[form], network.model.variables)
        return lambda *arrays: ops.convert_to_numpy(function(*arrays))

    return Compiled(crops=compiled("crops"), windows=compiled("windows"))


def compile_openvino(
    network: Callable[[], Network], kept: Callable[[str, Callable[[], Any]], Any], *, precision: str
) -> Compiled:
    """Compile a network for OpenVINO.

    Parameters
    ----------
    network : callable
        Builds the network on TensorFlow, in float32, if it must be converted.
    kept : callable
        Returns the graph of a form, from the form and a function that converts the network.
    precision : {"float32", "bfloat16"}

    Raises
    ------
    DependencyError
        OpenVINO is not installed.
    InputError
        OpenVINO does not compute in this precision on this CPU.
    """
    core, settings = openvino_core(precision)

    def convert(form: str) -> Any:
        import openvino
        import tensorflow as tf
        from openvino.frontend.tensorflow import utils

        if sys.version_info >= (3, 13):
            # OpenVINO (2024.5 to 2026.4) looks up versions in a way that Python no longer supports (PEP 667)
            utils.get_environment_setup = lambda framework: {"tensorflow": tf.__version__}
        built = network()
        refuse_other_backends()
        specs = _forms(len(built.model.outputs))[form]
        return openvino.convert_model(_tensorflow(getattr(built, form), specs))

    def compiled(form: str) -> OpenvinoFunction:
        return OpenvinoFunction(core, settings, lambda: kept(form, lambda: convert(form)))

    return Compiled(crops=compiled("crops"), windows=compiled("windows"))


def refuse_other_backends() -> None:
    """Refuse a backend of Keras from which no network can be converted for OpenVINO.

    Raises
    ------
    DependencyError
        Keras does not run on TensorFlow.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise DependencyError(
            Message(
                "{engine:openvino}: exports the network from TensorFlow; set KERAS_BACKEND=tensorflow"
            )
        )


def compile_tensors(function: Function, specs: Specs, variables: Variables) -> Function:
    """Compile a function of tensors for Keras's backend.

    Parameters
    ----------
    function : callable
        Written in ``keras.ops``.
    specs : sequence of (dtype, shape)
        Types of its arguments, with None for sizes that vary. TensorFlow compiles once for all sizes; JAX compiles for
        each new shape.
    variables : sequence of keras.Variable
        The weights that the function uses. For JAX they are arguments, since constants would be a part of what is
        compiled, and of what is kept of it on the disk.

    Returns
    -------
    callable
        Accepts arrays and returns tensors on their device.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        return _jax(function, variables)
    if backend == "torch":
        return _torch(function)
    return _tensorflow(function, specs)


def _overlap(start: Any, stop: Any, cells: Any) -> Any:
    """Return the share of each cell that is between start and stop, shape (n, k, cells).

    Start and stop are in cells. A window outside the map gets the nearest cell.
    """
    from keras import ops

    edges = ops.cast(ops.arange(cells), "float32")[None, None, :]
    count = ops.cast(cells, "float32")
    start = ops.minimum(start, count - 1.0)
    stop = ops.maximum(stop, 1.0)
    return ops.maximum(ops.minimum(stop, edges + 1.0) - ops.maximum(start, edges), 0.0)


def _tensorflow(function: Function, specs: Specs) -> Function:
    import tensorflow as tf

    signature = [tf.TensorSpec(shape, dtype) for dtype, shape in specs]
    compiled: Function = tf.function(function, input_signature=signature)
    return compiled


def _jax(function: Function, variables: Variables) -> Function:
    import jax
    import keras

    def with_weights(weights: Sequence[Any], *tensors: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, weights, strict=True))):
            return function(*tensors)

    with_weights.__name__ = function.__name__
    compiled = jax.jit(with_weights)

    def run(*arrays: Any) -> Any:
        return compiled([variable.value for variable in variables], *arrays)

    return run


def _torch(function: Function) -> Function:
    import torch
    from keras import ops

    def run(*arrays: Any) -> Any:
        with torch.inference_mode():
            return function(*map(ops.convert_to_tensor, arrays))

    return run


def openvino_core(precision: str) -> tuple[Any, Content]:
    """Return OpenVINO's core and the settings for compiling networks.

    Raises
    ------
    DependencyError
        OpenVINO is not installed.
    InputError
        OpenVINO does not compute in this precision on this CPU.
    """
    if executed_precision(precision, engine="openvino") != precision:
        raise InputError(
            "{precision} {}: OpenVINO computes in float32 on this CPU; use float32", precision
        )
    return _openvino_core(precision)


def executed_precision(precision: str, *, engine: str) -> str:
    """Return the precision in which an engine really computes on this machine if `precision` is requested.

    Only Keras on a GPU computes in float16. OpenVINO falls back to float32 on a CPU without bfloat16; this compiles a
    small network to find out. Otherwise an engine computes in the requested precision, even if that is slow.

    Raises
    ------
    DependencyError
        OpenVINO is not installed.
    """
    if precision == "float16":
        return precision if engine == "keras" and visible_gpus() else "float32"
    if engine != "openvino" or precision == "float32":
        return precision
    return _openvino_precision(precision)


@functools.cache
def _openvino_precision(precision: str) -> str:
    """Return the precision in which OpenVINO computes on this CPU."""
    core, settings = _openvino_core(precision)
    from openvino import Model, opset13

    pixels = opset13.parameter([1, 1, 1, 1], np.float32)
    kernel = opset13.constant(np.ones((1, 1, 1, 1), np.float32))
    convolved = opset13.convolution(pixels, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    compiled = core.compile_model(Model([convolved], [pixels]), "CPU", settings)
    executed = {
        node.get_rt_info()["runtimePrecision"].astype(str)
        for node in compiled.get_runtime_model().get_ops()
    }
    return precision if "bf16" in executed else "float32"


def imitates_bfloat16() -> bool:
    """Return whether OpenVINO only imitates bfloat16, because this CPU has no instructions for it. This is slow."""
    core, _ = _openvino_core("bfloat16")
    return "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _openvino_core(precision: str) -> tuple[Any, Content]:
    # Its telemetry would report usage without consent. None makes an import of it fail, and OpenVINO works without it.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise DependencyError(
            "{engine:openvino}: OpenVINO is missing; {}", how_to_install("openvino")
        ) from error
    return openvino.Core(), {
        "INFERENCE_NUM_THREADS": 1,  # processes, not threads, use the cores
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # pinning would put every process on the first core
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
    }


@dataclass(eq=False)
class OpenvinoFunction:
    """A network that OpenVINO converts on the first call, and compiles for each shape of its input.

    A network compiled for fixed shapes is faster, but occupies memory: some 100 MB for a frame. So only the most
    recently used shapes are kept.
    """

    core: Any
    settings: Content
    convert: Callable[[], Any]
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.ready = functools.lru_cache(maxsize=_MOST_SHAPES)(self._compile)

    def __call__(self, *arrays: Array) -> Any:
        """Run the network on arrays of any shape that it accepts; threads wait for each other."""
        shapes = tuple(array.shape for array in arrays)
        # what is compiled has one room for its input, which another thread would write over
        with self._turn:
            return self.ready(shapes)(list(arrays))[0]

    @functools.cached_property
    def graph(self) -> Any:
        """The network, an ``openvino.Model``, converted or read on first use."""
        return self.convert()

    def _compile(self, shapes: tuple[tuple[int, ...], ...]) -> Any:
        """Return the network, compiled for inputs of these shapes."""
        try:
            fixed = self.graph.clone()
            fixed.reshape(dict(zip(fixed.inputs, map(list, shapes), strict=True)))
            return self.core.compile_model(fixed, "CPU", self.settings)
        except Exception as error:  # an operation that OpenVINO lacks or implements differently
            if isinstance(error, BchistoError) or is_out_of_memory(error):
                raise
            reason = short_reason(error).rstrip(": ")
            raise DependencyError(
                "{engine:openvino}: OpenVINO cannot run this network ({}); use {engine:keras}",
                reason,
            ) from error
