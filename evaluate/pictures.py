"""Which images a report shows: of each class the surest right ones, and the surest wrong ones of all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..errors import ImageError
from .panel import Sample
from .predictions import PredictionTable
from .report import thumbnail

_SAMPLES = 8
"""Images shown per heading in a report (ours)."""


def choose_samples(
    table: PredictionTable, show: Callable[[str], npt.NDArray[np.uint8] | None]
) -> tuple[list[Sample], list[Sample]]:
    """Choose right and wrong images of a table with probabilities; none of any other.

    Parameters
    ----------
    table : PredictionTable
    show : callable
        Returns the pixels of an image, None where it is not at hand; may raise `ImageError` for one that has moved or
        changed since, which the report then does without.
    """
    sure = table.confidence
    if sure is None:
        return [], []
    hits = table.predicted == table.labels
    per_class = max(1, _SAMPLES // len(table.classes))
    right = [row for k in range(len(table.classes)) for row in surest(table, hits & (table.labels == k))[:per_class]]
    wrong = surest(table, ~hits)[:_SAMPLES]

    def shown(rows: list[int]) -> list[Sample]:
        found = []
        for row in rows:
            try:
                picture = show(table.image_ids[row])
            except ImageError:
                continue
            if picture is not None:
                label, predicted = (table.classes[place[row]] for place in (table.labels, table.predicted))
                found.append(Sample(table.image_ids[row], thumbnail(picture), label, predicted, float(sure[row])))
        return found

    return shown(right), shown(wrong)


def surest(table: PredictionTable, rows: npt.NDArray[np.bool_]) -> list[int]:
    """Return those of some rows of a table with probabilities, the surest first; of an image its surest one alone.

    Parameters
    ----------
    table : PredictionTable
    rows : ndarray of bool, shape (rows,)
    """
    sure = table.confidence
    if sure is None:
        return []
    order = np.argsort(-sure, kind="stable")
    first: dict[str, int] = {}  # repeated folds test an image several times
    for row in order[rows[order]].tolist():
        first.setdefault(table.image_ids[row], row)
    return list(first.values())
