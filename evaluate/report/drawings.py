"""Drawings as self-contained SVG images, and a description with their numbers for those who cannot see them."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np

from ...core import counted
from .. import (
    BENEFIT_THRESHOLDS,
    Mask,
    Metrics,
    Panel,
    PredictionTable,
    Values,
    corrected,
    fold_curves,
    net_benefit,
    ranking_figure,
    reliability_bins,
    rows_of,
    two_sides,
)
from .page import Drawing, cell, named, percent

_FEWEST_ROWS = 100
"""Fewest rows of which curves of single folds are drawn (bchisto's choice)."""

_MOST_CURVES = 100
"""Most folds whose curves are drawn (bchisto's choice)."""

_GRID = np.linspace(0.0, 1.0, 101)
"""False-positive rates at which the curves of folds are averaged (0, 0.01, ... 1)."""

_BLUE = "#1f5fa8"
_GREY = "#888888"
_POINTS = ("#2a8c4a", "#1f5fa8", "#b8651b", "#8a3fa0")

Rates = tuple[Values, Values]
Curves = Mapping[str, Mapping[str, Sequence[Any]]]


def _drawn(
    draw: Callable[[Any], None], width: float = 4.2, height: float = 3.8, *, columns: int = 1
) -> str:
    """Return as a data address of an SVG image what is drawn on axes, of several columns an array of them.

    Class names are text, whatever signs they hold: a dollar sign begins no formula. A name in letters that matplotlib's
    font lacks is left to the fonts of the reader's browser. No date, so that equal content gives equal bytes.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Sheet
    from matplotlib.font_manager import findfont, get_font
    from matplotlib.text import Text

    buffer = io.BytesIO()
    signs_of_font = get_font(findfont("DejaVu Sans")).get_charmap()
    with mpl.rc_context(
        {"text.parse_math": False, "svg.hashsalt": "bchisto", "svg.fonttype": "path"}
    ):
        figure = Sheet(figsize=(width, height))
        FigureCanvasAgg(figure)
        draw(figure.subplots(1, columns))
        signs = {sign for text in figure.findobj(Text) for sign in text.get_text()} - {"\n"}
        with warnings.catch_warnings():
            if any(ord(sign) not in signs_of_font for sign in signs):
                mpl.rcParams["svg.fonttype"] = "none"
                warnings.filterwarnings("ignore", message="Glyph .* missing from")
            figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


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
        left = corrected(metrics, key)
        texts.append(f"{title} {cell(figure, between=' ')}, chance {percent(chances[row])}")
        marks.append((row, figure, "o", _BLUE))
        if left != figure:
            texts[row] += f", {_CORRECTED} {cell(left, between=' ')}"
            marks.append((row + 0.28, left, "D", _POINTS[2]))

    def draw(axes: Any) -> None:
        for height, figure, sign, colour in marks:
            ends = 100 * np.array(figure.interval or [np.nan, np.nan])
            axes.plot(ends, [height, height], color=colour, linewidth=2.5)
            axes.plot(100 * figure.value, height, sign, color=colour)
        places = range(len(rows))
        axes.plot(100 * np.array(chances), places, "k|", markersize=16, markeredgewidth=2)
        axes.set_yticks(places, titles, fontsize=9)
        axes.set(xlabel="% right", xlim=(-1, 101), ylim=(len(rows) - 0.4, -0.6))
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)

    alt = f"{caption}: {'; '.join(texts)}."
    caption += " as measured: a point with its 95 % CI, no line if that cannot be estimated; the upright tick is chance"
    if len(marks) > len(rows):
        caption += f"; the diamond: {_CORRECTED}"
    return Drawing(_drawn(draw, 6.0, 0.55 + 0.34 * len(rows)), alt, caption)


def roc_drawing(table: PredictionTable, metrics: Metrics) -> Drawing | None:
    """Draw the ROC of the two-class view with its operating points; None without scores.

    Of several folds it is the mean of theirs, since scores of different models are not ranked together.

    References
    ----------
    Fawcett 2006, sec. 8.1 (vertical averaging).
    """
    view = metrics.get("two_class")
    if view is None or table.probabilities is None or view["auc"] is None:
        return None
    sides = two_sides(table, view["positive"], view["rule"])
    roc = _Roc.of(table, sides.truth, sides.scores, view)
    title = f"{' + '.join(view['positive'])} against the rest"
    points = [
        (point["threshold"], point["sensitivity"].value, point["specificity"].value)
        for point in view["thresholds"]
    ]

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":")
        for rates in roc.of_folds:
            axes.plot(*rates, color=_GREY, linewidth=0.6, alpha=0.5)
        axes.plot(*roc.rates, color=_BLUE, linewidth=1.8, label=roc.label)
        if roc.pooled:
            axes.plot(
                *roc.pooled_rates, color=_BLUE, linewidth=1.0, linestyle="--", label=roc.pooled
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

    texts = ["; ".join(filter(None, (roc.label, roc.pooled)))]
    texts += [
        f"at {at:g} sensitivity {percent(sensitivity)}, specificity {percent(specificity)}"
        for at, sensitivity, specificity in points
    ]
    return Drawing(
        _drawn(draw),
        f"ROC curve of {title}: {'; '.join(texts)}.",
        f"{roc.kind}; operating points give sensitivity / specificity",
    )


class _Roc(NamedTuple):
    """The curves of a view; rates are false and true positive ones.

    Attributes
    ----------
    rates : (ndarray, ndarray)
    kind, label : str
        What they are, and their AUC.
    of_folds : sequence of (ndarray, ndarray)
        Of single folds that are drawn beneath.
    pooled : str
        The AUC of all images ranked together; empty where it adds nothing.
    pooled_rates : (ndarray, ndarray)
    """

    rates: Rates
    kind: str
    label: str
    of_folds: Sequence[Rates]
    pooled: str
    pooled_rates: Rates

    @classmethod
    def of(
        cls,
        table: PredictionTable,
        truth: Mask,
        scores: Values,
        view: Metrics,
    ) -> _Roc:
        from sklearn.metrics import roc_curve

        pooled_rates = roc_curve(truth, scores)[:2]
        pooled = ""
        if "auc_pooled" in view:
            pooled = f"all images ranked together, AUC {view['auc_pooled']:.3f}"
        _, curves = fold_curves(table, truth, scores)
        of_folds = []
        if len(curves) < 2:
            rates = curves[0] if curves else pooled_rates
            label = f"AUC {view['auc'].value:.3f}"
            kind = "ROC"
        else:
            mean = np.mean([np.interp(_GRID, false, true) for false, true in curves], axis=0)
            rates = (_GRID, mean)
            label = f"mean of folds, AUC {view['auc_mean']:.3f} ± {view['auc_std']:.3f}"
            kind = "Mean ROC of the folds"
            if len(truth) >= _FEWEST_ROWS:
                kind += " (each in grey)"
                of_folds = curves[:_MOST_CURVES]
        return cls(rates, kind, label, of_folds, pooled, pooled_rates)


def calibration_drawing(metrics: Metrics) -> Drawing | None:
    """Draw the reliability curve of a table; None without a calibration."""
    if not metrics["calibration"]:
        return None
    label = f"ECE {metrics['calibration']['ece']:.3f}"
    bins = metrics["calibration"]["bins"]
    source, texts = _reliability(bins, label, xlabel="confidence", ylabel="fraction correct")
    alt = f"Reliability diagram, mean confidence and how many were right: {texts}. {label}."
    caption = f"Reliability; bars show the fraction of {rows_of(metrics)} at a confidence"
    return Drawing(source, alt, caption)


def _reliability(bins: Sequence[Metrics], label: str, **names: str) -> tuple[str, str]:
    """Return a reliability curve, and its numbers in words."""
    scores, shares, counts = (
        [entry[key] for entry in bins] for key in ("confidence", "accuracy", "n")
    )

    def draw(axes: Any) -> None:
        axes.bar(scores, np.array(counts) / sum(counts), width=0.04, color="#d5deea")
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":")
        axes.plot(scores, shares, "o-", color=_BLUE, linewidth=1.8, markersize=4, label=label)
        axes.set(**names, xlim=(0, 1.01), ylim=(0, 1.01))
        axes.legend(loc="upper left", fontsize=8, frameon=False)

    texts = [
        f"{score:.2f}: {percent(share)} of {count:,}"
        for score, share, count in zip(scores, shares, counts, strict=True)
    ]
    return _drawn(draw), "; ".join(texts)


def score_drawings(table: PredictionTable, metrics: Metrics) -> list[Drawing]:
    """Draw the reliability and the net benefit of the positive score.

    Nothing unless it is a probability of one of two classes that both have rows.

    References
    ----------
    Vickers & Elkin 2006 (the decision curve).
    """
    view = metrics.get("two_class")
    if not view or view["auc"] is None or metrics["classes"][2:] or not metrics["calibration"]:
        return []
    sides = two_sides(table, view["positive"], view["rule"])
    (positive,) = view["positive"]
    folds = f"scores of {counted(len(metrics['folds']) or 1, 'test fold')} together"
    bins = reliability_bins(sides.scores, sides.truth)
    names = {"xlabel": f"score of {positive}", "ylabel": f"share of {positive}"}
    source, texts = _reliability(bins, folds, **names)
    caption = f"Reliability of the score of {positive}: {folds}"
    alt = f"Reliability of the score of {positive}, its mean and the share of {positive}: {texts}."
    return [Drawing(source, alt, caption), _benefit(positive, *net_benefit(*sides[:2]))]


def _benefit(positive: str, by_score: Values, of_all: Values) -> Drawing:
    """Draw a decision curve; what falls far below 0 is cut."""
    top = max(by_score.max(), of_all.max(), 0.05)

    def draw(axes: Any) -> None:
        axes.axhline(0, color=_GREY, linewidth=0.8, label="none called")
        axes.plot(BENEFIT_THRESHOLDS, of_all, "--", color=_GREY, label="all called")
        axes.plot(BENEFIT_THRESHOLDS, by_score, color=_BLUE, linewidth=1.8, label="by the score")
        axes.set(xlabel="threshold", ylabel="net benefit", xlim=(0, 1), ylim=(-top, 1.1 * top))
        axes.legend(loc="lower left", fontsize=8, frameon=False)

    values = zip(BENEFIT_THRESHOLDS, by_score, of_all, strict=True)
    texts = [
        f"at {at:g} {value:.3f}, all called {other:.3f}" for at, value, other in [*values][9::10]
    ]
    caption = f"Net benefit of calling {positive} (decision curve), as measured, without CI; below -{top:.2f} cut"
    alt = f"Net benefit of calling {positive} by the score: {'; '.join(texts)}; none called 0."
    return Drawing(_drawn(draw), alt, caption)


def learning_drawing(curves: Curves) -> Drawing:
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
        loss = curve["loss"]
        text = f"fold {fold}: loss {loss[0]:.3f} to {loss[-1]:.3f} in {len(loss)} epochs"
        validation = [value for value in curve.get("val_loss", ()) if value is not None]
        if validation:
            best = curve["val_loss"].index(min(validation)) + 1
            text += f", least validation loss {min(validation):.3f} in epoch {best}"
        texts.append(text)
    caption = "Learning curves: loss and accuracy of each fold, on its training part and on what validates"
    alt = f"Learning curves. {'; '.join(texts)}."
    return Drawing(_drawn(draw, 8.0, 3.4, columns=2), alt, caption)
