"""Figures as self-contained SVG images, and a description with their numbers for those who cannot see them."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from .. import PredictionTable, fold_curves, rows_of, two_sides
from .page import Figure, percent

_FEWEST_ROWS, _MOST_CURVES = 100, 100
"""Fewest rows, and most folds, whose curves of single folds are drawn (bchisto's choice)."""

_GRID = np.linspace(0.0, 1.0, 101)
"""False-positive rates at which the curves of folds are averaged (0, 0.01, ... 1)."""

_BLUE, _GREY = "#1f5fa8", "#888888"
_POINTS = ("#2a8c4a", "#1f5fa8", "#b8651b", "#8a3fa0")

Metrics = Mapping[str, Any]
Curves = Mapping[str, Mapping[str, Sequence[Any]]]


def _drawn(
    draw: Callable[[Any], None], width: float = 4.4, height: float = 4.2, *, columns: int = 1
) -> str:
    """Return as a data address of an SVG image what is drawn on axes, of several columns an array of them.

    Class names are text, whatever signs they hold: a dollar sign begins no formula. A name in letters that matplotlib's
    font lacks is left to the fonts of the reader's browser. No date, so that equal content gives equal bytes.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas
    from matplotlib.font_manager import findfont, get_font
    from matplotlib.text import Text

    buffer, known = io.BytesIO(), get_font(findfont("DejaVu Sans")).get_charmap()
    with mpl.rc_context(
        {"text.parse_math": False, "svg.hashsalt": "bchisto", "svg.fonttype": "path"}
    ):
        figure = Canvas(figsize=(width, height))
        FigureCanvasAgg(figure)
        draw(figure.subplots(1, columns))
        signs = {sign for text in figure.findobj(Text) for sign in text.get_text()} - {"\n"}
        with warnings.catch_warnings():
            if any(ord(sign) not in known for sign in signs):
                mpl.rcParams["svg.fonttype"] = "none"
                warnings.filterwarnings("ignore", message="Glyph .* missing from")
            figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def roc_figure(table: PredictionTable, metrics: Metrics) -> Figure | None:
    """Draw the ROC of the two-class view with its operating points; None without scores.

    Of several folds it is the mean of theirs, since scores of different models are not ranked together.

    References
    ----------
    Fawcett 2006, sec. 8.1 (vertical averaging).
    """
    from sklearn.metrics import roc_curve

    view = metrics.get("two_class")
    if view is None or table.probabilities is None or view["auc"] is None:
        return None
    sides = two_sides(table, view["positive"], view["rule"])
    truth, scores = sides.truth, sides.scores
    curves = fold_curves(table, truth, scores)[1]
    title = f"{' + '.join(view['positive'])} against the rest"
    if len(curves) > 1:
        rates = np.mean([np.interp(_GRID, false, true) for false, true in curves], axis=0)
        whole, label = (
            (_GRID, rates),
            f"mean of folds, AUC {view['auc_mean']:.3f} ± {view['auc_std']:.3f}",
        )
    else:
        whole, label = (
            curves[0] if curves else roc_curve(truth, scores)[:2],
            f"AUC {view['auc']['value']:.3f}",
        )
    pooled = (
        f"all images ranked together, AUC {view['auc_pooled']:.3f}" if "auc_pooled" in view else ""
    )
    points = [
        (p["threshold"], p["sensitivity"]["value"], p["specificity"]["value"])
        for p in view["thresholds"]
    ]

    single = curves[:_MOST_CURVES] if len(curves) > 1 and len(truth) >= _FEWEST_ROWS else []

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":")
        for curve in single:
            axes.plot(*curve, color=_GREY, linewidth=0.6, alpha=0.5)
        axes.plot(*whole, color=_BLUE, linewidth=1.8, label=label)
        if pooled:
            axes.plot(
                *roc_curve(truth, scores)[:2],
                color=_BLUE,
                linewidth=1.0,
                linestyle="--",
                label=pooled,
            )
        for colour, (threshold, sensitivity, specificity) in zip(
            cycle(_POINTS), points, strict=False
        ):
            legend = f"operating point {threshold:g}: {100 * sensitivity:.1f} / {100 * specificity:.1f} %"
            axes.plot(1 - specificity, sensitivity, "o", color=colour, label=legend)
        axes.set(
            xlabel="1 - specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01)
        )
        axes.set_title(title, fontsize=10)
        axes.legend(loc="lower right", fontsize=8, frameon=False)

    reached = "".join(
        f"; at {at:g} sensitivity {percent(sensitivity)}, specificity {percent(specificity)}"
        for at, sensitivity, specificity in points
    )
    kind = "ROC" if len(curves) < 2 else "Mean ROC of the folds"
    caption = f"{kind}{' (each in grey)' if single else ''}; operating points give sensitivity / specificity"
    return Figure(
        _drawn(draw),
        f"ROC curve of {title}: {'; '.join(filter(None, (label, pooled)))}{reached}.",
        caption,
    )


def calibration_figure(metrics: Metrics) -> Figure:
    """Draw the reliability curve of a table that has a calibration."""
    bins, ece = metrics["calibration"]["bins"], metrics["calibration"]["ece"]
    confidence, accuracy, counts = (
        [entry[name] for entry in bins] for name in ("confidence", "accuracy", "n")
    )

    def draw(axes: Any) -> None:
        axes.bar(confidence, np.array(counts) / sum(counts), width=0.04, color="#d5deea")
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":")
        axes.plot(
            confidence,
            accuracy,
            "o-",
            color=_BLUE,
            linewidth=1.8,
            markersize=4,
            label=f"ECE {ece:.3f}",
        )
        axes.set(xlabel="confidence", ylabel="fraction correct", xlim=(0, 1.01), ylim=(0, 1.01))
        axes.legend(loc="upper left", fontsize=8, frameon=False)

    texts = [
        f"{entry['confidence']:.2f}: {percent(entry['accuracy'])} of {entry['n']:,}"
        for entry in bins
    ]
    alt = f"Reliability diagram, mean confidence and how many were right: {'; '.join(texts)}. ECE {ece:.3f}."
    return Figure(
        _drawn(draw),
        alt,
        f"Reliability; bars show the fraction of {rows_of(metrics)} at a confidence",
    )


def learning_figure(curves: Curves) -> Figure:
    """Draw loss and accuracy over epochs, a line per fold: training full, validation dashed.

    Parameters
    ----------
    curves : mapping
        Fold to ``loss``, ``accuracy`` and, where something validates, ``val_loss`` and ``val_accuracy``.
    """

    def draw(sides: Any) -> None:
        for axes, label in zip(sides, ("loss", "accuracy"), strict=True):
            for curve in curves.values():
                for name, colour, style in ((label, _GREY, "-"), (f"val_{label}", _BLUE, "--")):
                    values = np.array(curve.get(name, ()), float)
                    axes.plot(range(1, len(values) + 1), values, style, color=colour, linewidth=1.2)
            axes.plot([], [], "-", color=_GREY, label="training")
            axes.plot([], [], "--", color=_BLUE, label="validation")
            axes.set(xlabel="epoch", ylabel=label)
            axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(fontsize=8, frameon=False)
        axes.figure.tight_layout()

    texts = []
    for fold, curve in curves.items():
        loss, held = (
            curve["loss"],
            [value for value in curve.get("val_loss", ()) if value is not None],
        )
        texts.append(f"fold {fold}: loss {loss[0]:.3f} to {loss[-1]:.3f} in {len(loss)} epochs")
        if held:
            best = curve["val_loss"].index(min(held)) + 1
            texts[-1] += f", least validation loss {min(held):.3f} in epoch {best}"
    caption = "Learning curves: loss and accuracy of each fold, on its training part and on what validates"
    return Figure(
        _drawn(draw, 8.0, 3.4, columns=2), f"Learning curves. {'; '.join(texts)}.", caption
    )
