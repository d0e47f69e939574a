"""What stage 1 is asked to do."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..arguments import as_texts, as_whole, convert_fields, items_of
from ..encoders import ENGINES, GEOMETRY, EncoderChoice, gives_maps, least_of_partial, parse_encoder, weights_of
from ..errors import InputError, one_of
from ..options import option
from ..stains import STAIN_METHODS

MODES = ("exact", "dense")
"""``exact`` encodes every crop; ``dense`` encodes the frame once and pools its feature maps over the crops' windows."""

PADS = ("none", "reflect")
"""What becomes of an image that is smaller than the crop: it is refused, or mirrored at its edges up to the crop."""

DEFAULT_ENCODERS = ("resnet50", "inceptionv3", "vgg16")
"""Rakhlin et al. 2018, sec. 2.4."""


@dataclass(frozen=True)
class View:
    """A scale of the image and a crop size in pixels after scaling."""

    scale: float
    crop: int

    def __str__(self) -> str:
        return f"{self.scale}:{self.crop}"

    def misfit(self, path: Path, *, width: int, height: int) -> str | None:
        """Say that an image of this size after scaling is smaller than the crop; None if it is not."""
        if min(width, height) >= self.crop:
            return None
        size = f"{width}x{height} at scale {self.scale}"
        return f'{path}: {size} is smaller than the crop of {self.crop}; use a smaller `views`, or `pad="reflect"`'


DEFAULT_VIEWS = (View(0.5, 400), View(0.5, 650))
"""Rakhlin et al. 2018, sec. 2.3: half size, crops of 400 and 650 pixels."""


def _written(values: Sequence[object]) -> list[str]:
    return [str(value) for value in values]


@dataclass(frozen=True)
class FeaturizeSettings:
    """Everything that decides the content of the stores, beside the images.

    Attributes
    ----------
    encoders : tuple of EncoderChoice
    weights : tuple of str
        ``imagenet``, ``random``, a path, or ``ENCODER=`` one of these.
    views : tuple of View
    augmentations, crops : int
        Colour augmentations per image, crops per augmentation.
    pool : float
        Exponent of the pooling norm.
    color_range : tuple of float
        Bounds of the stain factors.
    stain, stain_fallback : str
        Method, and what to do with too little tissue: ``skip-normalisation`` or ``error``.
    precision : str
        ``float32`` or ``bfloat16``.
    mode : str
        Of `MODES`; named in the store, and never mixed in a model.
    engine : str
        Of `ENGINES`.
    batch_size : int
        Most crops in one pass; a batch never spans augmentations.
    seed : int
    pad : str
        Of `PADS`; with ``mode="exact"``.
    geometry : int
        How dense mode places windows, see `Encoder.encode_windows`; 1 for what bchisto 0.1 made.
    """

    encoders: tuple[EncoderChoice, ...] = option(
        tuple(EncoderChoice(name) for name in DEFAULT_ENCODERS), name="encoder", plain=_written
    )
    weights: tuple[str, ...] = ("imagenet",)
    views: tuple[View, ...] = option(DEFAULT_VIEWS, name="view", plain=_written)
    augmentations: int = 50
    crops: int = 20
    pool: float = 3.0
    color_range: tuple[float, float] = (0.7, 1.3)
    stain: str = "macenko"
    stain_fallback: str = "skip-normalisation"
    precision: str = "float32"
    mode: str = "exact"
    engine: str = "keras"
    batch_size: int = 4
    seed: int = 0
    pad: str = "none"
    geometry: int = option(GEOMETRY, recorded=False)  # no option: what is made now has the present one

    def __post_init__(self) -> None:
        # one or many, as text or as what it means: encoders="resnet50", views="0.5:400", weights="x.h5"
        put = object.__setattr__
        chosen = [one if isinstance(one, EncoderChoice) else parse_encoder(str(one))
                  for one in items_of(self.encoders)]  # fmt: skip
        put(self, "encoders", tuple(dict.fromkeys(chosen)))
        views = [one if isinstance(one, View) else parse_view(str(one)) for one in items_of(self.views)]
        put(self, "views", tuple(dict.fromkeys(views)))
        put(self, "color_range", tuple(self.color_range))
        counts = ("augmentations", "crops", "batch_size")
        convert_fields(self, weights=as_texts, seed=as_whole, **dict.fromkeys(counts, as_whole))
        for name in counts:
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` {getattr(self, name)}: give at least 1")
        if not (math.isfinite(self.pool) and self.pool >= 1):
            raise InputError(f"`pool` {self.pool}: give a finite exponent of at least 1")
        low, high = self.color_range
        if not 0 < low <= high:
            raise InputError(f"`color_range` {low} {high}: give two positive factors, the lower one first")
        if self.stain not in STAIN_METHODS:
            raise InputError(f"`stain` {self.stain}: no such method; {one_of(self.stain, STAIN_METHODS)}")
        if self.stain_fallback not in ("skip-normalisation", "error"):
            raise InputError(f"`stain_fallback` {self.stain_fallback}: choose skip-normalisation or error")
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"`precision` {self.precision}: choose float32 or bfloat16")
        for name, known in (("mode", MODES), ("engine", ENGINES), ("pad", PADS)):
            if getattr(self, name) not in known:
                raise InputError(f"`{name}` {getattr(self, name)}: choose one of {', '.join(known)}")
        if self.geometry not in range(1, GEOMETRY + 1):
            raise InputError(f"geometry {self.geometry} of dense windows is not known here; upgrade bchisto")
        if self.pad != "none" and self.mode == "dense":
            raise InputError(f'`pad="{self.pad}"` goes with `mode="exact"`; dense mode encodes frames as they are')
        for choice in self.encoders:
            if self.mode == "dense" and not gives_maps(choice):
                raise InputError(
                    f'`mode="dense"` pools feature maps, and {choice.name} gives vectors of crops; use `mode="exact"`'
                )
            if choice.runner in ("hub", "onnx") and (given := self.weights_of(choice.label)) != "imagenet":
                raise InputError(
                    f"`weights` {given}: {choice.name} brings its own; name the encoder that is meant, "
                    f'`weights="NAME={given}"`'
                )
        if self.seed < 0:
            raise InputError(f"`seed` {self.seed}: give a number from 0 up")
        if not self.encoders or not self.views:
            raise InputError("give at least one of `encoders` and one of `views`")
        for choice in self.encoders:  # what one cannot do that looks at a part of each crop alone
            if (least := least_of_partial(choice)) is None:
                continue
            if self.mode == "dense":
                raise InputError(
                    f'`mode="dense"`: {choice} looks at a part of each crop alone, for which no window of a frame can '
                    'stand; use `mode="exact"`, or resnet50'
                )
            small = [view for view in self.views if view.crop < least]
            if small:
                raise InputError(f"`views` {small[0]}: {choice} takes no crop under {least} pixels")

    @property
    def on_keras(self) -> bool:
        """Whether networks run on Keras's backend or PyTorch, and so on a GPU where these see one."""
        return self.engine in ("keras", "torch") and any(choice.runner != "onnx" for choice in self.encoders)

    @property
    def needs(self) -> tuple[View, ...]:
        """The views that an image must be large enough for."""
        return self.views if self.pad == "none" else ()

    def weights_of(self, encoder: str) -> str:
        """Return where the weights of an encoder come from, by its name or label; the last option that fits wins."""
        return weights_of(self.weights, encoder)


def parse_view(text: str) -> View:
    """Read ``SCALE:CROP``.

    Examples
    --------
    >>> parse_view("0.5:400")
    View(scale=0.5, crop=400)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?):(\d+)", text)
    if match is None or float(match[1]) <= 0 or int(match[2]) < 32:
        raise InputError(f"`views` {text}: write SCALE:CROP, for example 0.5:400 (crops of at least 32 pixels)")
    return View(float(match[1]), int(match[2]))
