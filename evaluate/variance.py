"""How much of the spread of a cross-validated accuracy is seed, fold and split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .predictions import PredictionTable
from .wording import listed


def variance_split(members: Sequence[PredictionTable], *, splits: int = 1) -> dict[str, Any] | None:
    """Split the spread of an accuracy into what the seed, the fold and the split of the images make.

    Parameters
    ----------
    members : sequence of PredictionTable
        The same images and folds, predicted by models of one seed each.
    splits : int
        Of repeated cross-validation; each has as many folds, in the order of their numbers.

    Returns
    -------
    dict or None
        ``seeds``, ``folds`` (of a split) and ``splits``; ``seed``, the standard deviation of the accuracy over all
        folds from one seed to another; ``fold``, that of a fold's accuracy within a split; ``split``, that of the
        accuracy over all folds from one split to another. From the last two the part that the seeds make in a mean
        over them is taken away. None where there is but one of something; None in place of all for tables without
        folds.

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
    right = np.array([np.bincount(fold, table.predicted == table.labels) for table in members])
    rows = np.bincount(fold)
    seeds, folds = len(members), len(numbers) // splits
    of_fold = (right / rows).reshape(seeds, splits, folds)
    of_split = right.reshape(seeds, splits, folds).sum(axis=2) / rows.reshape(splits, folds).sum(axis=1)
    noise_of_fold = of_fold.var(axis=0, ddof=1).mean() if seeds > 1 else 0.0
    noise_of_split = of_split.var(axis=0, ddof=1).mean() if seeds > 1 else 0.0

    def rest(total: float, noise: float) -> float:
        return float(np.sqrt(max(0.0, total - noise / seeds)))

    return {
        "seeds": seeds,
        "folds": folds,
        "splits": splits,
        "seed": float(np.sqrt(noise_of_split)) if seeds > 1 else None,
        "fold": rest(of_fold.mean(axis=0).var(axis=1, ddof=1).mean(), noise_of_fold) if folds > 1 else None,
        "split": rest(of_split.mean(axis=0).var(ddof=1), noise_of_split) if splits > 1 else None,
    }


def spread_sentence(found: Mapping[str, Any]) -> str:
    """Say what `variance_split` found, in points."""
    of = {"seed": f"one of {found['seeds']} seeds to another", "fold": f"fold to fold of {found['folds']}"}
    of["split"] = f"one of {found['splits']} splits to another"
    parts = [f"{100 * found[name]:.1f} from {text}" for name, text in of.items() if found[name] is not None]
    return f"The spread of the accuracy (standard deviation, points) is {listed(parts)}."
