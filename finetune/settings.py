"""Settings of a fine-tuning, and how uneven classes are balanced."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core import IN_FILE, InputError, Parameter, Settings, Texts, converted, items_of, option
from ..core.formats import Integers
from ..evaluate import call_option
from ..stains import STAIN_METHODS, get_stain, list_stains
from .samples import NAMES, OFFLINE, RANGES, PatchRule, augmentation_ranges, parse_patches

SAMPLINGS = ("none", "under", "over", "under-over")
"""Sampling methods.

``under`` drops images of larger classes down to the smallest class; ``over`` repeats images of smaller classes up to
the largest; ``under-over`` does both to reach the geometric mean of the two. They follow the published system
``idc-patches``; the geometric mean is bchisto's choice."""


def class_weights(labels: Integers, *, classes: int) -> dict[int, float]:
    """Return weights that give each class an equal part in the loss: images / (classes x images of the class).

    This is the formula of scikit-learn's ``class_weight="balanced"``.

    Raises
    ------
    InputError
        A class has no images.
    """
    counts = np.bincount(labels, minlength=classes)
    if (counts == 0).any():
        raise InputError(
            f"class {counts.argmin()} has no image in a training part; add images of it"
        )
    return {label: float(len(labels) / (classes * count)) for label, count in enumerate(counts)}


def sample_training(labels: Integers, *, method: str, seed: int) -> Integers:
    """Return positions of training images, sampled so that classes are balanced. Images may be dropped or repeated.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        Classes of the training images.
    method : str
        One of `SAMPLINGS`.
    seed : int

    Returns
    -------
    ndarray of int
        Ascending.
    """
    if method == "none":
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    present, counts = np.unique(labels, return_counts=True)
    smallest = int(counts.min())
    largest = int(counts.max())
    target = {
        "under": smallest,
        "over": largest,
        "under-over": round(float(np.sqrt(smallest * largest))),
    }[method]
    selections = []
    for label in present:
        positions = np.flatnonzero(labels == label)
        if len(positions) >= target:
            selections.append(rng.choice(positions, target, replace=False))
        else:
            # every image at least once
            extra = rng.choice(positions, target - len(positions), replace=True)
            selections.append(np.concatenate([positions, extra]))
    return np.sort(np.concatenate(selections))


def class_factors(copies: Sequence[tuple[str, float]], classes: Sequence[str]) -> tuple[float, ...]:
    """Return how often an image of each class is used in an epoch, in the order of classes; empty if none is named.

    Raises
    ------
    InputError
        There is no such class.
    """
    factors = dict(copies)
    for name in factors:
        if name not in classes:
            raise InputError(
                "{copies} {}: no such class; choose among {}", name, ", ".join(classes)
            )
    if not factors:
        return ()
    return tuple(factors.get(name, 1.0) for name in classes)


def copy_classes(labels: Integers, *, factors: Sequence[float], seed: int) -> Integers:
    """Return positions of training images, repeated by a factor for each class.

    The number of images of a class becomes that number times the factor, rounded. If it is not a multiple, the seed
    decides which images are used once more.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
    factors : sequence of float
        Factor of each class, at least 1. If empty, every image is used once.
    seed : int

    Returns
    -------
    ndarray of int
        Ascending.
    """
    if not factors:
        return np.arange(len(labels))
    rng = np.random.default_rng([seed, 1])  # other numbers than those of `sample_training`
    orders = [rng.permutation(np.flatnonzero(labels == label)) for label in range(len(factors))]
    repeated = [
        np.resize(positions, round(len(positions) * factor))
        for positions, factor in zip(orders, factors, strict=True)
    ]
    return np.sort(np.concatenate(repeated))


_MOST_COPIES = 1000
"""Largest number of uses of an image in an epoch."""


def _written(multipliers: Sequence[tuple[str, float]]) -> list[str]:
    return [f"{prefix}={factor}" for prefix, factor in multipliers]


def _as_factors(value: Any, name: str) -> tuple[tuple[str, float], ...]:
    """Return pairs of name and factor. Texts of the form ``NAME=FACTOR`` are parsed.

    Raises
    ------
    InputError
        An item has another form.

    Examples
    --------
    >>> _as_factors(["in situ=2.5"], "copies")
    (('in situ', 2.5),)
    """
    pairs = []
    for item in items_of(value):
        pair = item.rpartition("=")[::2] if isinstance(item, str) else item
        try:
            key, factor = pair
            pairs.append((str(key), float(factor)))
        except (TypeError, ValueError):
            raise InputError("{} {}: write it as NAME=FACTOR", Parameter(name), item) from None
    return tuple(pairs)


def _as_augmentations(value: Any, name: str) -> tuple[str, ...]:
    """Return augmentations as they are written in files: with a range only if it is not the default.

    Examples
    --------
    >>> _as_augmentations(("mirror", "rotation:15", "noise:0.10"), "augmentations")
    ('mirror', 'rotation', 'noise:0.1')
    """
    ranges = augmentation_ranges(
        [text for text in converted(value, name, tuple[str, ...]) if text != "none"]
    )
    return tuple(
        name if value == RANGES.get(name) else f"{name}:{value:g}" for name, value in ranges.items()
    )


@dataclass(frozen=True)
class FinetuneSettings(Settings):
    """Settings of fine-tuning: network, training, augmentation, stain treatment and seed."""

    network: str = option(
        group="Training",
        help="ddsm-baseline, alexnet, googlenet, patch-resnet, patch-densenet, breakhis-resnet (or with -kernel3, "
        "-stride2, -doubled, -two-pools, -dropout), or an encoder of `bchisto encoder`, which gets a head.",
    )
    name: str = option(
        "",
        group=IN_FILE,
        decides=False,
        help="Added to the folder's name, for several settings of one network.",
    )
    size: int = option(
        0, group="Training", help="Side of the input, pixels; default: the network's own."
    )
    patches: str = option(
        "resize",
        group="Training",
        metavar="resize|random:SIDE[:COUNT]|sliding:SIDE[:OVERLAP]",
        help="The whole image, or squares cut from it at full resolution.",
    )
    epochs: int = option(50, group="Training", least=1, help="Epochs, at most.")
    patience: int = option(
        8, group="Training", least=0, help="Epochs without a better validation loss; 0: all epochs."
    )
    validation: bool = option(
        True,
        group=IN_FILE,
        help="Set training images aside that decide when to stop; without: all epochs.",
    )
    batch_size: int = option(0, least=0, help="Images of a batch; default: the network's own.")
    optimizer: str = option(
        "", group=IN_FILE, choices=("adam", "sgd"), help="Optimiser; default: the network's own."
    )
    learning_rate: float = option(
        0.0, group="Training", least=0, help="Learning rate; default: the network's own."
    )
    rate_multipliers: tuple[tuple[str, float], ...] = option(
        (),
        group=IN_FILE,
        flag="rate-multiplier",
        metavar="PREFIX=FACTOR",
        form=_as_factors,
        plain=_written,
        help="Factor of the learning rate of layers whose name begins so; the longest prefix counts.",
    )
    dropout: float | None = option(
        None, group=IN_FILE, help="Fraction dropped; default: the network's own."
    )
    l2: float | None = option(
        None, group=IN_FILE, help="Weight of the L2 penalty; default: the network's own."
    )
    norm_momentum: float | None = option(
        None, group=IN_FILE, help="Momentum of batch normalisation; default: the network's own."
    )
    freeze: str = option(
        "", metavar="LAYER|all", help="Encoders: the last layer that is not trained; default: none."
    )
    top: str = option(
        "average",
        group=IN_FILE,
        choices=("average", "conv"),
        help="Encoders: global average, or convolution and max pooling.",
    )
    weights: str = option(
        "",
        group="Training",
        help="imagenet (encoders; their default), random, or PATH: .h5 of an encoder; .npz, .safetensors or "
        "Caffe's .caffemodel of the other networks.",
    )
    fresh: Texts = option(
        (), group=IN_FILE, metavar="PREFIX", help="Layers that start at random whatever the file."
    )
    convention: str = option(
        "",
        group=IN_FILE,
        choices=("signed", "caffe"),  # RGB; BGR, as in the published Caffe models
        help="AlexNet, GoogLeNet: input in -1..1, or BGR less the mean; default: as the weights file needs.",
    )
    precision: str = option(
        "",
        group=IN_FILE,
        choices=("float32", "bfloat16", "float16"),
        help="Of computation, not of weights; default: bfloat16 on GPUs that compute in it, else float32.",
    )
    class_weights: bool = option(
        False, group="Training", help="Give each class the same share of the loss."
    )
    sampling: str = option(
        "none", choices=SAMPLINGS, help="How the training part is balanced; no other part is."
    )
    copies: tuple[tuple[str, float], ...] = option(
        (),
        group=IN_FILE,
        metavar="CLASS=FACTOR",
        form=_as_factors,
        plain=_written,
        help="Use each training image of this class FACTOR times in an epoch, augmented differently each time.",
    )
    augmentations: Texts = option(
        ("isometries",),
        group="Training",
        flag="augmentation",
        metavar="NAME[:RANGE]|none",
        form=_as_augmentations,
        help=f"Of training images: {', '.join(NAMES)}. How far may follow, by default "
        f"{', '.join(f'{name}:{value:g}' for name, value in RANGES.items())}.",
    )
    rotations: int = option(5, group=IN_FILE, least=1, help=f"Rotations of an image, by {OFFLINE}.")
    crops: int = option(5, group=IN_FILE, least=1, help=f"Crops of each rotation, by {OFFLINE}.")
    stain: str = option(
        "none",
        choices=STAIN_METHODS,
        more=list_stains,
        help="Normalisation or treatment, before patches are cut.",
    )
    call: str = call_option()
    seed: int = option(0, least=0, help="Random seed of folds, weights and augmentation.")

    def __post_init__(self) -> None:
        """Refuse values that are out of range."""
        super().__post_init__()
        get_stain(self.stain)
        for name, factor in self.copies:
            if not 1 <= factor <= _MOST_COPIES:
                raise InputError(
                    "{copies} {}={:g}: give 1 to {:,}; {sampling} omits images",
                    name,
                    factor,
                    _MOST_COPIES,
                )
        if len(dict(self.copies)) < len(self.copies):
            raise InputError("{copies} {}: name each class once", ", ".join(_written(self.copies)))
        if self.size and self.size < 32:
            raise InputError("{size} {}: give at least 32 pixels", self.size)
        for name, share in (("dropout", self.dropout), ("norm_momentum", self.norm_momentum)):
            if share is not None and not 0 <= share < 1:
                raise InputError("{} {}: give a fraction below 1", Parameter(name), share)
        if not re.fullmatch(r"[\w.+-]*", self.name):
            raise InputError(
                "{name} {}: becomes part of a folder's name; use letters, digits, - and _",
                self.name,
            )
        if self.turned and self.rule.kind != "resize":
            raise InputError(
                "{augmentations:{}}: goes with {patches:resize}, not {}", OFFLINE, self.patches
            )

    @property
    def by_share(self) -> bool:
        """Whether classes are called by their shares in training, unless these were balanced."""
        is_balanced = self.class_weights or self.sampling != "none" or bool(self.copies)
        return self.call == "share" and not is_balanced

    @property
    def rule(self) -> PatchRule:
        """The rule by which an image is divided into patches."""
        return parse_patches(self.patches)

    @property
    def offline_copies(self) -> int:
        """Number of variants of an image by ``rotations-crops``; 1 without it."""
        return self.rotations * self.crops if self.turned else 1

    @property
    def turned(self) -> bool:
        """Whether whole images are rotated within their files before they are cut out, by ``rotations-crops``."""
        return OFFLINE in self.augmentations
