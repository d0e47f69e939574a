"""Pretrained networks of Keras, and encoders that turn uint8 crops into features with them.

A `Backbone` is the network up to the deepest chosen layer, not compiled. An `Encoder` runs it in one compiled function.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, SupportsIndex

import numpy as np

from ..core import Content, ImageError, Many, TextInput, converted
from ..core.formats import Floats32, Integers, Pixels
from ..core.jobs import prepare_backend
from . import network
from . import weights as weight_files
from .catalogue import EncoderCard
from .engines import (
    Network,
    OpenvinoFunction,
    compile_keras,
    compile_openvino,
    refuse_other_backends,
)
from .geometry import Geometry
from .kept import NOT_KEPT, KeptNetwork, keep_compiled, kept_key
from .registry import (
    EMBEDDED,
    EncoderSpec,
    get_spec,
    is_built_in,
    is_folded,
    published_file,
)
from .vectors import refuse_other_than_crops


@dataclass(frozen=True)
class Backbone:
    """A network with its weights, for an `Encoder`, for fine-tuning, or for heat maps.

    Attributes
    ----------
    spec : EncoderSpec
        Its preprocessing must be applied before the model.
    model : keras.Model
        A model from preprocessed images, channels last, to the feature maps of `layers`. Its layers are not trainable.
    layers : tuple of str
        Canonical names, see `canonical_names`.
    default_layers : bool
        Whether `layers` are the encoder's default.
    weights : str
        ``imagenet``, ``embedded``, ``random`` or ``file``.
    weights_file_sha256 : str
        SHA-256 of the weights file; empty if there is none.
    """

    spec: EncoderSpec
    model: Any
    layers: tuple[str, ...]
    default_layers: bool
    weights: str
    weights_file_sha256: str


def build_backbone(
    name: str,
    *,
    layers: tuple[str, ...] = (),
    weights: str = "imagenet",
    precision: str = "float32",
    seed: int = 0,
) -> Backbone:
    """Build a network and load its weights.

    Parameters
    ----------
    name : str
        One of `list_encoders`.
    layers : tuple of str
        Keras layer names as in a fresh process. Empty means the default: the last feature map, or four internal blocks
        for ``vgg16``.
    weights : str
        ``imagenet`` (Keras's), ``embedded`` (those of the package), ``random``, or the path of a weights file.
    precision : {"float32", "bfloat16", "float16"}
        Precision of computation; weights are float32.
    seed : int
        Seed of random weights.

    Returns
    -------
    Backbone

    Raises
    ------
    InputError
        There is no such encoder or layer.
    WeightsError
        The weights are not available, or belong to another network.
    """
    if prepare_backend() == "jax":
        keep_compiled()
    import keras

    spec = get_spec(name)
    with network.precision_policy(precision):
        if weights == "imagenet":
            base = weight_files.load_imagenet(spec)
        else:
            base = spec.build(weights=None)
        default = spec.layers or (network.default_layer(base),)
        layers = layers or default
        map_layers = network.find_layers(base, layers, encoder=name)
        model = keras.Model(base.input, [layer.output for layer in map_layers])
    file_sha256 = ""
    if weights == "random":
        weight_files.randomize(model, seed=seed)
    elif weights == "embedded":
        file_sha256 = weight_files.load_embedded(spec.name, model)
    elif weights != "imagenet":
        path = Path(weights)
        file_sha256 = weight_files.load_encoder_file(path, spec=spec, base=base, part=model)
        weights = "file"
    model.trainable = False
    return Backbone(spec, model, layers, layers == default, weights, file_sha256)


class Encoder:
    """A network of Keras up to the deepest chosen layer, with global average pooling of each chosen layer.

    The compiled function accepts uint8 RGB and includes the network's preprocessing.

    Parameters
    ----------
    name, layers, weights, seed
        As in `build_backbone`.
    precision : {"float32", "bfloat16", "float16"}
        Precision of computation; features are float32 in any case. In float16 only `on_device` computes, see
        `in_float16`; the other functions then compute in float32.
    engine : {"keras", "openvino"}
        Library that runs the network.

    Attributes
    ----------
    name : str
    backend : str
        Keras's backend, or ``openvino``.
    engine : str
    layers : tuple of str
    default_layers : bool
        Whether `layers` are the encoder's default.
    parts : tuple of int
        Number of features of each layer.
    card : EncoderCard
        Its layers. Preprocessing is part of the compiled function, and the licence of the weights is not recorded.
    runner : str
        ``keras``.
    dim : int
        Number of features.
    geometry : Geometry
        Which pixels the cells of its feature maps see.
    weights : str
        ``imagenet``, ``embedded``, ``random`` or ``file``.
    weights_sha256 : str
        SHA-256 of the weights used, independent of the file format.
    weights_file_sha256 : str
        SHA-256 of the weights file; empty if there is none.
    parameters : int
        Number of weights of the network.
    scale : float or None
        Factor of its features within the network, if that computes in float16.

    Raises
    ------
    InputError
        There is no such encoder or layer.
    WeightsError
        The weights are not available, or belong to another network.

    References
    ----------
    Rakhlin et al. 2018, sec. 2.4.
    """

    def __init__(
        self,
        name: str,
        *,
        layers: Many[TextInput] = (),
        weights: TextInput = "imagenet",
        precision: str = "float32",
        engine: str = "keras",
        seed: SupportsIndex = 0,
    ) -> None:
        layers = converted(layers, "layers", tuple[str, ...])
        weights = converted(weights, "weights", str)
        seed = converted(seed, "seed", int)
        openvino = engine == "openvino"
        build = functools.partial(
            build_backbone,
            name,
            layers=layers,
            weights=weights,
            # OpenVINO needs a float32 network and lowers the precision itself, and so does `on_device`
            precision="float32" if openvino or precision == "float16" else precision,
            seed=seed,
        )
        self._backbone: Callable[[], Backbone] = functools.cache(build)
        kept = None
        if openvino:
            identify = functools.partial(_identity_of, name, weights, seed)
            kept, facts = self._kept_network(layers, identify)
        else:
            facts = self._built_facts()
        self.name: str = facts["name"]
        self.layers: tuple[str, ...] = tuple(facts["layers"])
        self.default_layers: bool = facts["default_layers"]
        self.weights: str = facts["weights"]
        self.weights_sha256: str = facts["weights_sha256"]
        self.weights_file_sha256: str = facts["weights_file_sha256"]
        self.parts: tuple[int, ...] = tuple(facts["parts"])
        self.dim = sum(self.parts)
        self.parameters: int = facts["parameters"]
        if facts["geometry"]:
            self.geometry = Geometry.from_plain(facts["geometry"])
        else:
            self.geometry = Geometry.of(self.model)
        self.card = EncoderCard(outputs=self.layers)
        self.runner = "keras"
        self.engine = engine
        self.scale: float | None = None
        self._precision = precision
        self._in_float16: dict[float, Encoder] = {}
        if kept is None:
            self.backend = prepare_backend()
            self._compiled = compile_keras(self._network)
        else:
            self.backend = "openvino"
            graph = functools.partial(kept.graph, facts=facts)
            self._compiled = compile_openvino(lambda: self._network, graph, precision=precision)

    def _kept_network(
        self, layers: tuple[str, ...], identify: Callable[[], _Identity | None]
    ) -> tuple[KeptNetwork, Content]:
        """Return the network as this machine keeps it, or will keep it once it is converted, and its facts."""
        identity = identify()
        if identity is not None:
            for chosen in dict.fromkeys(((), layers)):
                kept = identity.kept(chosen)
                kept_facts = kept.facts()
                # layers chosen by name may be the default ones, and then have their key
                if kept_facts and layers in ((), tuple(kept_facts["layers"])):
                    return kept, kept_facts
        facts = self._built_facts()
        refuse_other_backends()
        # Keras may have fetched the weights meanwhile, so that they are known only now
        present = identify()
        if present is None or identity not in (present, None):
            return NOT_KEPT, facts  # unknown, or replaced while they were read
        if facts["default_layers"]:
            layers = ()
        return present.kept(layers), facts

    def prepare(self, *, dense: bool) -> None:
        """Convert the network for frames (`dense`) or crops, if OpenVINO runs it: other processes then only read it."""
        form = self._compiled.windows if dense else self._compiled.crops
        if isinstance(form, OpenvinoFunction):
            _ = form.graph

    @property
    def model(self) -> Any:
        """The network as a Keras model, which OpenVINO does not need, so that it is then built on first use."""
        return self._backbone().model

    @property
    def _network(self) -> Network:
        return Network(self._backbone().model, self._backbone().spec.preprocess)

    @functools.cached_property
    def on_device(self) -> Network:
        """The network for use within a compiled function of Keras's backend, as a GPU runs it best."""
        network = self._network
        if not is_folded(self.name) or self._precision == "bfloat16":
            return network
        from .folded import fold

        if self.scale is None:
            return replace(network, model=fold(network.model))
        folded = fold(network.model, dtype="float16", scale=self.scale)
        return replace(network, model=folded, scale=self.scale, maps=len(self.layers))

    def in_float16(self, scale: float | None) -> Encoder:
        """Return this encoder with a network `on_device` that computes in float16.

        Parameters
        ----------
        scale : float or None
            From `float16_scale`; None for this encoder itself.
        """
        if scale is None:
            return self
        if scale not in self._in_float16:
            encoder = copy.copy(self)
            encoder.__dict__.pop("on_device", None)
            encoder.scale = scale
            self._in_float16[scale] = encoder
        return self._in_float16[scale]

    def float16_scale(self, crops: Pixels) -> float:
        """Return the power of two that brings the features of such crops, uint8, into the range of float16."""
        from keras import ops

        from .folded import float16_scale

        network = self._network
        return float16_scale(network.model, network.preprocess(ops.cast(crops, "float32")))

    def _built_facts(self) -> Content:
        """Build the network, and return its facts, JSON-ready."""
        backbone = self._backbone()
        return {
            "name": backbone.spec.name,
            "layers": backbone.layers,
            "default_layers": backbone.default_layers,
            "weights": backbone.weights,
            "weights_sha256": weight_files.weights_sha256(backbone.model),
            "weights_file_sha256": backbone.weights_file_sha256,
            "parts": [int(output.shape[-1]) for output in backbone.model.outputs],
            "parameters": int(backbone.model.count_params()),
            "geometry": Geometry.of(backbone.model).plain,
        }

    def encode(self, crops: Pixels) -> Floats32:
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
            The array has another dtype or shape.
        """
        refuse_other_than_crops(crops)
        return np.asarray(self._compiled.crops(crops), dtype=np.float32)

    def encode_windows(self, frame: Pixels, windows: Integers) -> Floats32:
        """Encode a whole frame once and average its feature maps over windows.

        These are not the features of crops: a window is influenced by the pixels around it, and a crop by padded zeros.

        Parameters
        ----------
        frame : ndarray of uint8, shape (height, width, 3)
            RGB.
        windows : ndarray of int, shape (k, 4)
            Top, left, bottom, right in pixels; bottom and right are exclusive. A window covers the cells that the
            feature map of a crop at this place would have.

        Returns
        -------
        ndarray of float32, shape (k, dim)
            Averages over each window. A cell of the feature map counts by the share of it inside the window.

        Raises
        ------
        ImageError
            The array has another dtype or shape.
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ImageError(
                f"expected a uint8 frame of shape (height, width, 3), got {frame.dtype} {frame.shape}"
            )
        height, width = frame.shape[:2]
        places = self.geometry.places(windows, height=height, width=width)
        return np.asarray(self._compiled.windows(frame[np.newaxis], places), dtype=np.float32)


class _Identity(NamedTuple):
    """What determines a network besides its layers.

    Attributes
    ----------
    name : str
    weights : str
        Checksum of its weights, or the seed from which they are drawn.
    published : bool
        Whether they are those that Keras publishes.
    """

    name: str
    weights: str
    published: bool

    def kept(self, layers: tuple[str, ...]) -> KeptNetwork:
        """Return the kept network with these layers."""
        return KeptNetwork(kept_key(("keras", "tensorflow"), layers=layers, **self._asdict()))


def _identity_of(name: str, weights: str, seed: int) -> _Identity | None:
    """Return what determines a network now; None if another package builds it, or its weights are not known yet."""
    name = name.casefold()
    if not is_built_in(name):
        return None
    published = weights == "imagenet"
    if published:
        content = weight_files.content_key(published_file(name))
    elif weights == "random":
        content = f"random {seed}"
    elif weights == "embedded":
        content = EMBEDDED.get(name, "")
    else:
        content = weight_files.content_key(Path(weights))
    if not content:
        return None
    return _Identity(name, content, published)
