"""The table of a paper, and the parts of the spread of an accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .intervals import Entry
from .metrics import fold_accuracies
from .predictions import PredictionTable


@dataclass(frozen=True)
class PaperTable:
    """The table of a paper: its rows and folds.

    Attributes
    ----------
    folds : list of int
    rows : list of dict
        Accuracies as shares: ``name``; ``per_fold``, the accuracy of each fold, for a store the mean over seeds, as
        published, and for the fusion, the last row, its own; ``averaged``, the accuracy of each fold of the prediction
        averaged over seeds, None for the fusion.
    """

    folds: list[int]
    rows: list[Entry]

    def lines(self) -> list[list[str]]:
        """Return the header, and cells in percent, one list a row; one fold has no spread."""
        lines = [["model", *(f"f{fold}" for fold in self.folds), "mean", "std", "seed avg"]]
        for row in self.rows:
            shares = row["per_fold"]
            cells = [f"{100 * value:.1f}" for value in (*shares, float(np.mean(shares)))]
            std = f"{100 * np.std(shares):.1f}" if len(self.folds) > 1 else ""
            averaged = ""
            if row["averaged"] is not None:
                averaged = f"{100 * np.mean(row['averaged']):.1f}"
            lines.append([row["name"], *cells, std, averaged])
        return lines


def paper_table(
    by_seed: Mapping[str, Sequence[PredictionTable]],
    averaged: Mapping[str, PredictionTable],
    fusion: PredictionTable,
) -> PaperTable:
    """Make the table of a paper.

    Parameters
    ----------
    by_seed : dict
        Store name to one table per seed.
    averaged : dict
        Store name to the table of the seed average.
    fusion : PredictionTable
        Mean over stores, seeds and augmentations.

    Returns
    -------
    PaperTable

    References
    ----------
    Rakhlin et al. 2018, Table 1.
    """
    rows = []
    for name, tables in by_seed.items():
        mean = np.mean([fold_accuracies(table) for table in tables], axis=0).tolist()
        rows.append({"name": name, "per_fold": mean, "averaged": fold_accuracies(averaged[name])})
    rows.append({"name": "Model fusion", "per_fold": fold_accuracies(fusion), "averaged": None})
    return PaperTable(fusion.fold_numbers, rows)


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
