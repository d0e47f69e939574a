"""The parts of the spread of an accuracy: seeds, folds, and splits of the images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .intervals import Entry
from .predictions import PredictionTable


def variance_split(members: Sequence[PredictionTable], *, splits: int = 1) -> Entry | None:
    """Split the spread of an accuracy into the parts of the seed, the fold, and the split of the images.

    Parameters
    ----------
    members : sequence of PredictionTable
        The same images and folds, predicted by models of one seed each.
    splits : int
        Number of splits of repeated cross-validation; each has as many folds, in the order of their numbers.

    Returns
    -------
    dict or None
        ``seeds``, ``folds`` (of a split) and ``splits``; ``seed``, the standard deviation of the accuracy over all
        folds from one seed to another; ``fold``, that of a fold's accuracy within a split; ``split``, that of the
        accuracy over all folds from one split to another. The last two are without the noise that seeds leave in a
        mean over them. Each is None if there is only one of its kind; the result is None for tables without folds.

    References
    ----------
    Searle, Casella & McCulloch 1992, ch. 3 (components by their expected mean squares); Bouthillier et al. 2021 for the
    sources.
    """
    first = members[0]
    numbers = first.fold_numbers
    if not numbers or len(numbers) % splits:
        return None
    fold = np.searchsorted(numbers, first.fold_array)
    right = np.array([np.bincount(fold, table.hits) for table in members])
    rows = np.bincount(fold)
    seeds, folds = len(members), len(numbers) // splits
    fold_accuracy = (right / rows).reshape(seeds, splits, folds)
    split_accuracy = right.reshape(seeds, splits, folds).sum(axis=2) / rows.reshape(
        splits, folds
    ).sum(axis=1)
    noise_of_fold = 0.0
    noise_of_split = 0.0
    if seeds > 1:
        noise_of_fold = fold_accuracy.var(axis=0, ddof=1).mean()
        noise_of_split = split_accuracy.var(axis=0, ddof=1).mean()

    def without_noise(variance: float, noise: float) -> float:
        """Return the standard deviation without the noise that seeds leave in a mean over them."""
        return float(np.sqrt(max(0.0, variance - noise / seeds)))

    split: Entry = {"seeds": seeds, "folds": folds, "splits": splits}
    split |= {"seed": None, "fold": None, "split": None}
    if seeds > 1:
        split["seed"] = float(np.sqrt(noise_of_split))
    if folds > 1:
        variance = fold_accuracy.mean(axis=0).var(axis=1, ddof=1).mean()
        split["fold"] = without_noise(variance, noise_of_fold)
    if splits > 1:
        split["split"] = without_noise(split_accuracy.mean(axis=0).var(ddof=1), noise_of_split)
    return split
