"""Figures as self-contained SVG images, and what they say in words with their numbers, for who cannot see them."""

from __future__ import annotations

import base64
import functools
import io
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any, ParamSpec

import numpy as np

from ..evaluate import PredictionTable, fold_curves, rows_of, two_sides
from .forms import percent
from .page import Figure

P = ParamSpec("P")

_KEPT = 16
"""Drawn figures of each kind that are kept (ours): one costs a tenth of a second, and stands in the report of its
folder and in that of the run. No more, since the curves of a table of many patches are kept with it."""

_MOST_CLASSES, _MOST_CURVES = 30, 100
"""Most classes of which a confusion matrix is a picture, and most folds whose curves are drawn (ours): more cannot be
told apart, and each cell and curve costs time."""

_BLUE, _GREY = "#1f5fa8", "#888888"
_POINTS = ("#2a8c4a", "#1f5fa8", "#b8651b", "#8a3fa0")

_MOST_READ_OUT = 12
"""Classes up to which a confusion matrix is read out (ours)."""

Metrics = Mapping[str, Any]
Curves = Mapping[str, Mapping[str, Sequence[Any]]]


def _drawn(draw: Callable[P, Any]) -> Callable[P, str]:
    """Make a function that draws a figure one that returns it as a data address of an SVG image.

    Its arguments, JSON-ready, are all that the figure shows, so that one that was drawn of the same is returned again.

    Class names are text, whatever signs they hold: a dollar sign begins no formula. A name in letters that matplotlib's
    font lacks is left to the fonts of the reader's browser. No date, so that equal content gives equal bytes.
    """

    @functools.lru_cache(maxsize=_KEPT)
    def address(shown: str) -> str:
        import matplotlib as mpl

        args, options = json.loads(shown)
        buffer = io.BytesIO()
        with mpl.rc_context({"text.parse_math": False, "svg.hashsalt": "bchisto", "svg.fonttype": "path"}):
            figure = draw(*args, **options)
            with warnings.catch_warnings():
                if _lacks_glyphs(figure):
                    mpl.rcParams["svg.fonttype"] = "none"
                    warnings.filterwarnings("ignore", message="Glyph .* missing from")
                figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
        return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

    @functools.wraps(draw)
    def drawn(*args: P.args, **options: P.kwargs) -> str:
        return address(json.dumps([args, options]))

    return drawn


def _lacks_glyphs(figure: Any) -> bool:
    from matplotlib.font_manager import findfont, get_font
    from matplotlib.text import Text

    known = get_font(findfont("DejaVu Sans")).get_charmap()
    return any(ord(sign) not in known for text in figure.findobj(Text) for sign in text.get_text() if sign != "\n")


def _axes(width: float = 4.4, height: float = 4.2, *, columns: int = 1) -> tuple[Any, Any]:
    """Return a figure and its axes, of several columns an array of them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns)


def roc_figure(table: PredictionTable, metrics: Metrics) -> Figure | None:
    """Draw the ROC of the two-class view with its operating points, its folds and their mean; None without scores."""
    from sklearn.metrics import roc_curve

    view = metrics.get("two_class")
    if view is None or table.probabilities is None or view["auc"] is None:
        return None
    truth, scores = two_sides(table, view["positive"], view["rule"])
    false, true, _ = roc_curve(truth, scores)
    folds = fold_curves(table, truth, scores)
    title = f"{' + '.join(view['positive'])} against the rest"
    alt = f"ROC curve of {title}: AUC of all rows {view['auc']:.3f}"
    mean = None
    if len(folds.curves) > 1:
        spread = f"{view['auc_mean']:.3f} ± {view['auc_std']:.3f}"
        mean = f"mean of folds, AUC {spread}", folds.grid.tolist(), folds.mean.tolist(), folds.spread.tolist()
        alt += f", mean of the folds {spread}"
    points = [(point["threshold"], point["sensitivity"], point["specificity"]) for point in view["thresholds"]]
    for at, sensitivity, specificity in points:
        alt += f"; at {at:g} sensitivity {percent(sensitivity)}, specificity {percent(specificity)}"
    drawing = _roc(
        (f"all rows, AUC {view['auc']:.3f}", false.tolist(), true.tolist()),
        mean,
        [(x.tolist(), y.tolist()) for x, y in folds.curves[:_MOST_CURVES]] if mean else [],
        points,
        title=title,
    )
    caption = "ROC of all rows, of each fold (grey) and their mean; operating points give sensitivity / specificity"
    return Figure(drawing, f"{alt}.", caption)


@_drawn
def _roc(
    whole: tuple[str, Any, Any], mean: tuple[str, Any, Any, Any] | None, of_folds: Sequence[tuple[Any, Any]],
    points: Sequence[tuple[float, float, float]], *, title: str,
) -> Any:  # fmt: skip
    figure, axes = _axes()
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":")
    for curve in of_folds:
        axes.plot(*curve, color=_GREY, linewidth=0.6, alpha=0.5)
    if mean is not None:
        grid, middle, spread = map(np.array, mean[1:])
        low, high = np.clip(middle - spread, 0, 1), np.clip(middle + spread, 0, 1)
        axes.fill_between(grid, low, high, color="#d5deea", linewidth=0)
        axes.plot(grid, middle, color="#b8651b", linewidth=1.4, linestyle="--", label=mean[0])
    label, *rates = whole
    axes.plot(*rates, color=_BLUE, linewidth=1.8, label=label)
    for colour, (threshold, sensitivity, specificity) in zip(cycle(_POINTS), points, strict=False):
        legend = f"operating point {threshold:g}: {100 * sensitivity:.1f} / {100 * specificity:.1f} %"
        axes.plot(1 - specificity, sensitivity, "o", color=colour, label=legend)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set_title(title, fontsize=10)
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    return figure


def calibration_figure(metrics: Metrics) -> Figure | None:
    """Draw the reliability curve of a table; None for a table without probabilities."""
    if (scores := metrics.get("calibration")) is None:
        return None
    bins = [f"{entry['confidence']:.2f}: {percent(entry['accuracy'])} of {entry['n']:,}" for entry in scores["bins"]]
    alt = f"Reliability diagram, mean confidence and how many were right: {'; '.join(bins)}. ECE {scores['ece']:.3f}."
    caption = f"Reliability; bars show the share of {rows_of(metrics)} at a confidence"
    return Figure(_calibration(scores["bins"], scores["ece"]), alt, caption)


@_drawn
def _calibration(bins: Sequence[Mapping[str, float]], ece: float) -> Any:
    figure, axes = _axes()
    confidence, accuracy, counts = ([entry[name] for entry in bins] for name in ("confidence", "accuracy", "n"))
    axes.bar(confidence, np.array(counts) / sum(counts), width=0.04, color="#d5deea")
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":")
    axes.plot(confidence, accuracy, "o-", color=_BLUE, linewidth=1.8, markersize=4, label=f"ECE {ece:.3f}")
    axes.set(xlabel="confidence", ylabel="share that is right", xlim=(0, 1.01), ylim=(0, 1.01))
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    return figure


def abstention_figure(metrics: Metrics) -> Figure | None:
    """Draw accuracy against the share of images answered; None for a table without probabilities."""
    if (entries := metrics.get("abstention")) is None:
        return None
    rows, places = rows_of(metrics), range(len(entries))
    picked = {min(places, key=lambda k: abs(entries[k]["n"] / metrics["n"] - share)) for share in (1, 0.5, 0.1)}
    texts = [
        f"of the surest {entries[k]['n']:,} {rows} {percent(entries[k]['accuracy'])} are right" for k in sorted(picked)
    ]
    caption = f"Abstention: accuracy when only the surest {rows} are answered"
    drawing = _abstention(entries, metrics["n"], metrics["accuracy"])
    return Figure(drawing, f"Abstention curve: {'; '.join(texts)}.", caption)


@_drawn
def _abstention(found: Sequence[Mapping[str, float]], rows: int, overall: float) -> Any:
    figure, axes = _axes()
    shares, accuracy = [entry["n"] / rows for entry in found], [entry["accuracy"] for entry in found]
    axes.plot(shares, accuracy, "o-", color=_BLUE, linewidth=1.8, markersize=4)
    axes.axhline(overall, color=_GREY, linewidth=0.8, linestyle=":")
    axes.set(xlabel="share answered, the surest first", ylabel="accuracy on them", xlim=(0, 1.01))
    axes.set_ylim(top=1.01)
    return figure


def decision_figure(curve: Metrics) -> Figure:
    """Draw the net benefit of a model over thresholds, beside calling all or nobody positive.

    Parameters
    ----------
    curve : mapping
        Lists of equal length: ``threshold``, ``model``, ``treat_all``.

    References
    ----------
    Vickers & Elkin 2006.
    """
    places = range(0, len(curve["threshold"]), max(1, len(curve["threshold"]) // 5))
    texts = [
        f"at {curve['threshold'][k]:.2f} {_net(curve['model'][k])} against {_net(curve['treat_all'][k])}"
        for k in places
    ]
    alt = f"Decision curve, net benefit of the model against that of calling all positive: {'; '.join(texts)}."
    caption = "Decision curve: net benefit by the score from which on a case is called positive"
    return Figure(_decision(curve), alt, caption)


def _net(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.3f}"


@_drawn
def _decision(curve: Metrics) -> Any:
    figure, axes = _axes()
    thresholds, model, everyone = (np.array(curve[name], float) for name in ("threshold", "model", "treat_all"))
    axes.axhline(0, color=_GREY, linewidth=0.8, linestyle=":", label="nobody positive")
    axes.plot(thresholds, everyone, color="#b8651b", linewidth=1.4, linestyle="--", label="all positive")
    axes.plot(thresholds, model, color=_BLUE, linewidth=1.8, label="model")
    top = np.nanmax([*model, *everyone, 0.05])
    axes.set_ylim(-0.25 * top, 1.1 * top)  # below, calling all positive falls without end
    axes.set(xlabel="threshold of the score", ylabel="net benefit")
    axes.legend(loc="upper right", fontsize=8, frameon=False)
    return figure


def learning_figure(curves: Curves) -> Figure:
    """Draw loss and accuracy over epochs, a line per fold: training full, validation dashed.

    Parameters
    ----------
    curves : mapping
        Fold to ``loss``, ``accuracy`` and, where something validates, ``val_loss`` and ``val_accuracy``.
    """
    texts = []
    for fold, curve in curves.items():
        loss, held = curve["loss"], [value for value in curve.get("val_loss", ()) if value is not None]
        texts.append(f"fold {fold}: loss {loss[0]:.3f} to {loss[-1]:.3f} in {len(loss)} epochs")
        if held:
            best = curve["val_loss"].index(min(held)) + 1
            texts[-1] += f", least validation loss {min(held):.3f} in epoch {best}"
    caption = "Learning curves: loss and accuracy of each fold, on its training part and on what validates"
    return Figure(_learning(curves), f"Learning curves. {'; '.join(texts)}.", caption)


@_drawn
def _learning(curves: Curves) -> Any:
    figure, sides = _axes(8.0, 3.4, columns=2)
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
    figure.tight_layout()
    return figure
