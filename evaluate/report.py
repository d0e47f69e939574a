"""``report.html``: one self-contained page."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import BchistoError
from ..jobs import atomic_output
from .columns import (
    class_cells,
    class_headings,
    percent,
    points,
    shown_metrics,
    summary_cells,
    summary_headings,
    summary_lines,
)
from .figures import abstention_figure, calibration_figure, confusion_figure, roc_figure
from .fold_notes import fold_note_lines
from .paper import PaperTable
from .predictions import PredictionTable
from .protocols import ProtocolGap
from .published import PublishedTable

__all__ = ["Panel", "Sample", "reporting", "thumbnail", "write_report"]

_log = logging.getLogger(__name__)

_THUMBNAIL = 240
"""Longest side of a thumbnail, pixels (ours)."""


@dataclass(frozen=True)
class Sample:
    """An image shown in a report: its thumbnail and what was said of it."""

    image_id: str
    picture: str
    label: str
    predicted: str
    confidence: float | None


@dataclass(frozen=True)
class Panel:
    """One prediction table in a report.

    Attributes
    ----------
    table : PredictionTable
    metrics : dict
        Of `compute_metrics`, with ``intervals``.
    paper : PaperTable, optional
        The per-fold table of the paper.
    right, wrong : sequence of Sample
    """

    table: PredictionTable
    metrics: dict[str, Any]
    paper: PaperTable | None = None
    right: Sequence[Sample] = ()
    wrong: Sequence[Sample] = field(default_factory=tuple)


@contextmanager
def reporting(path: Path, failed: list[str]) -> Iterator[None]:
    """Go on where a report or a table for reading cannot be written, and note that in one line.

    Nothing depends on a report, so its failure must not cost what was trained: callers write what matters first, and
    raise `ReportError` once all is written.

    Parameters
    ----------
    path : Path
        What is written inside the block.
    failed : list of str
        Gets the line.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in a figure
        _log.debug("%s", path, exc_info=True)
        why = str(error) if isinstance(error, BchistoError) else f"{path}: {type(error).__name__}: {error}"
        failed.append(f"this report could not be written: {' '.join(why.split())}")


def thumbnail(image: npt.NDArray[np.uint8]) -> str:
    """Return a small JPEG of an image as a data address."""
    from PIL import Image

    small = Image.fromarray(image)
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def write_report(
    path: Path,
    *,
    title: str,
    panels: Sequence[Panel],
    banners: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    pairs: Sequence[Mapping[str, Any]] = (),
    gap: ProtocolGap | None = None,
    published: Sequence[PublishedTable] = (),
) -> None:
    """Write a report.

    Parameters
    ----------
    path : Path
        The HTML file; holds styles, figures and pictures itself and loads nothing.
    title : str
    panels : sequence of Panel
        One section each; several are also compared at the top.
    banners : sequence of str
        What a reader must know first: synthetic images, random weights, leaking folds.
    settings : mapping, optional
        Name to value, shown at the end.
    pairs : sequence of mapping
        Tests of two tables, of `compare_pairs`.
    gap : ProtocolGap, optional
        The same models under several protocols.
    published : sequence of PublishedTable
        Published figures beside the obtained ones, shown first.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = resources.files(__package__) / "templates"
    environment = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["points"] = points
    specs = shown_metrics(panel.metrics for panel in panels)
    page = environment.get_template("report.html").render(
        title=title,
        banners=list(banners),
        pairs=list(pairs),
        gap=gap,
        published=list(published),
        settings=dict(settings or {}),
        style=(folder / "report.css").read_text(encoding="utf-8"),
        headings=summary_headings(specs),
        class_headings=class_headings(),
        panels=[
            {
                "name": panel.table.name,
                "metrics": panel.metrics,
                "cells": summary_cells(specs, panel.metrics),
                "lines": summary_lines(specs, panel.metrics),
                "classes": {name: class_cells(values) for name, values in panel.metrics["per_class"].items()},
                "fold_notes": fold_note_lines(panel.metrics),
                "fold_aucs": _fold_aucs(panel.metrics),
                "paper": panel.paper,
                "right": panel.right,
                "wrong": panel.wrong,
                "confusion": confusion_figure(panel.metrics),
                "roc": roc_figure(panel.table, panel.metrics),
                "calibration": calibration_figure(panel.metrics),
                "abstention": abstention_figure(panel.metrics),
            }
            for panel in panels
        ],
    )
    with atomic_output(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _fold_aucs(metrics: Mapping[str, Any]) -> int:
    """Return how many folds have an AUC of the two-class view."""
    view = metrics.get("two_class") or {}
    return sum(value is not None for value in view.get("auc_per_fold", ()))
