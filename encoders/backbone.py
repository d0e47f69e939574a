"""A pretrained network up to its deepest layer asked for, with its weights, and nothing compiled."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

from ..arguments import Many, TextInput, as_text, as_texts, as_whole
from ..data import content_sha256
from ..errors import WeightsError
from ..jobs import prepare_backend
from . import network
from . import weights as weight_files
from .registry import EncoderSpec, get_spec


@dataclass(frozen=True)
class Backbone:
    """A network with its weights, to be run by an `Encoder`, trained further, or looked into.

    Attributes
    ----------
    spec : EncoderSpec
        Its preprocessing belongs before the model.
    model : keras.Model
        From preprocessed images, channels last, to the feature maps of `layers`. Its layers are not trainable.
    layers : tuple of str
        Canonical names, see `canonical_names`.
    default_layers : bool
        Whether these are the encoder's default.
    weights : str
        ``imagenet``, ``random`` or ``file``.
    weights_file_sha256 : str
        Hash of the file, empty where there is none.
    """

    spec: EncoderSpec
    model: Any
    layers: tuple[str, ...]
    default_layers: bool
    weights: str
    weights_file_sha256: str

    @property
    def dim(self) -> int:
        """Features of all layers together."""
        return sum(int(output.shape[-1]) for output in self.model.outputs)

    @functools.cached_property
    def weights_sha256(self) -> str:
        """Hash of the weights, independent of the file format; of those when it is first asked for."""
        return weight_files.weights_sha256(self.model)


def build_backbone(
    name: str,
    *,
    layers: Many[TextInput] = (),
    weights: TextInput = "imagenet",
    precision: str = "float32",
    seed: SupportsIndex = 0,
) -> Backbone:
    """Build a network and give it its weights.

    Parameters
    ----------
    name : str
        One of `list_encoders`.
    layers : sequence of str
        Keras layer names as in a fresh process; empty means the default (the last feature map, for ``vgg16``
        four internal blocks).
    weights : str
        ``imagenet``, ``random``, or the path of a weights file.
    precision : {"float32", "bfloat16", "float16"}
        Precision of computation; weights are float32.
    seed : int
        Of random weights.

    Returns
    -------
    Backbone

    Raises
    ------
    InputError
        No such encoder or layer.
    WeightsError
        The weights cannot be had or belong to another network.
    """
    layers = as_texts(layers, "layers")
    weights = as_text(weights, "weights")
    seed = as_whole(seed, "seed")
    prepare_backend()
    import keras

    spec = get_spec(name)
    with network.precision_policy(precision):
        base = weight_files.load_imagenet(spec) if weights == "imagenet" else spec.build(weights=None)
        default = spec.layers or (network.default_layer(base),)
        chosen = tuple(layers) or default
        model = keras.Model(base.input, [layer.output for layer in network.find_layers(base, chosen, encoder=name)])
    file_sha256 = ""
    if weights == "random":
        weight_files.randomize(model, seed=seed)
    elif weights != "imagenet":
        path = Path(weights)
        before = weight_files.content_key(weights)
        weight_files.load_encoder_file(path, spec=spec, base=base, part=model)
        file_sha256 = content_sha256(path)
        if file_sha256 != before:
            raise WeightsError(f"{path}: changed while it was read; run the command again")
    model.trainable = False
    return Backbone(
        spec, model, chosen, chosen == default, weights if weights in ("imagenet", "random") else "file", file_sha256
    )
