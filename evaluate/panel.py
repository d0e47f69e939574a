"""What a report shows of one table: predictions, metrics, pictures, and what its run records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core import html_table
from .paper import PaperTable
from .predictions import PredictionTable
from .two_class import TwoClassView


@dataclass(frozen=True)
class Sample:
    """An image shown in a report: its thumbnail, and its true and predicted class.

    Attributes
    ----------
    image_id : str
    picture : str
        A data address; empty if the image could not be read, which the report says.
    label, predicted : str
    confidence : float or None
    """

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
        The report numbers them; which images they are stands in ``pictures.csv`` beside it.
    run : mapping
        ``run`` of ``metrics.json`` as `read_facts` gives it: what the run that made the table records, such as
        ``flow``, ``methods``, ``settings``, ``curves`` and ``versions``; empty for a table from elsewhere.
    view : TwoClassView
        The two-class view of its metrics.
    """

    table: PredictionTable
    metrics: dict[str, Any]
    paper: PaperTable | None = None
    right: Sequence[Sample] = ()
    wrong: Sequence[Sample] = field(default_factory=tuple)
    run: Mapping[str, Any] = field(default_factory=dict)
    view: TwoClassView = TwoClassView()


def html_confusion(name: str, metrics: Mapping[str, Any]) -> str:
    """Return a confusion matrix of `bchisto.evaluate.measure` as HTML, labels down and predictions across."""
    interval = metrics.get("intervals", {}).get("accuracy")
    known = f" (95 % CI {100 * interval[0]:.1f} to {100 * interval[1]:.1f})" if interval else ""
    return html_table(
        f"{name}: {100 * metrics['accuracy']:.1f} % right{known}, n = {metrics['n']}",
        ["label", *(f"predicted {label}" for label in metrics["classes"])],
        ([label, *row] for label, row in zip(metrics["classes"], metrics["confusion"], strict=True)),
    )
