"""Encoders by name: what a user may choose, and the networks with feature maps that are registered.

Another package adds an encoder through the entry-point group ``bchisto.encoders``: the entry point is an
`EncoderSpec`, or a function without arguments that returns one.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..core import (
    Entries,
    InputError,
    closest,
    converted,
    extension_names,
    few,
    load_extension,
    one_of,
)
from ..core.jobs import prepare_backend
from .catalogue import CATALOGUE
from .fetch import fetched_folder
from .keras213 import LEAST_KERAS213, RESNET50_KERAS213, build_resnet50_keras213

RUNNERS = ("hub", "onnx", "timm")
"""Prefixes for networks that are not registered: ``hub:DIR``, ``onnx:FILE`` and ``timm:NAME``."""

WITH_WEIGHTS = ("hub", "onnx")
"""Runners of encoders whose folder or file contains their weights."""

_OUTPUT = r"(?:cls|mean|block[1-9]\d{0,2}|vector)"
_OUTPUTS = re.compile(rf"(.+):({_OUTPUT}(?:\+{_OUTPUT})*)")


WEIGHTS_OF = {RESNET50_KERAS213: "resnet50"}
"""Encoders that share the weights of another encoder, and therefore accept ``OTHER=...``."""

EMBEDDED = {"mobilenetv2": "85fe67a9292b6cd04e2fd469a9117ec07c176248837dbb24be69ddea876aeb42"}
"""Encoders whose ImageNet weights the package holds, each with the SHA-256 of ``published/<name>.npz``, which
``tools/embed_weights.py`` writes."""

PUBLISHED = ("imagenet", "embedded")
"""Weights that need no file of the user: those of Keras, and those of `EMBEDDED`."""


@dataclass(frozen=True)
class EncoderChoice:
    """An encoder and its layers. Empty layers mean the encoder's default.

    Attributes
    ----------
    name : str
        A registered name, or ``hub:DIR``, ``onnx:FILE`` or ``timm:NAME``.
    layers : tuple of str
        For a network with feature maps, names of layers. For a network that returns vectors, names of outputs
        (``cls``, ``mean``, ``block12``).
    """

    name: str
    layers: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.layers:
            return self.name
        return f"{self.name}:{'+'.join(self.layers)}"

    @classmethod
    def parse(cls, text: str) -> EncoderChoice:
        """Parse ``NAME[:LAYER+LAYER]``, or ``hub:DIR``, ``onnx:FILE`` or ``timm:NAME`` with ``[:OUTPUT+OUTPUT]``.

        Examples
        --------
        >>> EncoderChoice.parse("inceptionv3:mixed8")
        EncoderChoice(name='inceptionv3', layers=('mixed8',))
        >>> EncoderChoice.parse("hub:/data/DINOv2:cls+mean")
        EncoderChoice(name='hub:/data/DINOv2', layers=('cls', 'mean'))
        """
        name, _, rest = text.partition(":")
        name = name.casefold()
        if name in RUNNERS:
            if not rest:
                raise InputError("{encoders} {}: write hub:DIR, onnx:FILE or timm:NAME", text)
            # a path may hold colons too, so that only names of outputs end it
            match = _OUTPUTS.fullmatch(rest)
            if match is None:
                return cls(f"{name}:{rest}")
            return cls(f"{name}:{match[1]}", tuple(match[2].split("+")))
        if name and ":" not in text:
            return cls(name)
        layers = tuple(rest.split("+"))
        if not name or not all(layers):
            raise InputError("{encoders} {}: write NAME or NAME:LAYER+LAYER", text)
        return cls(name, layers)

    @property
    def runner(self) -> str:
        """One of `RUNNERS`; empty for a registered encoder."""
        prefix, colon, _ = self.name.partition(":")
        return prefix if colon else ""

    @property
    def brings_weights(self) -> bool:
        """Whether its folder or file contains its weights."""
        return self.runner in WITH_WEIGHTS

    @property
    def source(self) -> str:
        """The text after the runner, which is a folder, a file or a name; empty for a registered encoder."""
        return self.name.partition(":")[2]

    @property
    def label(self) -> str:
        """The encoder's part of the name of a feature file (its name, or the runner and the name of a folder or file).

        Examples
        --------
        >>> EncoderChoice("hub:/data/DINO réseau").label, EncoderChoice("vgg16").label
        ('hub-dino-reseau', 'vgg16')
        """
        if not self.runner:
            return self.name
        path = Path(self.source)
        if self.runner != "timm":
            path = path.absolute()  # so that "." has a name
        name = path.stem if self.runner == "onnx" else path.name
        # removes accents
        letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        plain = re.sub(r"[^a-z0-9_]+", "-", letters.casefold()).strip("-")
        if not plain:
            plain = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:8]
        return f"{self.runner}-{plain}"


def weight_options(value: Any, name: str = "weights") -> tuple[str, ...]:
    """Return weights as texts, ``ENCODER=WEIGHTS`` from a mapping of encoders to weights.

    Examples
    --------
    >>> weight_options({"vgg16": Path("vgg16.h5")}), weight_options("imagenet")
    (('vgg16=vgg16.h5',), ('imagenet',))
    """
    if isinstance(value, Mapping):
        value = [f"{encoder}={weights}" for encoder, weights in value.items()]
    return converted(value, name, tuple[str, ...])


_OF_ENCODER = re.compile(r"([A-Za-z0-9_-]+)=(.+)")
"""Weights of one encoder."""


def weights_of(options: Sequence[str], encoder: str) -> str:
    """Return the weights that `options` select for an encoder.

    The last option counts; ``NAME=...`` applies only to the encoder of that name. An encoder that shares the weights of
    another one also accepts the option of that encoder, but its own comes first. Without an option, a published encoder
    uses the weights that were fetched, and one of `EMBEDDED` those of the package, unless Keras's are in its folder.
    """
    encoder = encoder.casefold()
    weights = "imagenet"
    weights_by_encoder = {}
    for option in options:
        match = _OF_ENCODER.fullmatch(option)
        if match is None:
            weights = option
        else:
            weights_by_encoder[match[1].casefold()] = match[2]
    for name in (encoder, WEIGHTS_OF.get(encoder)):
        if name in weights_by_encoder:
            return weights_by_encoder[name]
    if weights == "imagenet":
        if encoder in CATALOGUE:
            return str(fetched_folder(encoder) or weights)
        if encoder in EMBEDDED and is_built_in(encoder) and published_file(encoder) is None:
            return "embedded"
    return weights


def weights_folder() -> Path | None:
    """Return the folder in which Keras caches weights; None if Keras would use a temporary one."""
    keras_home = os.environ.get("KERAS_HOME")
    home = Path(os.path.expanduser(keras_home or "~/.keras"))  # noqa: PTH111 - as Keras
    nearest = next(path for path in (home, *home.parents) if os.path.exists(path))  # noqa: PTH110 - may be forbidden
    folders = [nearest]  # Keras makes those that are not there
    if not keras_home:
        folders.append(home.parent)
    if not all(path.is_dir() and os.access(path, os.W_OK) for path in folders):
        return None
    return home / "models"


def published_file(name: str) -> Path | None:
    """Return the file of published weights that Keras would load for one of its networks; None if there is none yet."""
    folder = weights_folder() or Path("/tmp/.keras/models")  # nosec B108 - as Keras
    if not folder.is_dir():
        return None
    # Keras writes these names in several ways
    names = re.compile(rf"{WEIGHTS_OF.get(name, name)}(weights\w+|10224tf)?notoph5")
    for file in folder.iterdir():
        if names.fullmatch(re.sub(r"[\W_]", "", file.name.casefold())):
            return file
    return None


def has_weights(choice: EncoderChoice, options: Sequence[str]) -> bool:
    """Return whether the weights of an encoder are on this machine, without opening them.

    Parameters
    ----------
    choice : EncoderChoice
    options : sequence of str
        As in `weights_of`.
    """
    source = weights_of(options, choice.label)
    if choice.brings_weights:
        source = choice.source
    if source != "imagenet":
        return source in ("random", "embedded") or Path(source).exists()
    if is_built_in(choice.name):
        return published_file(choice.name) is not None
    return choice.name not in CATALOGUE


def refuse_unused(options: Iterable[str], stores: Mapping[str, Entries], model: Path) -> None:
    """Refuse weights for an encoder that a model does not have.

    Parameters
    ----------
    options : iterable of str
        As for `weights_of`.
    stores : mapping
        The settings of each feature file of the model.
    model : Path
        The model file, for the message.

    Raises
    ------
    InputError
    """
    encoders = {header["encoder"] for header in stores.values()}
    for option in options:
        if not any(weights_of(["", option], encoder) for encoder in encoders):
            text = "{weights} {}: {} has no encoder of this name, but {}"
            raise InputError(text, option, model, few(sorted(encoders)))


def unfetched(choices: Sequence[EncoderChoice], weights: Sequence[str]) -> list[str]:
    """Return the names, for ``encoder --fetch``, of encoders whose weights can be fetched but were not.

    Parameters
    ----------
    choices : sequence of EncoderChoice
    weights : sequence of str
        As in `weights_of`.
    """
    return [
        choice.name
        for choice in choices
        if choice.name in CATALOGUE and weights_of(weights, choice.name) == "imagenet"
    ]


ENTRY_POINT_GROUP = "bchisto.encoders"

VECTOR_GROUP = "bchisto.vector_encoders"
"""Entry-point group for other packages' encoders: a `VectorSpec`, or a function without arguments that returns one."""

_LAYERS = {"vgg16": ("block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3")}
"""Default layers, where they are not the last one: global average pooling of four internal blocks of VGG-16, after ReLU
and before pooling (128 + 256 + 512 + 512 features). Rakhlin et al. 2018, sec. 2.4."""

_MACS_PER_PIXEL = {
    "resnet50": 82e3,
    RESNET50_KERAS213: 82e3,
    "inceptionv3": 64e3,
    "vgg16": 306e3,
    "mobilenetv2": 6e3,
}
"""Multiply-accumulates per input pixel, from the published counts at the published input sizes, which only determine
the size of a work unit."""

_UNKNOWN_MACS_PER_PIXEL = 60e3

_LEAST = {
    "inceptionv3": 75,
    "inceptionresnetv2": 75,
    "xception": 71,
    RESNET50_KERAS213: LEAST_KERAS213,
}
"""Smallest side of an image in pixels, as Keras states it. For the other networks of Keras it is 32."""

_LEAST_OF_OTHERS = 32

_TOKENS = 256
"""For networks of one input size, how often a crop uses each weight: 256 patches of 14 pixels at 224."""

_UNKNOWN_PARAMETERS = 86e6
"""Number of weights that is assumed if there is no file: that of ViT-B."""


@dataclass(frozen=True)
class EncoderSpec:
    """A registered encoder: how to build it, and its preprocessing.

    Attributes
    ----------
    name : str
        Lower case.
    build : callable
        ``build(weights=None | "imagenet", include_top=bool)`` returns a Keras model that takes images of any
        size, channels last. Only networks with published weights need `include_top`.
    preprocess : callable
        ``preprocess(x)`` on a float32 tensor of RGB in 0..255, written in ``keras.ops``.
    layers : tuple of str
        Default layers; empty means the model's output.
    macs_per_pixel : float
        Multiply-accumulates per input pixel of an encoder of another package, for the size of a work unit.
    """

    name: str
    build: Callable[..., Any]
    preprocess: Callable[[Any], Any]
    layers: tuple[str, ...] = ()
    macs_per_pixel: float = _UNKNOWN_MACS_PER_PIXEL


_OF_KERAS = (
    *(f"convnext{size}" for size in ("base", "large", "small", "tiny", "xlarge")),
    "densenet121",
    "densenet169",
    "densenet201",
    "inceptionresnetv2",
    "inceptionv3",
    "mobilenet",
    "mobilenetv2",
    *(f"efficientnetb{number}" for number in range(8)),
    *(f"efficientnetv2{size}" for size in ("b0", "b1", "b2", "b3", "l", "m", "s")),
    *(f"resnet{depth}{version}" for depth in (50, 101, 152) for version in ("", "v2")),
    "vgg16",
    "vgg19",
    "xception",
)
"""Networks of keras.applications that accept images of any size, listed so that Keras need not be loaded."""

FOLDED = frozenset({"inceptionv3", "mobilenetv2", "resnet50", "vgg16"})
"""Networks of Keras that a GPU runs as `bchisto.encoders.folded` describes, and that compute in float16."""

BUILT_IN = frozenset({*_OF_KERAS, RESNET50_KERAS213})
"""Networks of Keras that bchisto builds, unless another package offers one of the same name."""


def is_built_in(name: str) -> bool:
    """Return whether an encoder is one of `BUILT_IN`, and not one of another package with such a name."""
    return name in BUILT_IN.difference(extension_names(ENTRY_POINT_GROUP))


def is_folded(name: str) -> bool:
    """Return whether an encoder is one of `FOLDED`, and not one of another package with such a name."""
    return name in FOLDED and is_built_in(name)


def _applications() -> dict[str, Callable[..., Any]]:
    """Return the functions of keras.applications that build networks, by lower-case name."""
    prepare_backend()
    from keras import applications

    networks = inspect.getmembers(applications, inspect.isfunction)
    return {name.casefold(): build for name, build in networks}


def list_encoders() -> list[str]:
    """Return the names of all registered encoders with feature maps, sorted."""
    return sorted(BUILT_IN.union(extension_names(ENTRY_POINT_GROUP)))


def check_encoder_names(choices: Iterable[EncoderChoice], weights: Iterable[str] = ()) -> None:
    """Refuse unknown encoders, and weights of misspelt ones, before anything is loaded.

    Weights of a name that resembles no encoder pass: they may be for a network to fine-tune.

    Parameters
    ----------
    choices : iterable of EncoderChoice
    weights : iterable of str
        As in `weights_of`.

    Raises
    ------
    InputError
        There is no such encoder; the message suggests a similar name.
    """
    names = (*list_encoders(), *CATALOGUE, *extension_names(VECTOR_GROUP))
    text = "{}: no such encoder; {}`bchisto encoder` prints all"
    for choice in choices:
        if not choice.runner and choice.name not in names:
            suggestion = closest(choice.name, names)
            hint = f"did you mean {suggestion}? " if suggestion else ""
            raise InputError(f"{{encoders}} {text}", choice.name, hint)
    for option in weights:
        match = _OF_ENCODER.fullmatch(option)
        if match is None or match[1].casefold() in names:
            continue
        suggestion = closest(match[1], names)
        if suggestion and not match[1].casefold().startswith(RUNNERS):
            raise InputError(f"{{weights}} {text}", option, f"did you mean {suggestion}? ")


def get_spec(name: str) -> EncoderSpec:
    """Return the encoder of a name.

    Raises
    ------
    InputError
        There is no such encoder, or it is one of another package that cannot be loaded.
    """
    name = name.casefold()
    offered = load_extension(ENTRY_POINT_GROUP, name, EncoderSpec, what="encoder")
    if offered is not None:
        return offered
    check_encoder_names([EncoderChoice(name)])
    if name not in BUILT_IN:  # an encoder without feature maps
        raise InputError(
            "{encoders} {}: no such encoder with feature maps; {}",
            name,
            one_of(name, list_encoders()),
        )
    published = _applications()[WEIGHTS_OF.get(name, name)]
    preprocess = sys.modules[published.__module__].preprocess_input
    if name == RESNET50_KERAS213:
        return EncoderSpec(name, build_resnet50_keras213, preprocess)

    def build(*, weights: str | None = None, include_top: bool = False) -> Any:
        shape = None if include_top else (None, None, 3)
        return published(weights=weights, include_top=include_top, input_shape=shape)

    return EncoderSpec(name, build, preprocess, _LAYERS.get(name, ()))


LEAST_OF_PARTIAL = {EncoderChoice(RESNET50_KERAS213): LEAST_KERAS213}
"""Smallest crop, in pixels, of encoders that use only a part of a crop: windows of a frame cannot replace it."""


class EncoderFacts(NamedTuple):
    """Facts about an encoder that are known before it is built.

    Attributes
    ----------
    macs_per_pixel : float
        Multiply-accumulates per input pixel; a guess for networks without a published count.
    least : int
        Smallest side of a crop in pixels.
    macs_per_crop : float or None
        Multiply-accumulates per crop, for a network that resizes all crops to one size; otherwise None.
    """

    macs_per_pixel: float
    least: int
    macs_per_crop: float | None = None


def encoder_facts(choice: EncoderChoice) -> EncoderFacts:
    """Return facts about an encoder without loading Keras or building a network.

    Raises
    ------
    InputError
        The encoder is one of another package and cannot be loaded.

    Examples
    --------
    >>> encoder_facts(EncoderChoice("vgg16"))
    EncoderFacts(macs_per_pixel=306000.0, least=32, macs_per_crop=None)
    """
    if choice.runner or choice.name in CATALOGUE:
        macs_per_crop = _TOKENS * _parameters(choice)
        return EncoderFacts(_UNKNOWN_MACS_PER_PIXEL, _LEAST_OF_OTHERS, macs_per_crop)
    macs_per_pixel = _MACS_PER_PIXEL.get(choice.name, _UNKNOWN_MACS_PER_PIXEL)
    offered = load_extension(ENTRY_POINT_GROUP, choice.name, EncoderSpec, what="encoder")
    if offered is not None:
        macs_per_pixel = offered.macs_per_pixel
    return EncoderFacts(macs_per_pixel, _LEAST.get(choice.name, _LEAST_OF_OTHERS))


def _parameters(choice: EncoderChoice) -> float:
    """Return the approximate number of weights of a network, from the catalogue or the size of its files."""
    if choice.name in CATALOGUE:
        return CATALOGUE[choice.name].parameters * 1e6
    path = Path(choice.source)
    files = [path] if path.is_file() else path.glob("*.safetensors")
    sizes = [file.stat().st_size for file in files if file.is_file()]
    return sum(sizes) / 4 or _UNKNOWN_PARAMETERS
