"""What is written of predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..core import InputError, Message, Settings, option
from .table import FORMATS


@dataclass(frozen=True)
class PredictSettings(Settings):
    """What is written of predictions: the form of the table, what is called positive in it, and sheets beside it."""

    html: Path | None = option(
        None,
        decides=False,
        file="output",
        help="Also write a sheet: picture, class and confidence of each image on a page, the least sure first.",
    )
    xlsx: Path | None = option(
        None, decides=False, file="output", help="Also write the rows of the sheet as a workbook."
    )
    format: str = option(
        "bchisto",
        choices=FORMATS,
        help="A table with probabilities, or the challenge's rows test0.tif,Benign without a header.",
    )
    calibrated: bool = option(False, help="Scale the probabilities by the temperature of the bundle.")
    threshold: float | None = option(
        None,
        least=0,
        most=1,
        help="Operating point of the column called; default: that of the wanted sensitivity, else of the bundle, else "
        "0.5.",
    )
    sensitivity: float | None = option(
        None,
        help="Call by the threshold that the bundle holds for this wanted sensitivity; default: its first.",
    )

    def validate(self) -> None:
        """Refuse both thresholds at once."""
        if self.threshold is not None and self.sensitivity is not None:
            raise InputError(Message("{threshold} and {sensitivity}: give one of them"))

    @property
    def sheets(self) -> dict[str, Path]:
        """The sheets that are wanted, by the names of their fields."""
        return {name: path for name, path in (("html", self.html), ("xlsx", self.xlsx)) if path is not None}
