"""Settings of feature extraction, and estimates of work that need only the settings."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, replace
from typing import Any

from ..core import (
    Converted,
    InputError,
    Message,
    Parameter,
    Parsed,
    Settings,
    Texts,
    converted,
    option,
    plain_options,
)
from ..core.formats import limits, plausible_mpp
from ..core.jobs import gpu_memory, visible_gpus
from ..data import BACH_MPP, ImageRecord, scaled_side
from ..encoders import (
    ENGINES,
    FOLDED,
    LEAST_OF_PARTIAL,
    EncoderChoice,
    encoder_facts,
    gives_maps,
    is_folded,
    weight_options,
    weights_of,
)
from ..stains import STAIN_METHODS, get_stain, list_stains
from .crops import GRID, CropGrid
from .pooling import NORM, CropDescription

_UNIT_SECONDS = 10.0
"""Minimum duration of a unit, approximately, so that the time to start it does not matter."""

_CORE_MACS_PER_SECOND = 9e10
"""Multiply-accumulates per second of one current CPU core (measured on a Zen 5 core, ResNet-50)."""

_IMAGE_SECONDS = 0.2
_AUGMENTATION_SECONDS = 0.02
"""Time to decode and normalise an image, and time of one augmentation with its crops (measured, 1024x768)."""

_FRAME_PIXELS = 2048 * 1536
"""Pixels of a BACH image."""

_MOST_IMAGES = 64
"""Maximum number of images in a block. It limits memory, and the work that a crash can lose."""

_MOST_ENLARGED = 16
"""Maximum factor by which an image is enlarged for a view in micrometres."""

AUTO = "auto"
"""The engine and the batch size that suit this machine, see `FeaturizeSettings.engine` and `.batch_size`."""

_CPU_CROPS = 4
"""Crops in one pass on a CPU."""

_GPU_CROPS = (100, 40, 20)
"""Crops in one pass on a GPU: the largest number that fits its memory. They are few, so that similar cards agree."""

_UNKNOWN_GPU_CROPS = 40
"""Crops in one pass on a GPU whose memory is not known."""

_CROP_PIXEL_BYTES = 1024
"""Memory for a pixel of a crop: twice that of two feature maps of VGG-16 with 64 channels in float32, its largest."""


@dataclass(frozen=True)
class View:
    """A scale of the image and a crop size in pixels after scaling.

    Attributes
    ----------
    scale : float
        Factor by which the sides of an image are scaled; with the unit ``um``, micrometres per pixel after scaling.
    crop : int
        Side of the crop, in pixels after scaling.
    unit : {"", "um"}
    """

    scale: float
    crop: int
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.level}:{self.crop}"

    @property
    def level(self) -> str:
        """The scale with its unit. Views of the same level share a resized image."""
        return f"{self.scale}{self.unit}"

    @property
    def field(self) -> str:
        """The width of a crop in micrometres, as text."""
        return f"{self.scale * self.crop:.3g} um"

    @classmethod
    def parse(cls, text: str) -> View:
        """Parse ``SCALE:CROP``, or micrometres: up to 20 per pixel (``0.5um:224``), above 20 per crop (``112um:224``).

        These two examples are the same view. The limit is unambiguous: larger pixels would show no cells, and smaller
        crops would contain only two.

        Examples
        --------
        >>> View.parse("0.5:400")
        View(scale=0.5, crop=400, unit='')
        >>> View.parse("112um:224") == View.parse("0.5um:224") == View(0.5, 224, "um")
        True
        """
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([uµμ]m)?:(\d+)", text)
        if match is None or float(match[1]) <= 0 or int(match[3]) < 32:
            raise InputError(
                "{views} {}: write SCALE:CROP, for example 0.5:400, or micrometres, 0.5um:224 of a pixel or 112um:224 "
                "of a crop (crops of at least 32 pixels)",
                text,
            )
        scale = float(match[1])
        crop = int(match[3])
        if match[2] is None:
            return cls(scale, crop)
        if scale > limits.MOST_MPP:
            scale = float(f"{scale / crop:.6g}")  # given for a crop, not for a pixel
        if plausible_mpp(scale) is None:
            raise InputError(
                "{views} {}: {} um a pixel; give {} to {}",
                text,
                scale,
                limits.LEAST_MPP,
                limits.MOST_MPP,
            )
        return cls(scale, crop, "um")

    def factor(self, mpp: float | None) -> float:
        """Return the factor by which the sides of an image with `mpp` micrometres per pixel are scaled."""
        if not self.unit:
            return self.scale
        if mpp is None:
            raise InputError(
                "{views} {}: the micrometres per pixel of an image are not known; give {mpp}", self
            )
        return mpp / self.scale

    def unscaled(self, record: ImageRecord) -> str | None:
        """Return a message if this view needs micrometres per pixel and those of an image are not known; else None."""
        if not self.unit or record.mpp is not None:
            return None
        return Message(
            "{}: its micrometres per pixel are not known, which the view {} needs",
            record.called,
            self,
            remedies=[
                Message("{mpp} gives them for all images, a column mpp of a manifest for each")
            ],
        )

    def misfit(self, record: ImageRecord, *, width: int, height: int) -> str | None:
        """Return the reason why this view does not fit an image of this size in pixels; None if it fits.

        The image may be smaller than the crop, or its micrometres per pixel may be unknown or too coarse.
        """
        unscaled = self.unscaled(record)
        if unscaled:
            return unscaled
        factor = self.factor(record.mpp)
        across = scaled_side(width, factor)
        down = scaled_side(height, factor)
        if self.unit and factor > _MOST_ENLARGED:
            return Message(
                "{}: its pixels of {} um show nothing at the {} of {views:{}}; use a coarser one",
                record.called,
                f"{record.mpp:.3g}",
                f"{self.scale:.3g}",
                self,
            )
        if min(across, down) >= self.crop:
            return None
        size = f"{across}x{down} at scale {self.scale}"
        needed = f"crop of {self.crop}"
        largest = replace(self, crop=min(across, down))
        smaller = Message("{views:{}} fits", largest)
        if self.unit:
            size = f"{across * self.scale:.3g} x {down * self.scale:.3g} um"
            needed = f"field of {self.field}"
            smaller = Message(
                "the largest field that fits is {} ({views:{}})", largest.field, largest
            )
        remedies = [smaller, Message("{pad:reflect}")]
        if largest.crop < 32:  # a view of such crops is refused
            del remedies[0]
        return Message(
            "{}: {} is smaller than the {}", record.called, size, needed, remedies=remedies
        )


DEFAULT_VIEWS = (View(0.5, 400), View(0.5, 650))
"""Rakhlin et al. 2018, sec. 2.3: half size, crops of 400 and 650 pixels."""


def _count_or(value: Any, name: str, *, word: str, meaning: Any) -> Any:
    """Return a whole number, or the meaning of the word that may be given instead."""
    if value == word or isinstance(value, CropGrid):
        return meaning
    if isinstance(value, str):
        raise InputError("{} {}: give a whole number, or {}", Parameter(name), value, word)
    number = converted(value, name, int)
    if number == meaning:
        raise InputError("{} {}: give at least 1, or {}", Parameter(name), value, word)
    return number


@dataclass(frozen=True)
class FeaturizeSettings(Settings):
    """Settings of feature extraction. Together with the images they determine the content of the feature files.

    `weights` may also be a mapping of encoders to weights.
    """

    encoders: Parsed[EncoderChoice] = option(
        # Rakhlin et al. 2018, sec. 2.4
        tuple(map(EncoderChoice, ("resnet50", "inceptionv3", "vgg16"))),
        group="Features",
        flag="encoder",
        distinct=True,
        help="NAME[:LAYER+LAYER], hub:DIR, onnx:FILE or timm:NAME.",
    )
    views: Parsed[View] = option(
        DEFAULT_VIEWS,
        group="Features",
        flag="view",
        distinct=True,
        help="SCALE:CROP; in micrometres 0.5um:224 (of a pixel) or 112um:224 (of a crop).",
    )
    augmentations: int = option(
        50, group="Features", least=1, help="Colour augmentations per image."
    )
    crops: Converted[int | str, int] = option(
        20,
        least=0,
        form=functools.partial(_count_or, word="grid", meaning=GRID),
        plain=lambda count: count or "grid",
        metavar="N|grid",
        help="Random crops per augmentation; or grid: as many as cover the image, evenly spaced and not turned.",
    )
    pool: float = option(3.0, least=1, help="Exponent of the pooling norm.")
    color_range: tuple[float, float] = option((0.7, 1.3), help="Bounds of the stain factors.")
    pad: str = option(
        "none",
        choices=("none", "reflect"),
        help="Images smaller than the crop: refuse them, or extend them by mirroring.",
    )
    stain: str = option(
        "macenko",
        group="Features",
        choices=STAIN_METHODS,
        more=list_stains,
        help="How stains are treated; macenko-robust is for pale or eosin-rich tissue, which macenko may turn white.",
    )
    stain_fallback: str = option(
        "skip-normalisation",
        choices=("skip-normalisation", "error"),
        help="What to do with an image of too little tissue.",
    )
    weights: Texts = option(
        ("imagenet",),
        group="Features",
        form=weight_options,
        help="imagenet, embedded (of mobilenetv2, in the package), random, PATH, or ENCODER=PATH.",
    )
    precision: str = option(
        "float32",
        choices=("float32", "bfloat16", "float16"),
        help="In which the encoder computes; float16 only on a GPU, and only some encoders.",
    )
    mode: str = option(
        "exact",
        group="Speed",
        choices=("exact", "dense"),
        help="dense encodes each frame once and pools its feature maps over the crops: far faster, different features.",
    )
    engine: str = option(
        AUTO,
        group="Speed",
        choices=(AUTO, *ENGINES),
        help="What runs the encoder; auto is openvino for networks of Keras on a CPU, else keras, which means "
        "onnxruntime with onnx:FILE, and torch with timm:NAME and hub:DIR.",
    )
    batch_size: int | str = option(
        AUTO,
        least=1,
        form=functools.partial(_count_or, word=AUTO, meaning=AUTO),
        metavar="N|auto",
        help="Crops in one pass, at most; results differ by it in rounding. auto is 4 on a CPU, and on a GPU 20, 40 or "
        "100, by its memory.",
    )
    seed: int = option(0, least=0, help="Random seed of crops and colours.")

    def __repr__(self) -> str:
        return f"FeaturizeSettings(**{plain_options(self)})"

    def __post_init__(self) -> None:
        """Refuse settings that cannot be combined."""
        super().__post_init__()
        get_stain(self.stain)
        low, high = self.color_range
        if not 0 < low <= high:
            raise InputError(
                "{color_range} {} {}: give two positive factors, the lower one first", low, high
            )
        if self.pad != "none" and self.mode == "dense":
            raise InputError(
                "{pad:{}} goes with {mode:exact}; dense mode encodes frames as they are", self.pad
            )
        if self.precision == "float16" and self.crops == GRID and self.mode == "exact":
            raise InputError(
                Message("{precision:float16}: {crops:grid} goes with it only in {mode:dense}")
            )
        if not self.encoders or not self.views:
            raise InputError(Message("give at least one of {encoders} and one of {views}"))
        for choice in self.encoders:
            self._refuse_misfit(choice)

    def _refuse_misfit(self, choice: EncoderChoice) -> None:
        """Refuse an encoder that does not go with the mode, the weights or the views."""
        if self.mode == "dense" and not gives_maps(choice):
            raise InputError(
                "{mode:dense} pools feature maps, and {} gives vectors of crops; use {mode:exact}",
                choice.name,
            )
        if self.precision == "float16" and not is_folded(choice.name):
            raise InputError(
                "{precision:float16} goes with {}, and not with {}; use {precision:float32}",
                ", ".join(sorted(FOLDED)),
                choice,
            )
        least = LEAST_OF_PARTIAL.get(choice, 0)
        if least and self.mode == "dense":
            raise InputError(
                "{mode:dense}: {} looks at only a part of each crop, for which no window of a frame exists; use "
                "{mode:exact}, or resnet50",
                choice,
            )
        small = [view for view in self.views if view.crop < least]
        if small:
            raise InputError(
                "{views} {}: {} takes no crop under {} pixels", small[0], choice, least
            )
        if choice.brings_weights:
            weights = weights_of(self.weights, choice.label)
            if weights != "imagenet":
                text = "{weights} {}: {} brings its own; name the encoder that is meant, {weights:NAME={}}"
                raise InputError(text, weights, choice.name, weights)

    @property
    def changes_colours(self) -> bool:
        """Whether augmentations change the stain of an image."""
        return self.color_range != (1.0, 1.0)

    @property
    def description(self) -> CropDescription:
        """How crops are described, on a CPU, on a GPU and in heat maps."""
        return CropDescription(self.pad, self.crops_at_once, NORM, self.pool)

    @property
    def on_keras(self) -> bool:
        """Whether an encoder runs on a GPU if Keras finds one; False for ``auto``, which is not decided yet."""
        named = self.engine in ("keras", "torch")
        return named and any(choice.runner != "onnx" for choice in self.encoders)

    @property
    def crops_at_once(self) -> int:
        """Crops in one pass, at most (the batch size, or what ``auto`` means with this engine on this machine)."""
        if not isinstance(self.batch_size, str):
            return self.batch_size
        if not self.on_keras or not visible_gpus():
            return _CPU_CROPS
        memory = gpu_memory()
        if memory is None:
            return _UNKNOWN_GPU_CROPS
        largest = max(view.crop for view in self.views) ** 2 * _CROP_PIXEL_BYTES
        return next((crops for crops in _GPU_CROPS if crops * largest <= memory), _CPU_CROPS)

    @property
    def needs(self) -> tuple[View, ...]:
        """Views for which an image must be large enough; none if small images are padded."""
        if self.pad != "none":
            return ()
        return self.views


def images_per_block(settings: FeaturizeSettings) -> int:
    """Return the number of images in a unit: about ten seconds of work on one core, but at most 64 images.

    It does not depend on a measurement, because all shards divide the work alike.

    Examples
    --------
    >>> images_per_block(FeaturizeSettings())
    1
    """
    return max(1, min(_MOST_IMAGES, math.ceil(_UNIT_SECONDS / recorded_seconds(settings))))


def recorded_seconds(settings: FeaturizeSettings) -> float:
    """Return an estimate of the seconds that an image of BACH takes on the core on which speeds were recorded."""
    factors = [view.factor(BACH_MPP) for view in settings.views]
    crops = 0
    pixels = 0
    for factor, view in zip(factors, settings.views, strict=True):
        side = math.sqrt(_FRAME_PIXELS) * factor
        count = settings.crops or math.ceil(side / view.crop) ** 2
        crops += count
        pixels += count * view.crop**2
    if settings.mode == "dense":
        pixels = round(sum(_FRAME_PIXELS * factor**2 for factor in set(factors)))
    macs = 0.0
    for choice in settings.encoders:
        facts = encoder_facts(choice)
        if facts.macs_per_crop is None:
            macs += facts.macs_per_pixel * pixels
        else:
            macs += facts.macs_per_crop * crops
    return _IMAGE_SECONDS + settings.augmentations * (
        _AUGMENTATION_SECONDS + macs / _CORE_MACS_PER_SECOND
    )
