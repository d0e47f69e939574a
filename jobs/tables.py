"""The probabilities that a unit leaves: a small table by name, checked when it is read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .cells import Cells
from .damage import DAMAGE
from .parts import write_rows

Probabilities = npt.NDArray[np.float64]


def write_probabilities(
    path: Path, names: Sequence[str], probabilities: Probabilities, *, marks: Mapping[str, str] | None = None
) -> None:
    """Write ``name,p0,p1,...`` in full precision.

    Parameters
    ----------
    path : Path
    names : sequence of str
        One per row.
    probabilities : ndarray of float64, shape (n, classes)
    marks : mapping, optional
        What the table vouches for, such as the hash of the model; stands behind the names of the columns as
        ``key=value``.
    """
    rows = ([name, *map(repr, row)] for name, row in zip(names, probabilities.tolist(), strict=True))
    header = ["name", *(f"p{place}" for place in range(probabilities.shape[1]))]
    write_rows(path, [*header, *(f"{key}={value}" for key, value in (marks or {}).items())], rows)


def read_marks(path: Path) -> dict[str, str]:
    """Return what a table vouches for."""
    with path.open(newline="", encoding="utf-8", errors="replace") as handle:
        header = next(Cells(handle), [])
    return dict(cell.split("=", 1) for cell in header if "=" in cell)


def read_probabilities(path: Path, names: Sequence[str], classes: int) -> Probabilities | None:
    """Read them back, float64 of shape (n, classes); None where the file does not hold those of these names."""
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            rows = list(Cells(handle))[1:]
        values = np.array([[float(cell) for cell in row[1:]] for row in rows])
    except DAMAGE:
        return None
    named = tuple(row[0] for row in rows if row) == tuple(names)
    return values.reshape(-1, classes) if named and values.size == len(names) * classes else None
