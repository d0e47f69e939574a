"""Balance uneven classes: weights of the loss, sampling of training images, and repeated images of a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core import InputError
from .patches import Indices

BEFORE = "under-before"
"""Undersample the whole set before it is split, test images included.

The published system ``idc-patches`` does not describe its split."""

SAMPLINGS = ("none", "under", "over", "under-over", BEFORE)
"""Sampling methods.

``under`` drops images of larger classes down to the smallest class; ``over`` repeats images of smaller classes up to
the largest; ``under-over`` does both to reach the geometric mean of the two. They follow the published system
``idc-patches``; the geometric mean is bchisto's choice. All except ``under-before`` change only the training images."""

_COPIES = 1
"""Second seed of `copy_classes`, so that its random numbers differ from those of `sample_training`."""


def class_weights(labels: Indices, *, classes: int) -> dict[int, float]:
    """Return weights that give each class an equal part in the loss: images / (classes x images of the class).

    This is the formula of scikit-learn's ``class_weight="balanced"``.

    Raises
    ------
    InputError
        A class has no images.
    """
    counts = np.bincount(labels, minlength=classes)
    if (counts == 0).any():
        raise InputError(f"class {counts.argmin()} has no image in a training part; add images of it")
    return {label: float(len(labels) / (classes * count)) for label, count in enumerate(counts)}


def sample_training(labels: Indices, *, method: str, seed: int) -> Indices:
    """Return positions of training images, sampled so that classes are balanced. Images may be dropped or repeated.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        Classes of the training images.
    method : str
        One of `SAMPLINGS`. ``under-before`` has no effect here.
    seed : int

    Returns
    -------
    ndarray of int
        Ascending.

    Raises
    ------
    InputError
        There is no such method.
    """
    if method not in SAMPLINGS:
        raise InputError("{method} {}: choose one of {}", method, ", ".join(SAMPLINGS))
    if method in ("none", BEFORE):
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    present, counts = np.unique(labels, return_counts=True)
    smallest, largest = int(counts.min()), int(counts.max())
    target = {"under": smallest, "over": largest, "under-over": round(float(np.sqrt(smallest * largest)))}[method]
    chosen = []
    for label in present:
        inside = np.flatnonzero(labels == label)
        if len(inside) >= target:
            chosen.append(rng.choice(inside, target, replace=False))
        else:  # every image at least once
            chosen.append(np.concatenate([inside, rng.choice(inside, target - len(inside), replace=True)]))
    return np.sort(np.concatenate(chosen))


def class_factors(copies: Sequence[tuple[str, float]], classes: Sequence[str]) -> tuple[float, ...]:
    """Return how often an image of each class is used in an epoch, in the order of classes; empty if none is named.

    Raises
    ------
    InputError
        There is no such class.
    """
    named = dict(copies)
    if unknown := [name for name in named if name not in classes]:
        raise InputError("{copies} {}: no such class; choose among {}", unknown[0], ", ".join(classes))
    return tuple(named.get(name, 1.0) for name in classes) if named else ()


def copy_classes(labels: Indices, *, factors: Sequence[float], seed: int) -> Indices:
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
    rng = np.random.default_rng([seed, _COPIES])
    drawn = [rng.permutation(np.flatnonzero(labels == label)) for label in range(len(factors))]
    repeated = [np.resize(each, round(len(each) * factor)) for each, factor in zip(drawn, factors, strict=True)]
    return np.sort(np.concatenate(repeated))
