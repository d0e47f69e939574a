"""The table of a prediction: written whole or not at all, also where two processes finish it."""

from __future__ import annotations

import csv
import filecmp
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import OutputError
from ..data import ImageRecord
from ..evaluate import as_frame, write_predictions
from ..formats import Cells, neutral
from ..jobs import atomic_output

_log = logging.getLogger(__name__)

FORMATS = ("bchisto", "iciar2018")
"""Output formats: the prediction table, or the challenge's ``test0.tif,Benign`` without a header."""


@dataclass(frozen=True)
class Table:
    """What is written.

    Attributes
    ----------
    format : str
        Of `FORMATS`.
    records : sequence of ImageRecord
    probabilities : ndarray of float64, shape (n, classes)
    classes : tuple of str
    further : sequence of (str, sequence of str)
        Names and cells of columns after the predicted class.
    """

    format: str
    records: Sequence[ImageRecord]
    probabilities: npt.NDArray[np.float64]
    classes: Sequence[str]
    further: Sequence[tuple[str, Sequence[str]]] = ()

    @property
    def predicted(self) -> list[str]:
        """The likeliest class of each image."""
        return [self.classes[index] for index in self.probabilities.argmax(axis=1)] if len(self.records) else []

    def finish(self, path: Path, *, overwrite: bool) -> None:
        """Write the table; where another process has written it meanwhile, keep that if it says the same.

        Raises
        ------
        OutputError
            Another table lies there by now, or it cannot be written.
        """
        if overwrite or not path.exists():
            self._write(path)
            return
        ours = path.with_name(f"{path.name}.part-{secrets.token_hex(4)}")
        try:
            self._write(ours)
            same = filecmp.cmp(ours, path, shallow=False)
        finally:
            ours.unlink(missing_ok=True)
        if not same:
            raise OutputError(
                "{}: another process wrote another table meanwhile; use {overwrite} or another {out}", path
            )
        _log.info("%s: another process finished the same table meanwhile; it is kept", path)

    def _write(self, path: Path) -> None:
        if self.format == "iciar2018":
            with atomic_output(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
                csv.writer(handle, lineterminator="\n").writerows(
                    [neutral(Path(record.image_id).name), neutral(name)]
                    for record, name in zip(self.records, self.predicted, strict=True)
                )
        else:
            write_predictions(
                path,
                classes=self.classes,
                rows=[(record.image_id, record.label or "", record.group, "") for record in self.records],
                probabilities=self.probabilities,
                extra=[("predicted", self.predicted), *self.further],
            )


def to_pandas(path: Path) -> Any:
    """Return a written table as a `pandas.DataFrame`: probabilities as numbers, all else as text.

    Raises
    ------
    DependencyError
        pandas is not installed.
    """
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(Cells(handle))
    header = rows.pop(0) if rows and rows[0][:1] == ["image_id"] else ["image_id", "predicted"]  # of the challenge
    return as_frame(
        {
            name: [float(row[column]) if name.startswith("p_") else row[column] for row in rows]
            for column, name in enumerate(header)
        }
    )
