"""The table of the paper: accuracy per fold, a row per store and one for the fusion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .latex import write_table
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

    @property
    def std(self) -> float:
        """Population standard deviation over folds."""
        return float(np.std(self.per_fold))


@dataclass(frozen=True)
class PaperTable:
    """Rows of the table and its folds.

    Attributes
    ----------
    folds : list of int
    rows : list of PaperRow
        The fusion is the last.
    noted : frozenset of int
        Folds that hardly trained on a class; a terminal and a report mark them with a star.
    """

    folds: list[int]
    rows: list[PaperRow]
    noted: frozenset[int] = frozenset()

    @classmethod
    def read(cls, content: Mapping[str, Any], *, noted: Iterable[int] = ()) -> PaperTable:
        """Make the table from what `content` gave."""
        rows = [PaperRow(row["name"], row["per_fold"], row["averaged"]) for row in content["rows"]]
        return cls(list(content["folds"]), rows, frozenset(noted))

    def content(self) -> dict[str, Any]:
        """Return the table JSON-ready, in full precision."""
        return {"folds": self.folds, "rows": [asdict(row) for row in self.rows]}

    def header(self) -> list[str]:
        """Column names."""
        return ["", *(f"f{fold}" for fold in self.folds), "mean", "std", "seed avg"]

    def shown_header(self) -> list[str]:
        """Column names with a star at each fold that hardly trained on a class."""
        starred = [f"f{fold}*" if fold in self.noted else f"f{fold}" for fold in self.folds]
        return ["", *starred, *self.header()[1 + len(self.folds) :]]

    def cells(self) -> list[list[str]]:
        """Cells in percent, one list a row; one fold has no spread."""
        result = []
        for row in self.rows:
            average = "" if row.averaged is None else f"{100 * np.mean(row.averaged):.1f}"
            spread = f"{100 * row.std:.1f}" if len(self.folds) > 1 else ""
            result.append([row.name, *(f"{100 * value:.1f}" for value in (*row.per_fold, row.mean)), spread, average])
        return result

    def text(self) -> str:
        """The table for a terminal."""
        lines = [self.shown_header(), *self.cells()]
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        rendered = [
            "  ".join(
                cell.ljust(width) if place == 0 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        rule = "-" * max(map(len, rendered))
        return "\n".join([rendered[0], rule, *rendered[1:-1], rule, rendered[-1]])

    def write(self, path: Path) -> None:
        """Write the table in percent as CSV, and as LaTeX beside it."""
        header = ["model", *self.header()[1:]]
        write_table(path, header, self.cells())


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
        PaperRow(
            name,
            np.mean([fold_accuracies(t) for t in tables], axis=0).tolist(),
            fold_accuracies(averaged[name]),
        )
        for name, tables in by_seed.items()
    ]
    rows.append(PaperRow("Model fusion", fold_accuracies(fusion), None))
    return PaperTable(fusion.fold_numbers, rows, frozenset(note.fold for note in fusion.fold_notes))
