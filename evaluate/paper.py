"""The table of the paper: accuracy per fold of each store and of the fusion; and its spread by seed, fold and split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core import listed
from ..core.jobs import write_rows
from .metrics import fold_accuracies
from .predictions import PredictionTable


@dataclass(frozen=True)
class PaperRow:
    """Accuracies of one row, as shares.

    Attributes
    ----------
    name : str
    per_fold : list of float
        For a store the mean over seeds of the fold accuracy, as published; for the fusion its fold accuracy.
    averaged : list of float or None
        Fold accuracies of the prediction averaged over seeds; None for the fusion.
    """

    name: str
    per_fold: list[float]
    averaged: list[float] | None

    @property
    def mean(self) -> float:
        """Mean over folds."""
        return float(np.mean(self.per_fold))


@dataclass(frozen=True)
class PaperTable:
    """Rows of the table and its folds.

    Attributes
    ----------
    folds : list of int
    rows : list of PaperRow
        The fusion is the last.
    """

    folds: list[int]
    rows: list[PaperRow]

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> PaperTable:
        """Make the table from what `content` gave."""
        return cls(list(content["folds"]), [PaperRow(**row) for row in content["rows"]])

    def content(self) -> dict[str, Any]:
        """Return the table JSON-ready, in full precision."""
        return asdict(self)

    def header(self, first: str = "") -> list[str]:
        """Return the column names; `first` is that of the names of the rows."""
        return [first, *(f"f{fold}" for fold in self.folds), "mean", "std", "seed avg"]

    def cells(self) -> list[list[str]]:
        """Cells in percent, one list a row; one fold has no spread."""
        result = []
        for row in self.rows:
            average = "" if row.averaged is None else f"{100 * np.mean(row.averaged):.1f}"
            spread = f"{100 * np.std(row.per_fold):.1f}" if len(self.folds) > 1 else ""
            result.append([row.name, *(f"{100 * value:.1f}" for value in (*row.per_fold, row.mean)), spread, average])
        return result

    def write(self, path: Path) -> None:
        """Write the table in percent as CSV."""
        write_rows(path, self.header("model"), self.cells())


def paper_table(
    by_seed: Mapping[str, Sequence[PredictionTable]],
    averaged: Mapping[str, PredictionTable],
    fusion: PredictionTable,
) -> PaperTable:
    """Make the table.

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
    rows = [
        PaperRow(name, np.mean([fold_accuracies(t) for t in tables], axis=0).tolist(), fold_accuracies(averaged[name]))
        for name, tables in by_seed.items()
    ]
    rows.append(PaperRow("Model fusion", fold_accuracies(fusion), None))
    return PaperTable(fusion.fold_numbers, rows)


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


def spread_sentence(spread: Mapping[str, Any]) -> str:
    """Return the result of `variance_split` as text, in percentage points."""
    of = {"seed": f"one of {spread['seeds']} seeds to another", "fold": f"fold to fold of {spread['folds']}"}
    of["split"] = f"one of {spread['splits']} splits to another"
    parts = [f"{100 * spread[name]:.1f} from {text}" for name, text in of.items() if spread[name] is not None]
    return f"The spread of the accuracy (standard deviation, points) is {listed(parts)}."
