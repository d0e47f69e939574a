"""The table of predictions as a CSV file."""

from __future__ import annotations

import csv
import filecmp
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..core import OutputError, neutral
from ..core.jobs import atomic_output
from ..data import ImageRecord
from ..evaluate import write_predictions

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Table:
    """Predictions in the form in which they are written.

    Attributes
    ----------
    format : str
        One of `FORMATS`.
    records : sequence of ImageRecord
    probabilities : ndarray of float64, shape (n, classes)
    classes : tuple of str
    further : sequence of (str, sequence of str)
        Names and cells of further columns, after the predicted class.
    """

    format: str
    records: Sequence[ImageRecord]
    probabilities: npt.NDArray[np.float64]
    classes: Sequence[str]
    further: Sequence[tuple[str, Sequence[str]]] = ()

    @property
    def predicted(self) -> list[str]:
        """The most probable class of each image."""
        return [self.classes[index] for index in self.probabilities.argmax(axis=1)] if len(self.records) else []

    def finish(self, path: Path, *, overwrite: bool) -> None:
        """Write the table. If another process has written the same table meanwhile, keep that one.

        Raises
        ------
        OutputError
            Another process has written a different table, or the table cannot be written.
        """
        if overwrite or not path.exists():
            self._write(path)
            return
        draft = path.with_name(f"{path.name}.part-{secrets.token_hex(4)}")
        try:
            self._write(draft)
            same = filecmp.cmp(draft, path, shallow=False)
        finally:
            draft.unlink(missing_ok=True)
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
