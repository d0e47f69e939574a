"""What a fine-tuning run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError
from ..stains import STAIN_METHODS
from .augment import AUGMENTATIONS
from .balance import SAMPLINGS

__all__ = ["FinetuneSettings"]


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings that decide what is trained.

    Attributes
    ----------
    network : str
        Of `NETWORKS`, or an encoder of ``bchisto featurize --list-encoders``, which gets a head.
    size : int
        Side of the network's input, pixels; 0 for the network's own.
    epochs, patience : int
        Most epochs, and epochs without a better validation loss after which training stops.
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
    freeze : str
        Of an encoder: the last layer that is not trained, or ``all``; empty trains all of it.
    weights : str
        Of an encoder: ``imagenet``, ``random``, or a path.
    sampling : str
        Of `SAMPLINGS`.
    weighted : bool
        Whether classes are weighted in the loss.
    augmentations : tuple of str
        Of `AUGMENTATIONS`.
    stain : str
        Of `bchisto.stains.STAIN_METHODS`, applied before images are resized.
    seed : int
    """

    network: str
    size: int = 0
    epochs: int = 50
    patience: int = 8
    batch_size: int = 0
    optimizer: str = ""
    rate: float = 0.0
    multipliers: tuple[tuple[str, float], ...] = ()
    dropout: float | None = None
    l2: float | None = None
    freeze: str = ""
    weights: str = "imagenet"
    sampling: str = "none"
    weighted: bool = False
    augmentations: tuple[str, ...] = ("isometries",)
    stain: str = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        for option, value in (("epochs", self.epochs), ("patience", self.patience)):
            if value < 1:
                raise InputError(f"--{option} {value}: give at least 1")
        if self.rate < 0 or self.batch_size < 0 or self.seed < 0:
            raise InputError("--rate, --batch-size and --seed: give numbers from 0 up")
        if self.size and self.size < 32:
            raise InputError(f"--size {self.size}: give at least 32 pixels")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise InputError(f"--dropout {self.dropout}: give a share below 1")
        for option, one, known in (
            ("optimizer", self.optimizer, ("", "adam", "sgd")),
            ("sampling", self.sampling, SAMPLINGS),
            ("stain", self.stain, STAIN_METHODS),
            *(("augment", name, AUGMENTATIONS) for name in self.augmentations),
        ):
            if one not in known:
                raise InputError(f"--{option} {one}: choose one of {', '.join(filter(None, known))}")
