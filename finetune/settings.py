"""What a fine-tuning run is asked to do."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..arguments import as_text, as_texts, as_whole, convert_fields
from ..errors import InputError
from ..options import option
from ..stains import STAIN_METHODS
from .augment import OFFLINE, augmentation_ranges, plain_name
from .balance import SAMPLINGS
from .patches import PatchRule, parse_patches

OPTIMIZERS = ("adam", "sgd")
PRECISIONS = ("float32", "bfloat16", "float16")
"""In which a network computes; its weights are float32 (mixed precision)."""

CONVENTIONS = ("signed", "caffe")
"""RGB in -1..1; or BGR in 0..255 less the mean of ImageNet, as the published Caffe models have it."""

BATCH_NORMS = ("stored", "batch")
"""By what an encoder normalises while it trains: the means and variances of its weights, which stay as they are, with
their scales and offsets; or those of each batch, from which new ones follow. A few hundred images do not give new ones
that the other weights could be used with."""

TOPS = ("average", "conv")
"""What an encoder gets on its last feature map: the global average; or convolution, max pooling and ReLU, flattened, as
the published system ``inbreast-inception`` has it. A softmax over the classes follows either."""


_MOST_COPIES = 1000
"""Of an image in an epoch (ours)."""

_IN_FILES = {"learning_rate": "rate"}
"""Fields that files call otherwise: by the names that they had in 0.1."""


def as_stored(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of settings by the names that files have."""
    return {_IN_FILES.get(name, name): value for name, value in values.items()}


def as_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what files hold by the names of fields."""
    names = {stored: name for name, stored in _IN_FILES.items()}
    return {names.get(name, name): value for name, value in values.items()}


def _choice() -> Any:
    """Declare a field whose option stands for nothing where it is empty: for what the network has."""
    return option("", plain=lambda name: name or None, value=lambda name: name or "")


def _written(multipliers: Sequence[tuple[str, float]]) -> list[str]:
    return [f"{prefix}={factor}" for prefix, factor in multipliers]


def _pairs(texts: Sequence[str], *, name: str, form: str) -> tuple[tuple[str, float], ...]:
    """Read options such as ``CLASS=FACTOR``.

    Raises
    ------
    InputError
        Not written so.

    Examples
    --------
    >>> _pairs(["in situ=2.5"], name="copies", form="CLASS=FACTOR")
    (('in situ', 2.5),)
    """
    found = []
    for text in texts:
        key, _, factor = text.rpartition("=")
        try:
            found.append((key, float(factor)))
        except ValueError:
            raise InputError(f"`{name}` {text}: write it as {form}") from None
    return tuple(found)


def _factors(name: str, form: str, *, option_name: str = "") -> Any:
    """Declare a field of names and factors, whose option has them in this form."""
    return option((), name=option_name, plain=_written, value=functools.partial(_pairs, name=name, form=form))


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings that decide what is trained.

    Attributes
    ----------
    network : str
        Of `NETWORKS`, or an encoder with feature maps of ``bchisto encoder list``, which gets a top.
    name : str
        Added to the folder's name, so that settings of one network stand side by side in a run.
    size : int
        Side of the network's input, pixels; 0 for the network's own.
    patches : str
        See `parse_patches`.
    epochs, patience : int
        Most epochs, and epochs without a better validation loss after which training stops; of 0 all epochs are trained
        and the last weights kept, whatever the loss on the validation part.
    validation : bool
        Whether a part of the training images validates; without, all epochs are trained.
    batch_size : int
        0 for the network's own.
    optimizer : str
        ``adam``, ``sgd``, or empty for the network's own.
    learning_rate : float
        Learning rate; 0 for the network's own.
    multipliers : tuple of (str, float)
        Layer-name prefix and factor of the learning rate; the longest prefix that fits counts.
    dropout, l2 : float or None
        None for the network's own.
    top : str
        Of `TOPS`; of an encoder.
    freeze : str
        Of an encoder: the last layer that is not trained, or ``all``; empty trains all of it.
    batch_norm : str
        Of `BATCH_NORMS`, of an encoder; empty for ``stored`` where it begins with weights, and ``batch`` at random.
    weights : str
        ``imagenet``, ``random``, or a path; empty for ImageNet where it is an encoder, else random.
    fresh : tuple of str
        Of a network with weights from a file: layers whose name begins so start at random all the same.
    convention : str
        Of `CONVENTIONS`: what the first layer of AlexNet and GoogLeNet takes; empty for that of the weights file, which
        the names in it tell.
    precision : str
        Of `PRECISIONS`; empty for bfloat16 on GPUs that compute in it, and float32 elsewhere.
    sampling : str
        Of `SAMPLINGS`.
    copies : tuple of (str, float)
        Class, and how often each of its training images stands in an epoch, every time augmented by draws of its own;
        after `sampling`, and before classes are weighted. Not only whole numbers: see `copy_classes`.
    weighted : bool
        Whether classes are weighted in the loss.
    augmentations : tuple of str
        Of `AUGMENTATIONS`, with a range or without (``rotation:10``), and ``rotations-crops``.
    rotations, crops : int
        Under ``rotations-crops``: rotations of an image, and crops of each.
    stain : str
        Of `bchisto.stains.STAIN_METHODS`, applied before patches are cut.
    seed : int
    """

    network: str
    name: str = ""
    size: int = 0
    patches: str = "resize"
    epochs: int = 50
    patience: int = 8
    validation: bool = option(True, name="no_validation", plain=operator.not_, value=operator.not_)
    batch_size: int = 0
    optimizer: str = _choice()
    learning_rate: float = option(0.0, name="rate")
    multipliers: tuple[tuple[str, float], ...] = _factors("multipliers", "PREFIX=FACTOR", option_name="rate_multiplier")
    dropout: float | None = None
    l2: float | None = None
    top: str = "average"
    freeze: str = ""
    batch_norm: str = _choice()
    weights: str = ""
    fresh: tuple[str, ...] = ()
    convention: str = _choice()
    precision: str = _choice()
    sampling: str = "none"
    copies: tuple[tuple[str, float], ...] = _factors("copies", "CLASS=FACTOR")
    weighted: bool = option(False, name="class_weights")
    augmentations: tuple[str, ...] = option(("isometries",), name="augment")
    rotations: int = 5
    crops: int = 5
    stain: str = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        put = object.__setattr__
        convert_fields(self, fresh=as_texts, augmentations=as_texts)
        augmentation_ranges(self.augmentations)
        put(self, "augmentations", tuple(map(plain_name, self.augmentations)))
        convert_fields(self, weights=as_text)
        put(self, "multipliers", tuple(map(tuple, self.multipliers)))
        put(self, "copies", tuple((str(name), float(factor)) for name, factor in self.copies))
        for name, factor in self.copies:
            if not 1 <= factor <= _MOST_COPIES:
                raise InputError(
                    f"`copies` {name}={factor:g}: give 1 to {_MOST_COPIES:,}; `sampling` leaves images out"
                )
            if not name.strip():
                raise InputError(f"`copies` {name}={factor:g}: name the class before the =")
        if len({name for name, _ in self.copies}) < len(self.copies):
            raise InputError(f"`copies` {', '.join(_written(self.copies))}: name each class once")
        wholes = ("size", "epochs", "patience", "batch_size", "rotations", "crops", "seed")
        convert_fields(self, **dict.fromkeys(wholes, as_whole))
        if self.patience < 0:
            raise InputError(f"`patience` {self.patience}: give at least 0, which trains all epochs")
        for name in ("epochs", "rotations", "crops"):
            if (value := getattr(self, name)) < 1:
                raise InputError(f"`{name}` {value}: give at least 1")
        if self.learning_rate < 0 or self.batch_size < 0 or self.seed < 0:
            raise InputError("`learning_rate`, `batch_size` and `seed`: give numbers from 0 up")
        if self.size and self.size < 32:
            raise InputError(f"`size` {self.size}: give at least 32 pixels")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise InputError(f"`dropout` {self.dropout}: give a share below 1")
        if not re.fullmatch(r"[\w.+-]*", self.name):
            raise InputError(f"`name` {self.name}: becomes part of a folder's name; use letters, digits, - and _")
        for name, one, known in (
            ("optimizer", self.optimizer, ("", *OPTIMIZERS)),
            ("precision", self.precision, ("", *PRECISIONS)),
            ("sampling", self.sampling, SAMPLINGS),
            ("stain", self.stain, STAIN_METHODS),
            ("top", self.top, TOPS),
            ("batch_norm", self.batch_norm, ("", *BATCH_NORMS)),
            ("convention", self.convention, ("", *CONVENTIONS)),
        ):
            if one not in known:
                raise InputError(f"`{name}` {one}: choose one of {', '.join(filter(None, known))}")
        parse_patches(self.patches)

    @property
    def rule(self) -> PatchRule:
        """How an image becomes samples."""
        return parse_patches(self.patches)

    @property
    def made(self) -> int:
        """How many pictures ``rotations-crops`` makes of an image; one without."""
        return self.rotations * self.crops if OFFLINE in self.augmentations else 1

    @property
    def turned(self) -> bool:
        """Whether images are turned within their files before they are cut: ``rotations-crops`` of whole images."""
        return OFFLINE in self.augmentations and self.rule.kind == "resize"
