"""The protocol gap: the same models under several fold protocols, in neighbouring columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .latex import write_table
from .paper import PaperTable


@dataclass(frozen=True)
class ProtocolGap:
    """Accuracy of each model under each protocol.

    Attributes
    ----------
    protocols : dict of str to str
        Name to one sentence on what it assumes.
    rows : dict of str to list of (mean, spread) or None
        Model to its accuracy over folds under each protocol, as shares; None where it was not trained there. One fold
        has no spread.
    """

    protocols: dict[str, str]
    rows: dict[str, list[tuple[float, float | None] | None]]

    def header(self) -> list[str]:
        """Column names."""
        return ["model", *self.protocols]

    def cells(self) -> list[list[str]]:
        """Cells in percent, mean ± spread over folds, one list a row."""
        return [
            [name, *("–" if value is None else _mean_spread(*value) for value in values)]
            for name, values in self.rows.items()
        ]

    def write(self, path: Path) -> None:
        """Write the table as CSV (shares, in full) and as LaTeX (percent) beside it."""
        flat = [
            [name, protocol, *("" if share is None else share for share in value or (None, None))]
            for name, values in self.rows.items()
            for protocol, value in zip(self.protocols, values, strict=True)
        ]
        columns = ["model", "protocol", "accuracy_mean", "accuracy_std"]
        write_table(path, columns, flat, shown=(self.header(), self.cells()))


def _mean_spread(mean: float, spread: float | None) -> str:
    return f"{100 * mean:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


def protocol_gap(found: Sequence[tuple[str, str, PaperTable]], *, sentences: Mapping[str, str]) -> ProtocolGap | None:
    """Put protocols side by side.

    Parameters
    ----------
    found : sequence of (protocol, head, PaperTable)
    sentences : mapping
        Protocol to what it assumes.

    Returns
    -------
    ProtocolGap or None
        None with fewer than two protocols.
    """
    protocols = list(dict.fromkeys(protocol for protocol, _, _ in found))
    if len(protocols) < 2:
        return None
    heads = list(dict.fromkeys(head for _, head, _ in found))
    rows: dict[str, list[tuple[float, float | None] | None]] = {}
    for protocol, head, paper in found:
        for row in paper.rows:
            name = row.name if len(heads) == 1 else f"{head}: {row.name}"
            values = rows.setdefault(name, [None] * len(protocols))
            values[protocols.index(protocol)] = (row.mean, row.std if len(paper.folds) > 1 else None)
    return ProtocolGap({name: sentences[name] for name in protocols}, rows)
