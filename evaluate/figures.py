"""Figures as self-contained SVG images."""

from __future__ import annotations

import base64
import functools
import io
import warnings
from collections.abc import Callable
from itertools import cycle
from typing import Any, ParamSpec

import numpy as np

from .predictions import PredictionTable
from .roc import fold_curves
from .two_class import positive_mask, two_class_scores

__all__ = ["abstention_figure", "calibration_figure", "confusion_figure", "roc_figure"]

P = ParamSpec("P")

_BLUE, _GREY = "#1f5fa8", "#888888"
_POINTS = ("#2a8c4a", "#1f5fa8", "#b8651b", "#8a3fa0")


def _drawn(draw: Callable[P, Any]) -> Callable[P, str | None]:
    """Make a function that draws a figure, or None, one that returns it as a data address of an SVG image.

    Class names are text, whatever signs they hold: a dollar sign begins no formula. A name in letters that matplotlib's
    font lacks is left to the fonts of the reader's browser. No date, so that equal content gives equal bytes.
    """

    @functools.wraps(draw)
    def drawn(*args: P.args, **options: P.kwargs) -> str | None:
        import matplotlib as mpl

        buffer = io.BytesIO()
        with mpl.rc_context({"text.parse_math": False, "svg.hashsalt": "bchisto", "svg.fonttype": "path"}):
            figure = draw(*args, **options)
            if figure is None:
                return None
            with warnings.catch_warnings():
                if _lacks_glyphs(figure):
                    mpl.rcParams["svg.fonttype"] = "none"
                    warnings.filterwarnings("ignore", message="Glyph .* missing from")
                figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
        return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

    return drawn


def _lacks_glyphs(figure: Any) -> bool:
    from matplotlib.font_manager import findfont, get_font
    from matplotlib.text import Text

    known = get_font(findfont("DejaVu Sans")).get_charmap()
    return any(ord(sign) not in known for text in figure.findobj(Text) for sign in text.get_text() if sign != "\n")


def _axes(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


@_drawn
def confusion_figure(metrics: dict[str, Any]) -> Any:
    """Draw the confusion matrix of a table; rows true, columns predicted."""
    classes, matrix = metrics["classes"], np.array(metrics["confusion"])
    side = 1.6 + 0.75 * len(classes)
    figure, axes = _axes(side + 0.6, side)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*matrix.shape):
        colour = "white" if share[row, column] > 0.55 else "black"
        axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour)
    places = range(len(classes))
    axes.set_xticks(places, classes, rotation=30, ha="right")
    axes.set_yticks(places, classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return figure


@_drawn
def roc_figure(table: PredictionTable, metrics: dict[str, Any]) -> Any:
    """Draw the ROC of the two-class view with its operating points, its folds and their mean; None without scores."""
    from sklearn.metrics import roc_curve

    view = metrics.get("two_class")
    if view is None or table.probabilities is None or view["auc"] is None:
        return None
    mask = positive_mask(table.classes, view["positive"])
    scores = two_class_scores(table.probabilities, mask, rule=view["rule"])
    truth = mask[table.labels]
    false, true, _ = roc_curve(truth, scores)
    folds = fold_curves(table, truth, scores)
    figure, axes = _axes(4.4, 4.2)
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":")
    if len(folds.curves) > 1:
        for one_false, one_true in folds.curves:
            axes.plot(one_false, one_true, color=_GREY, linewidth=0.6, alpha=0.5)
        low, high = np.clip(folds.mean - folds.spread, 0, 1), np.clip(folds.mean + folds.spread, 0, 1)
        axes.fill_between(folds.grid, low, high, color="#d5deea", linewidth=0)
        label = f"mean of folds, AUC {view['auc_mean']:.3f} ± {view['auc_std']:.3f}"
        axes.plot(folds.grid, folds.mean, color="#b8651b", linewidth=1.4, linestyle="--", label=label)
    axes.plot(false, true, color=_BLUE, linewidth=1.8, label=f"all rows, AUC {view['auc']:.3f}")
    for colour, point in zip(cycle(_POINTS), view["thresholds"], strict=False):
        shares = f"{100 * point['sensitivity']:.1f} / {100 * point['specificity']:.1f} %"
        label = f"operating point {point['threshold']:g}: {shares}"
        axes.plot(1 - point["specificity"], point["sensitivity"], "o", color=colour, label=label)
    axes.set_xlabel("1 - specificity")
    axes.set_ylabel("sensitivity")
    axes.set_title(f"{' + '.join(view['positive'])} against the rest", fontsize=10)
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    return figure


@_drawn
def calibration_figure(metrics: dict[str, Any]) -> Any:
    """Draw the reliability curve of a table; None for a table without probabilities."""
    found = metrics.get("calibration")
    if found is None:
        return None
    confidence, accuracy, counts = (
        [entry[name] for entry in found["bins"]] for name in ("confidence", "accuracy", "n")
    )
    figure, axes = _axes(4.4, 4.2)
    axes.bar(confidence, np.array(counts) / sum(counts), width=0.04, color="#d5deea")
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":")
    axes.plot(confidence, accuracy, "o-", color=_BLUE, linewidth=1.8, markersize=4, label=f"ECE {found['ece']:.3f}")
    axes.set_xlabel("confidence")
    axes.set_ylabel("share that is right")
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.01)
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    return figure


@_drawn
def abstention_figure(metrics: dict[str, Any]) -> Any:
    """Draw accuracy against the share of images answered; None for a table without probabilities."""
    found = metrics.get("abstention")
    if found is None:
        return None
    shares = [entry["n"] / metrics["n"] for entry in found]
    figure, axes = _axes(4.4, 4.2)
    axes.plot(shares, [entry["accuracy"] for entry in found], "o-", color=_BLUE, linewidth=1.8, markersize=4)
    axes.axhline(metrics["accuracy"], color=_GREY, linewidth=0.8, linestyle=":")
    axes.set_xlabel("share of images answered, the surest first")
    axes.set_ylabel("accuracy on them")
    axes.set_xlim(0, 1.01)
    axes.set_ylim(top=1.01)
    return figure
