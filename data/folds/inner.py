"""Folds inside a training part, for whoever chooses or stops by images that do not train."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def inner_splits(
    labels: Indices, groups: Sequence[str | None], *, count: int, seed: int
) -> list[tuple[Indices, Indices]]:
    """Split training images again, groups whole where all are known.

    Parameters
    ----------
    labels : ndarray of int, shape (images,)
    groups : sequence of str or None
    count : int
        Folds; fewer where a class has fewer images, or there are fewer groups.
    seed : int

    Returns
    -------
    list of (ndarray, ndarray)
        Positions of images that train and that are held out. A split whose training side lacks a class is left out, so
        there may be none.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    grouped = all(group is not None for group in groups)
    units = len(set(groups)) if grouped else len(labels)
    count = min(count, int(np.bincount(labels)[np.unique(labels)].min()), units)
    if count < 2:
        return []
    splitter = (StratifiedGroupKFold if grouped else StratifiedKFold)(count, shuffle=True, random_state=seed)
    owners = np.array([str(group) for group in groups]) if grouped else None
    wanted = set(labels.tolist())
    return [
        (train, held)
        for train, held in splitter.split(np.zeros(len(labels)), labels, owners)
        if len(held) and set(labels[train].tolist()) == wanted
    ]
