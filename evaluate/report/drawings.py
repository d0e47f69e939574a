"""Drawings as self-contained SVG images, and a description with their numbers for those who cannot see them."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from ...core import Content, counted
from .. import (
    Metrics,
    Panel,
    PredictionTable,
    TwoSides,
    Values,
    corrected,
    fold_curves,
    net_benefit,
    ranking_figure,
    reliability_bins,
    rows_of,
    two_sides,
)
from .page import Drawing, cell, named, percent, span

_FEWEST_ROWS = 100
"""Fewest rows of which curves of single folds are drawn (bchisto's choice)."""

_MOST_CURVES = 100
"""Most folds whose curves are drawn (bchisto's choice)."""

_GRID = np.linspace(0.0, 1.0, 101)
"""False-positive rates at which the curves of folds are averaged (0, 0.01, ... 1)."""

_BLUE = "#1f5fa8"
_GREY = "#888888"
_THIN = {"color": _GREY, "linewidth": 0.6, "alpha": 0.5}
_POINTS = ("#2a8c4a", "#1f5fa8", "#b8651b", "#8a3fa0")

Rates = tuple[Values, Values]
Curve = tuple[str, Rates, Content]
"""Label, rates and style of a curve."""
Curves = Mapping[str, Mapping[str, Sequence[Any]]]


def _drawn(
    draw: Callable[[Any], None],
    alt: str,
    caption: str,
    *,
    width: float = 3.6,
    height: float = 3.4,
    columns: int = 1,
) -> Drawing:
    """Return an SVG image of what `draw` draws on axes, or on an array of axes if there are several columns.

    Class names are text, whatever signs they hold: a dollar sign begins no formula. A name in letters that matplotlib's
    font lacks, and that the description names too, is left to the fonts of the reader's browser. No date, so that equal
    content gives equal bytes.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Sheet
    from matplotlib.font_manager import findfont, get_font

    buffer = io.BytesIO()
    signs_of_font = get_font(findfont("DejaVu Sans")).get_charmap()
    with mpl.rc_context(
        {
            "text.parse_math": False,
            "svg.hashsalt": "bchisto",
            "svg.fonttype": "path",
            "legend.fontsize": 8,
            "legend.frameon": False,
        }
    ):
        figure = Sheet(figsize=(width, height))
        FigureCanvasAgg(figure)
        draw(figure.subplots(1, columns))
        with warnings.catch_warnings():
            if any(ord(sign) not in signs_of_font for sign in alt):
                mpl.rcParams["svg.fonttype"] = "none"
                warnings.filterwarnings("ignore", message="Glyph .* missing from")
            figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    source = "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Drawing(source, alt, caption)


_FIGURES = {
    "accuracy": "largest_class",
    "balanced_accuracy": "balanced",
    "patient_recognition_rate": "by_group",
}
"""Figures that are drawn of a table, to the name of their chance."""

_CORRECTED = "corrected for the choice (BBC-CV)"

_MOST_BARS = 24
"""Most tables of which a figure is drawn: more do not fit on a page."""


def results_drawing(panels: Sequence[Panel]) -> Drawing:
    """Draw the figures of a table, or one figure of several, with their intervals and what chance reaches.

    Parameters
    ----------
    panels : sequence of Panel
        In the order of the rows.
    """
    tables = [panel.metrics for panel in panels]
    names = {key: named(key, tables[0]["names"]) for key in _FIGURES}
    rows = [(tables[0], key, name) for key, name in names.items() if tables[0].get(key)]
    caption = "Results"
    if len(panels) > 1:
        key = ranking_figure(tables) or "accuracy"
        rows = [(panel.metrics, key, panel.table.name) for panel in panels[:_MOST_BARS]]
        caption = f"{names[key].capitalize()} of {len(rows)} results"
    kinds = {metrics["units"]["kind"] for metrics in tables}
    titles = []
    chances = [metrics["chance"][_FIGURES[key]] for metrics, key, _ in rows]
    texts = []
    marks: list[Any] = []
    for row, (metrics, key, title) in enumerate(rows):
        if len(kinds) > 1:
            title += f" (CI by {metrics['names'][metrics['units']['kind']]})"
        titles.append(title)
        figure = metrics[key]
        best = corrected(metrics, key)
        texts.append(f"{title} {cell(figure, between=' ')}, chance {percent(chances[row])}")
        marks.append((row, figure, "o", _BLUE))
        if best != figure:
            texts[row] += f", {_CORRECTED} {cell(best, between=' ')}"
            marks.append((row + 0.28, best, "D", _POINTS[2]))

    def draw(axes: Any) -> None:
        for height, figure, sign, colour in marks:
            ends = 100 * np.array(figure.interval or [np.nan, np.nan])
            axes.plot(ends, [height, height], color=colour, linewidth=2.5)
            axes.plot(100 * figure.value, height, sign, color=colour)
        positions = range(len(rows))
        axes.plot(100 * np.array(chances), positions, "k|", markersize=16, markeredgewidth=2)
        axes.set_yticks(positions, titles, fontsize=9)
        axes.set(xlabel="% right", xlim=(-1, 101), ylim=(len(rows) - 0.4, -0.6))
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)

    alt = f"{caption}: {'; '.join(texts)}."
    caption += " as measured, with 95 % CI (no line: not estimable); the tick is chance"
    if len(marks) > len(rows):
        caption += f"; the diamond: {_CORRECTED}"
    return _drawn(draw, alt, caption, width=6.0, height=0.55 + 0.34 * len(rows))


def _draw_diagonal(axes: Any) -> None:
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":")


def roc_drawing(table: PredictionTable, metrics: Metrics) -> Drawing | None:
    """Draw the ROC of the two-class view with its operating points; None without scores.

    For several folds it is the mean of their curves, since scores of different models are not ranked together.

    References
    ----------
    Fawcett 2006, sec. 8.1 (vertical averaging).
    """
    view = metrics.get("two_class")
    if view is None or table.probabilities is None or view["auc"] is None:
        return None
    curves, kind = _roc_curves(table, two_sides(table, view["positive"], view["rule"]), view)
    title = f"{' + '.join(view['positive'])} against the rest"

    def draw(axes: Any) -> None:
        _draw_diagonal(axes)
        for label, rates, style in curves:
            axes.plot(*rates, label=label, **style)
        for colour, point in zip(cycle(_POINTS), view["thresholds"], strict=False):
            shares = f"{span(point['sensitivity'])} / {span(point['specificity'])} %"
            legend = f"operating point {point['threshold']:g}: {shares}"
            position = (1 - point["specificity"].value, point["sensitivity"].value)
            axes.plot(*position, "o", color=colour, label=legend)
        axes.set(
            xlabel="1 - specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01)
        )
        axes.set_title(title, fontsize=10)
        axes.legend(loc="lower right")

    texts = [label for label, *_ in curves if label]
    texts += [
        f"at {at['threshold']:g} sensitivity {percent(at['sensitivity'])}, specificity {percent(at['specificity'])}"
        for at in view["thresholds"]
    ]
    return _drawn(
        draw,
        f"ROC curve of {title}: {'; '.join(texts)}.",
        f"{kind}; operating points give sensitivity / specificity",
    )


def _roc_curves(table: PredictionTable, sides: TwoSides, view: Metrics) -> tuple[list[Curve], str]:
    """Return the curves of a view, each with its label and style, and the kind of the first that has a label."""
    from sklearn.metrics import roc_curve

    pooled = roc_curve(sides.truth, sides.scores)[:2]
    fold_rates = list(filter(None, fold_curves(table, sides.truth, sides.scores)))
    curves: list[Curve] = []
    kind = "ROC"
    label = f"AUC {view['auc'].value:.3f}"
    rates = (fold_rates or [pooled])[0]
    if len(fold_rates) > 1:
        kind = "Mean ROC of the folds"
        label = f"mean of folds, AUC {view['auc_mean']:.3f} ± {view['auc_std']:.3f}"
        rates = (_GRID, np.mean([np.interp(_GRID, *curve) for curve in fold_rates], axis=0))
        if len(table) >= _FEWEST_ROWS:
            kind += " (each in grey)"
            curves = [("", curve, _THIN) for curve in fold_rates[:_MOST_CURVES]]
    curves.append((label, rates, {"color": _BLUE, "linewidth": 1.8}))
    if "auc_pooled" in view:
        label = f"all images ranked together, AUC {view['auc_pooled']:.3f}"
        curves.append((label, pooled, {"color": _BLUE, "linewidth": 1.0, "linestyle": "--"}))
    return curves, kind


def precision_drawing(table: PredictionTable, metrics: Metrics) -> Drawing | None:
    """Draw the precision of the two-class view with what chance reaches; None if positive rows are not rare."""
    view = metrics.get("two_class", {})
    if "average_precision" not in view:
        return None
    from sklearn.metrics import precision_recall_curve

    sides = two_sides(table, view["positive"], view["rule"])
    precision, recall, _ = precision_recall_curve(sides.truth, sides.scores)
    chance = f"chance {view['prevalence']:.3f}"
    average = f"average precision {view['average_precision']:.3f}"

    def draw(axes: Any) -> None:
        axes.axhline(view["prevalence"], label=chance, color=_GREY, linestyle=":")
        axes.step(recall, precision, label=average, color=_BLUE, where="post")
        axes.set(xlabel="sensitivity", ylabel="PPV (precision)", ylim=(-0.01, 1.01))
        axes.legend()

    return _drawn(
        draw,
        f"Precision by sensitivity: {average}, {chance}.",
        f"Precision by sensitivity of all scores together: {average}, {chance}",
    )


def calibration_drawings(table: PredictionTable, metrics: Metrics) -> list[Drawing]:
    """Draw the reliability of the confidence, and of the positive score with its net benefit.

    Nothing without a calibration, and the latter only of two classes that both have rows.

    References
    ----------
    Vickers & Elkin 2006 (the decision curve).
    """
    calibration, view = metrics["calibration"], metrics.get("two_class")
    if not calibration:
        return []
    names = {"xlabel": "confidence", "ylabel": "fraction correct"}
    caption = f"Reliability; bars show the fraction of {rows_of(metrics)} at a confidence"
    label = f"ECE {calibration['ece']:.3f}"
    drawings = [_reliability(calibration["bins"], label, caption, names)]
    if view and view["auc"] and not metrics["classes"][2:]:
        sides = two_sides(table, view["positive"], view["rule"])
        (positive,) = view["positive"]
        names = {"xlabel": f"score of {positive}", "ylabel": f"share of {positive}"}
        folds = f"scores of {counted(len(metrics['folds']) or 1, 'test fold')} together"
        caption = f"Reliability of the score of {positive}: {folds}"
        bins = reliability_bins(sides.scores, sides.truth)
        drawings.append(_reliability(bins, folds, caption, names))
        drawings.append(_benefit(positive, net_benefit(sides.truth, sides.scores)))
    return drawings


def _reliability(
    bins: Sequence[Metrics], label: str, caption: str, names: Mapping[str, str]
) -> Drawing:
    """Draw a reliability curve; `names` are of its axes."""
    rows = np.array([(entry["confidence"], entry["accuracy"], entry["n"]) for entry in bins])
    scores, shares, counts = rows.T

    def draw(axes: Any) -> None:
        axes.bar(scores, counts / counts.sum(), width=0.04, color="#d5deea")
        _draw_diagonal(axes)
        axes.plot(scores, shares, "o-", color=_BLUE, linewidth=1.8, markersize=4, label=label)
        axes.set(**names, xlim=(0, 1.01), ylim=(0, 1.01))
        axes.legend(loc="best")

    texts = [f"{score:.2f}: {percent(share)} of {count:,.0f}" for score, share, count in rows]
    alt = f"{caption}. Mean {names['xlabel']} and {names['ylabel']}: {'; '.join(texts)}. {label}."
    return _drawn(draw, alt, caption)


def _benefit(positive: str, benefits: Values) -> Drawing:
    """Draw a decision curve; values far below 0 are cut off."""
    thresholds, *curves = benefits.T
    top = max(np.max(curves), 0.05)

    def draw(axes: Any) -> None:
        axes.set_prop_cycle(color=(_BLUE, _GREY, _GREY), linestyle=("-", "--", "-"))
        axes.plot(
            thresholds, np.transpose(curves), label=["by the score", "all called", "none called"]
        )
        axes.set(xlabel="threshold", ylabel="net benefit", xlim=(0, 1), ylim=(-top, 1.1 * top))
        axes.legend(loc="lower left")

    texts = [
        f"at {at:g} {by_score:.3f}, all called {by_all:.3f}"
        for at, by_score, by_all, _ in benefits[9::10]
    ]
    caption = f"Net benefit of calling {positive} (decision curve), as measured, without CI; below -{top:.2f} cut"
    alt = f"Net benefit of calling {positive} by the score: {'; '.join(texts)}; none called 0."
    return _drawn(draw, alt, caption)


def learning_drawing(curves: Curves) -> Drawing:
    """Draw loss and accuracy over epochs, a line per fold: training full, validation dashed.

    Parameters
    ----------
    curves : mapping
        Fold to ``loss``, ``accuracy`` and, if images validate, ``val_loss`` and ``val_accuracy``.
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
        axes.legend()
        axes.figure.tight_layout()

    texts = []
    for fold, curve in curves.items():
        loss = curve["loss"]
        text = f"fold {fold}: loss {loss[0]:.3f} to {loss[-1]:.3f} in {counted(len(loss), 'epoch')}"
        validation = [value for value in curve.get("val_loss", ()) if value is not None]
        if validation:
            text += f", least validation loss {min(validation):.3f}"
        texts.append(text)
    caption = "Learning curves: loss and accuracy of each fold, on its training part and on what validates"
    alt = f"Learning curves. {'; '.join(texts)}."
    return _drawn(draw, alt, caption, width=8.0, columns=2)
