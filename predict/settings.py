"""What is written of predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..arguments import as_path, convert_fields
from ..errors import InputError
from ..options import option
from .table import FORMATS


@dataclass(frozen=True)
class PredictSettings:
    """What is written of predictions: the form of the table, what is called positive in it, and sheets beside it.

    Attributes
    ----------
    output_format : {"bchisto", "iciar2018"}
        The table of predictions, or the challenge's ``test0.tif,Benign`` without a header.
    calibrated : bool
        Scale the probabilities by the temperature of the bundle.
    threshold : float, optional
        Call images positive, in the column ``called``, from this score on; by default see `sensitivity`.
    sensitivity : float, optional
        Call them by the threshold that the bundle holds for this wanted sensitivity; by default its first, else 0.5 or
        the first threshold that it was measured at.
    html : str or Path, optional
        Gets a sheet: a page with a picture, the class and the calibrated confidence of each image, and a mark where it
        is unsure, see `bchisto.evaluate.unsure_rule`.
    xlsx : str or Path, optional
        Gets the rows of the sheet as an Excel workbook.
    """

    output_format: str = "bchisto"
    calibrated: bool = False
    threshold: float | None = option(None, sparse=True)
    sensitivity: float | None = option(None, sparse=True)
    html: Path | None = option(None, sparse=True)
    xlsx: Path | None = option(None, sparse=True)

    def __post_init__(self) -> None:
        convert_fields(self, html=as_path, xlsx=as_path)
        if self.output_format not in FORMATS:
            raise InputError(f"`output_format` {self.output_format}: choose one of {', '.join(FORMATS)}")
        if self.threshold is not None and self.sensitivity is not None:
            raise InputError("`threshold` and `sensitivity`: give one of them")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise InputError(f"`threshold` {self.threshold}: give a score between 0 and 1")

    @classmethod
    def of(cls, value: PredictSettings | None) -> PredictSettings:
        """Return what was passed, or the defaults."""
        return cls() if value is None else value

    @property
    def sheets(self) -> dict[str, Path]:
        """The sheets that are wanted, by the names of their fields."""
        return {name: path for name, path in (("html", self.html), ("xlsx", self.xlsx)) if path is not None}
