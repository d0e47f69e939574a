"""What a fine-tuning run is asked to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..arguments import as_text, as_texts, as_whole
from ..errors import InputError
from ..stains import STAIN_METHODS
from .augment import AUGMENTATIONS, OFFLINE
from .balance import SAMPLINGS
from .patches import PatchRule, parse_patches

__all__ = ["CONVENTIONS", "OPTIMIZERS", "PRECISIONS", "TOPS", "FinetuneSettings"]

OPTIMIZERS = ("adam", "sgd")
PRECISIONS = ("float32", "bfloat16", "float16")
"""Of computation; weights are float32 (mixed precision)."""

CONVENTIONS = ("signed", "caffe")
"""RGB in -1..1; or BGR in 0..255 less the mean of ImageNet, as the published Caffe models have it."""

TOPS = ("average", "conv")
"""What an encoder gets on its last feature map: the global average; or convolution, max pooling and ReLU, flattened, as
the system of seed ``inbreast-inception`` has it. A softmax over the classes follows either."""


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings that decide what is trained.

    Attributes
    ----------
    network : str
        Of `NETWORKS`, or an encoder of ``bchisto featurize --list-encoders``, which gets a top.
    name : str
        Added to the folder's name, so that settings of one network stand side by side in a run.
    size : int
        Side of the network's input, pixels; 0 for the network's own.
    patches : str
        See `parse_patches`.
    epochs, patience : int
        Most epochs, and epochs without a better validation loss after which training stops.
    validation : bool
        Whether a part of the training images validates; without, all epochs are trained.
    batch_size : int
        0 for the network's own.
    optimizer : str
        ``adam``, ``sgd``, or empty for the network's own.
    rate : float
        Learning rate; 0 for the network's own.
    multipliers : tuple of (str, float)
        Layer-name prefix and factor of the learning rate; the longest prefix that fits counts.
    dropout, l2 : float or None
        None for the network's own.
    top : str
        Of `TOPS`; of an encoder.
    freeze : str
        Of an encoder: the last layer that is not trained, or ``all``; empty trains all of it.
    weights : str
        ``imagenet``, ``random``, or a path; empty for ImageNet where it is an encoder, else random.
    fresh : tuple of str
        Of a network with weights from a file: layers whose name begins so start at random all the same.
    convention : str
        Of `CONVENTIONS`: what the first layer of AlexNet and GoogLeNet takes; empty for that of the weights file, which
        the names in it tell.
    precision : str
        Of `PRECISIONS`.
    sampling : str
        Of `SAMPLINGS`.
    weighted : bool
        Whether classes are weighted in the loss.
    augmentations : tuple of str
        Of `AUGMENTATIONS`, and ``rotations-crops``.
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
    validation: bool = True
    batch_size: int = 0
    optimizer: str = ""
    rate: float = 0.0
    multipliers: tuple[tuple[str, float], ...] = ()
    dropout: float | None = None
    l2: float | None = None
    top: str = "average"
    freeze: str = ""
    weights: str = ""
    fresh: tuple[str, ...] = ()
    convention: str = ""
    precision: str = "float32"
    sampling: str = "none"
    weighted: bool = False
    augmentations: tuple[str, ...] = ("isometries",)
    rotations: int = 5
    crops: int = 5
    stain: str = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name in ("fresh", "augmentations"):
            put(self, name, as_texts(getattr(self, name), name))
        put(self, "weights", as_text(self.weights, "weights"))
        for name in ("size", "epochs", "patience", "batch_size", "rotations", "crops", "seed"):
            put(self, name, as_whole(getattr(self, name), name))
        for option in ("epochs", "patience", "rotations", "crops"):
            if (value := getattr(self, option)) < 1:
                raise InputError(f"--{option} {value}: give at least 1")
        if self.rate < 0 or self.batch_size < 0 or self.seed < 0:
            raise InputError("--rate, --batch-size and --seed: give numbers from 0 up")
        if self.size and self.size < 32:
            raise InputError(f"--size {self.size}: give at least 32 pixels")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise InputError(f"--dropout {self.dropout}: give a share below 1")
        if not re.fullmatch(r"[\w.+-]*", self.name):
            raise InputError(f"--name {self.name}: becomes part of a folder's name; use letters, digits, - and _")
        for option, one, known in (
            ("optimizer", self.optimizer, ("", *OPTIMIZERS)),
            ("precision", self.precision, PRECISIONS),
            ("sampling", self.sampling, SAMPLINGS),
            ("stain", self.stain, STAIN_METHODS),
            ("top", self.top, TOPS),
            ("convention", self.convention, ("", *CONVENTIONS)),
            *(("augment", name, (*AUGMENTATIONS, OFFLINE)) for name in self.augmentations),
        ):
            if one not in known:
                raise InputError(f"--{option} {one}: choose one of {', '.join(filter(None, known))}")
        parse_patches(self.patches)

    @property
    def rule(self) -> PatchRule:
        """How an image becomes samples."""
        return parse_patches(self.patches)
