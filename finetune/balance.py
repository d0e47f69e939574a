"""Uneven classes: weights of the loss, sampling of the training part, and copies of the images of a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core import InputError
from .patches import Indices

BEFORE = "under-before"
"""The whole set is undersampled before it is split, and what is tested with it; seed ``idc-patches`` names no split."""

SAMPLINGS = ("none", "under", "over", "under-over", BEFORE)
"""Drop images of large classes to the size of the smallest; draw images of small classes again up to the size of the
largest; or meet at the geometric mean of the two. As in seed ``idc-patches``; where the third meets is ours. Of the
training part alone, but for the last."""

_COPIES = 1
"""Keeps the stream of `copy_classes` apart from that of `sample_training`."""


def class_weights(labels: Indices, *, classes: int) -> dict[int, float]:
    """Return weights that give each class the same share of the loss: images / (classes x images of the class).

    The formula of scikit-learn's ``class_weight="balanced"``.

    Raises
    ------
    InputError
        A class has no image.
    """
    counts = np.bincount(labels, minlength=classes)
    if (counts == 0).any():
        raise InputError(f"class {counts.argmin()} has no image in a training part; use fewer folds")
    return {label: float(len(labels) / (classes * count)) for label, count in enumerate(counts)}


def sample_training(labels: Indices, *, method: str, seed: int) -> Indices:
    """Choose training images, as positions; some stand several times, or not at all.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        Of the training part alone: nothing is drawn from elsewhere.
    method : str
        Of `SAMPLINGS`; the last changes nothing here.
    seed : int

    Returns
    -------
    ndarray of int
        Ascending.

    Raises
    ------
    InputError
        No such method.
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
    """Return how often an image of each class stands in an epoch, in the order of classes; none if no class is named.

    Raises
    ------
    InputError
        No such class.
    """
    named = dict(copies)
    if strange := [name for name in named if name not in classes]:
        raise InputError("{copies} {}: no such class; choose among {}", strange[0], ", ".join(classes))
    return tuple(named.get(name, 1.0) for name in classes) if named else ()


def copy_classes(labels: Indices, *, factors: Sequence[float], seed: int) -> Indices:
    """Repeat training images by their class, as positions.

    The images of a class are as many afterwards as their number times the factor, rounded. Where they do not share that
    evenly, the seed chooses those with one copy more.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
    factors : sequence of float
        From 1, of each class; without any, every image stands once.
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
