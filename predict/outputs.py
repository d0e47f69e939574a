"""The outputs of a prediction: the table, the failures and the report."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ..core import html_lines, html_table
from ..core.formats import read_cells
from ..core.jobs import write_or_remove
from .blocks import Predicted
from .sheet import write_html
from .table import Tabulated

_SHOWN = ("image_id", "label", "predicted", "trained", "outlier")
"""Columns of the table that a notebook shows, in addition to probabilities."""


@dataclass(frozen=True)
class PredictResult:
    """The result of a prediction.

    Attributes
    ----------
    path : Path
        The table.
    images : int
        Number of predicted images.
    counts : dict of str to int
        Number of images per predicted class.
    failures : tuple of (image_id, message)
        Images that could not be used; also in ``<out>.failures.csv``.
    banners : tuple of str
        Warnings that every reader must see.
    trained : int or None
        Number of images that trained a model; None if the model file does not record its training images.
    called : str
        Number of images predicted positive, with the operating point; empty without an operating point.
    sheet : Path or None
        The prediction report, if one was written.
    unsure : int or None
        Number of images that the report marks as uncertain; None without a report, or if the model has no rule for it.
    labelled : int
        Number of images whose label is a class of the model.
    outliers : str
        Number of outliers and what the mark means; empty if the model file has no reference for it.
    unchanged : bool
        Whether nothing was written, since `PredictSettings.update` found nothing new. Counts are then left out.
    """

    path: Path
    images: int
    counts: dict[str, int]
    failures: tuple[tuple[str, str], ...]
    banners: tuple[str, ...]
    trained: int | None = None
    called: str = ""
    sheet: Path | None = None
    unsure: int | None = None
    labelled: int = 0
    outliers: str = ""
    unchanged: bool = False

    def _repr_html_(self) -> str:
        lines = [*self.banners, *filter(None, (self.called, self.outliers)), f"table: {self.path}"]
        with self.path.open(newline="", encoding="utf-8") as handle:
            rows = list(read_cells(handle))
        header = ["image_id", "predicted"]  # rows for the challenge have none
        if rows and rows[0][:1] == ["image_id"]:
            header = rows.pop(0)
        shown = [name for name in header if name in _SHOWN or name.startswith("p_")]
        cells = []
        for row in rows:
            cell_of = dict(zip(header, row, strict=True))
            for name in shown:
                if name.startswith("p_"):
                    cell_of[name] = f"{float(cell_of[name]):.3f}"
            cells.append([cell_of[name] for name in shown])
        return html_lines(lines) + html_table(f"{self.images} images", shown, cells)


def failures_of(path: Path) -> Path:
    """Return the list of the images that a table lacks, since they could not be used."""
    return path.with_name(f"{path.name}.failures.csv")


def write_outputs(
    path: Path,
    shown: Tabulated,
    predicted: Predicted,
    *,
    html: Path | None,
    overwrite: bool,
    known: Collection[str],
) -> PredictResult:
    """Write the table, its failures, and a report at `html`.

    Parameters
    ----------
    path : Path
        The table.
    shown : Tabulated
    predicted : Predicted
    html : Path or None
    overwrite, known
        As of `Table.finish`.

    Raises
    ------
    OutputError
        An output cannot be written, or another process has written a different table.
    """
    bundle = predicted.bundle
    table = shown.table
    table.finish(path, overwrite=overwrite, known=known)
    write_or_remove(failures_of(path), ["image_id", "error"], shown.failures.items())
    return PredictResult(
        path,
        images=len(shown.trained),
        counts={name: table.predicted.count(name) for name in bundle.classes},
        failures=tuple(shown.failures.items()),
        banners=shown.banners,
        trained=None if bundle.training is None else sum(shown.trained),
        called=shown.called,
        sheet=html,
        unsure=(None if html is None else write_html(html, shown, predicted, title=path.name)),
        outliers="" if shown.outliers is None else shown.outliers.summary,
        labelled=sum(record.label in bundle.classes for record in table.records),
    )
