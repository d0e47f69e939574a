"""An encoder: a pretrained network that turns uint8 crops into descriptors in one compiled function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import file_sha256
from ..errors import ImageError
from . import network
from . import weights as weight_files
from .registry import get_spec

__all__ = ["Encoder"]


class Encoder:
    """A network up to its deepest layer asked for, with global average pooling of each layer.

    Preprocessing belongs to the network and is part of the compiled function, which takes uint8 RGB.

    Parameters
    ----------
    name : str
        One of `list_encoders`.
    layers : sequence of str
        Keras layer names as in a fresh process; empty means the default (the last feature map, for ``vgg16``
        four internal blocks).
    weights : str
        ``imagenet``, ``random``, or the path of a weights file.
    precision : {"float32", "bfloat16"}
        Precision of computation; descriptors are float32 either way.
    seed : int
        Of random weights.

    Attributes
    ----------
    name : str
    backend : str
        Keras's backend.
    layers : tuple of str
    default_layers : bool
        Whether these are the encoder's default.
    dim : int
        Length of a descriptor.
    weights : str
        ``imagenet``, ``random`` or ``file``.
    weights_sha256 : str
        Hash of the weights used, independent of the file format.
    weights_file_sha256 : str
        Hash of the file, empty where there is none.

    Raises
    ------
    InputError
        No such encoder or layer.
    WeightsError
        The weights cannot be had or belong to another network.

    References
    ----------
    Rakhlin et al. 2018, sec. 2.4.
    """

    def __init__(
        self,
        name: str,
        *,
        layers: Sequence[str] = (),
        weights: str = "imagenet",
        precision: str = "float32",
        seed: int = 0,
    ) -> None:
        self.backend = network.prepare_backend()
        import keras

        spec = get_spec(name)
        with network.precision_policy(precision):
            base = weight_files.load_imagenet(spec) if weights == "imagenet" else spec.build(weights=None)
            chosen = tuple(layers) or spec.layers or (network.default_layer(base),)
            outputs = [layer.output for layer in network.find_layers(base, chosen, encoder=name)]
            model = keras.Model(base.input, outputs)
        self.weights_file_sha256 = ""
        if weights == "random":
            weight_files.randomize(model, seed=seed)
        elif weights != "imagenet":
            weight_files.load_file(Path(weights), spec=spec, base=base, part=model)
            self.weights_file_sha256 = file_sha256(Path(weights))
        model.trainable = False
        self.name = spec.name
        self.layers = chosen
        self.default_layers = chosen == (spec.layers or (network.default_layer(base),))
        self.weights = weights if weights in ("imagenet", "random") else "file"
        self.weights_sha256 = weight_files.weights_sha256(model)
        self.dim = sum(int(output.shape[-1]) for output in outputs)
        self.model = model
        self._forward = _compile(model, spec.preprocess)

    def encode(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Encode crops.

        Parameters
        ----------
        crops : ndarray of uint8, shape (n, height, width, 3)
            RGB.

        Returns
        -------
        ndarray of float32, shape (n, dim)
            Global averages of the layers, concatenated in their order.

        Raises
        ------
        ImageError
            Another dtype or shape.
        """
        if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[3] != 3:
            raise ImageError(f"expected uint8 crops of shape (n, height, width, 3), got {crops.dtype} {crops.shape}")
        return np.asarray(self._forward(crops), dtype=np.float32)


def _compile(model: Any, preprocess: Callable[[Any], Any]) -> Callable[[npt.NDArray[np.uint8]], Any]:
    """Return one compiled function from uint8 crops to pooled float32 descriptors, for the present backend."""
    import keras
    from keras import ops

    def pooled(outputs: Any) -> Any:
        maps = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        return ops.concatenate([ops.mean(ops.cast(m, "float32"), axis=(1, 2)) for m in maps], axis=-1)

    def prepared(crops: Any) -> Any:
        return preprocess(ops.cast(crops, "float32"))

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        def graph(crops: Any) -> Any:
            return pooled(model(prepared(crops), training=False))

        forward: Any = tf.function(graph, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
        return lambda crops: forward(tf.convert_to_tensor(crops)).numpy()
    if backend == "jax":
        import jax

        trained = [variable.value for variable in model.trainable_variables]
        fixed = [variable.value for variable in model.non_trainable_variables]

        def stateless(crops: Any) -> Any:
            outputs, _ = model.stateless_call(trained, fixed, prepared(crops), training=False)
            return pooled(outputs)

        compiled: Callable[[npt.NDArray[np.uint8]], Any] = jax.jit(stateless)
        return compiled
    import torch

    def eager(crops: npt.NDArray[np.uint8]) -> Any:
        with torch.inference_mode():
            return ops.convert_to_numpy(pooled(model(prepared(ops.convert_to_tensor(crops)), training=False)))

    return eager
