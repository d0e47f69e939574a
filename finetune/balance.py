"""Uneven classes: weights of the loss, and sampling of the training part."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import InputError

__all__ = ["SAMPLINGS", "class_weights", "sample_training"]

SAMPLINGS = ("none", "under", "over", "under-over")
"""Drop images of large classes to the size of the smallest; draw images of small classes again up to the size of the
largest; or meet at the geometric mean of the two. As in seed ``idc-patches``; where the third meets is ours."""

Indices = npt.NDArray[np.int64]


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
        raise InputError(
            f"class {int(np.flatnonzero(counts == 0)[0])} has no image in a training part; use fewer folds"
        )
    return {label: float(len(labels) / (classes * count)) for label, count in enumerate(counts)}


def sample_training(labels: Indices, *, method: str, seed: int) -> Indices:
    """Choose training images, as positions; some stand several times, or not at all.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        Of the training part alone: nothing is drawn from elsewhere.
    method : str
        Of `SAMPLINGS`.
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
        raise InputError(f"`method` {method}: choose one of {', '.join(SAMPLINGS)}")
    if method == "none":
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
