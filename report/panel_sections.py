"""What a report says of one table: its main figure, folds, classes, calibration, operating points and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..evaluate import PaperTable, PredictionTable, images_tested, nested, rows_of
from .figures import abstention_figure, calibration_figure, confusion_figure, decision_figure, roc_figure
from .page import Block, Grid
from .tables import class_cells, class_headings, figure_cell, interval_cell, percent, shown_metrics, star, summary_lines
from .wording import NO_POSITIVES, fold_note_lines, interval_notes, interval_source, p_value

Metrics = Mapping[str, Any]


def panel_blocks(table: PredictionTable, metrics: Metrics, paper: PaperTable | None) -> Iterator[Block]:
    """Show a table and its metrics, but for pictures and learning curves.

    Parameters
    ----------
    table : PredictionTable
    metrics : mapping
        Of `measure`.
    paper : PaperTable, optional
    """
    yield from _main(metrics)
    if paper is not None:
        header = paper.header("model", starred=True)
        yield Block(grid=Grid("Accuracy per fold, percent", header, paper.cells(), total=True))
        yield Block(
            text="A store's row is the mean over seeds of the fold accuracies, as published; “seed avg” is the "
            "accuracy of its prediction averaged over seeds."
        )
    yield from _classes(metrics)
    yield from _calibration(metrics)
    yield from _two_class(table, metrics)


_STARRED = (
    "* This interval may cover less than 95 %, since its figure rests on few or unequal units; metrics.json says of "
    "each on how many (intervals, warnings)."
)


def _main(metrics: Metrics) -> Iterator[Block]:
    said = f"of {images_tested(metrics)} {'is' if metrics['n'] == 1 else 'are'} right"
    if inside := nested(metrics, "intervals", "accuracy"):
        said += f" (95 % interval {percent(inside)}, {interval_source(metrics)})"
    if len(metrics["folds"]) > 1:
        spread = f"{percent(metrics['accuracy_mean'])} ± {percent(metrics['accuracy_std'])}"
        said += f". Mean over folds {spread} (population spread over {len(metrics['folds'])} folds)"
    yield Block(lead=percent(metrics["accuracy"]), text=f"{said}. Protocol: {metrics['protocol'] or 'unknown'}.")
    for note in interval_notes(metrics):
        yield Block(note=_sentence(f"the interval of the accuracy {note}" if note[:5] == "rests" else note))
    others = [
        f"{spec.title} {figure_cell(metrics, spec.unit, metrics[spec.name], spec.name, between=' ')}"
        for spec in shown_metrics([metrics])
        if spec.name != "accuracy" and "value" in spec.shown and metrics[spec.name] is not None
    ]
    if others:
        yield Block(text=_sentence("; ".join(others)))
    yield from (Block(text=line) for line in summary_lines(shown_metrics([metrics]), metrics))
    if nested(metrics, "intervals", "warnings"):
        yield Block(note=_STARRED)
    yield from (Block(note=_sentence(line)) for line in fold_note_lines(metrics))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].removesuffix('.')}."


def _classes(metrics: Metrics) -> Iterator[Block]:
    rows = [[name, f"{one['n']:,}", *class_cells(metrics, name)] for name, one in metrics["per_class"].items()]
    yield Block(heading="Per class")
    caption = "Each class against the rest" + " with 95 % intervals" * bool(nested(metrics, "intervals", "per_class"))
    yield Block(grid=Grid(caption, ["class", rows_of(metrics), *class_headings()], rows))
    if (drawn := confusion_figure(metrics)) is None:
        yield Block(note="The confusion matrix of so many classes stands in confusion.csv alone.")
    else:
        yield Block(figures=[drawn])


def _calibration(metrics: Metrics) -> Iterator[Block]:
    found = metrics.get("calibration")
    if found is None:
        if note := metrics.get("calibration_note"):
            yield Block(heading="Calibration", text=_sentence(note))
        return
    yield Block(heading="Calibration")
    said = f"Expected calibration error (ECE) {found['ece']:.3f}"
    if found.get("ece_expected") is not None:
        low, high = found["ece_expected_range"]
        said += (
            f"; perfect calibration would give {found['ece_expected']:.3f} on as many rows (95 % of samples "
            f"{low:.3f} to {high:.3f}; p {p_value(found['ece_p'])})"
        )
    said += f". Brier score {found['brier']:.3f}, negative log-likelihood {found['nll']:.3f}."
    if found.get("slope") is not None:
        said += f" Calibration slope {_signed(found, 'slope')} and intercept {_signed(found, 'intercept')}"
        said += " (1 and 0 are perfect; a slope below 1 says too sure)."
    yield Block(text=said)
    if scaled := found.get("temperature"):
        each = ", ".join(f"{value:.2f}" for value in scaled["per_fold"])
        yield Block(
            text=f"After temperature scaling, each fold by a temperature fitted on the other folds ({each}): ECE "
            f"{scaled['ece']:.3f}, Brier score {scaled['brier']:.3f}, negative log-likelihood {scaled['nll']:.3f}."
        )
    yield Block(figures=list(filter(None, (calibration_figure(metrics), abstention_figure(metrics)))))
    if classes := found.get("class_wise"):
        names = ("ece", "ece_expected", "slope", "intercept")
        rows = [[name, f"{one['n']:,}", *(_number(one[key]) for key in names)] for name, one in classes.items()]
        header = ("class", rows_of(metrics), "ECE", "ECE under perfect calibration", "slope", "intercept")
        yield Block(grid=Grid("Calibration of each class against the rest", header, rows))


def _two_class(table: PredictionTable, metrics: Metrics) -> Iterator[Block]:
    view = metrics.get("two_class")
    if view is None:
        return
    yield Block(heading=f"Operating points: {' + '.join(view['positive'])} against the rest")
    said = f"Accuracy {figure_cell(metrics, 'percent', view['accuracy'], 'two_class', 'accuracy', between=' ')}"
    if view["auc"] is not None:
        said += f", AUC {figure_cell(metrics, 'number', view['auc'], 'two_class', 'auc', between=' ')}"
    if sum(value is not None for value in view["auc_per_fold"]) > 1:
        said += f", mean AUC of the folds {view['auc_mean']:.3f} ± {view['auc_std']:.3f}"
    said += f" (rule: {view['rule']})."
    if view.get("prevalence") is not None:
        said += f" {percent(view['prevalence'])} of the {rows_of(metrics)} are positive."
    if view.get("slope") is not None:
        said += f" Calibration slope of the score {_signed(view, 'slope')}, intercept {_signed(view, 'intercept')}."
    yield Block(text=said)
    points = [(f"{p['threshold']:g}", p) for p in view["thresholds"]]
    points += [(f"for sensitivity {percent(p['wanted'])}", p) for p in view.get("wanted", ())]
    fixed = nested(metrics, "intervals", "two_class", "thresholds") or ()
    ends = {f"{one['threshold']:g}": one for one in fixed}
    for wanted in view.get("without_positives", ()):
        yield Block(text=f"Wanted sensitivity {percent(wanted)}: {NO_POSITIVES}.")
    if points:
        yield Block(grid=_points(metrics, points, ends))
        yield from _wanted(view.get("wanted", ()))
    curve = view.get("decision_curve")
    if figures := list(filter(None, (roc_figure(table, metrics), decision_figure(curve) if curve else None))):
        yield Block(figures=figures)


def _points(metrics: Metrics, points: Sequence[tuple[str, Metrics]], ends: Mapping[str, Metrics]) -> Grid:
    header = ["operating point", "sensitivity", "specificity"]
    more = [(key, title) for key, title in (
        ("ppv", "PPV"), ("npv", "NPV"), ("lr_positive", "LR+"), ("lr_negative", "LR−"), ("net_benefit", "net benefit"),
    ) if any(key in point for _, point in points)]  # fmt: skip
    shares = list(dict.fromkeys(at["prevalence"] for _, point in points for at in point.get("at_prevalence", ())))
    header += [title for _, title in more]
    header += [f"{title} at {percent(share)}" for share in shares for title in ("PPV", "NPV", "net benefit")]
    header += ["true positive", "false negative", "true negative", "false positive"]
    rows = []
    for name, point in points:
        found = ends.get(name, {})
        row = [name]
        for key in ("sensitivity", "specificity"):
            inside = found.get(key) or point.get(f"{key}_interval")
            mark = star(metrics, f"two_class.{key}@{point['threshold']}")
            row.append(interval_cell("percent", point[key], inside, mark))
        row += [percent(point.get(key)) if key in ("ppv", "npv") else _number(point.get(key)) for key, _ in more]
        at = {one["prevalence"]: one for one in point.get("at_prevalence", ())}
        for share in shares:
            one = at.get(share, {})
            row += [percent(one.get("ppv")), percent(one.get("npv")), _number(one.get("net_benefit"))]
        (true_negative, false_positive), (false_negative, true_positive) = point["confusion"]
        row += [f"{count:,}" for count in (true_positive, false_negative, true_negative, false_positive)]
        rows.append(row)
    return Grid("What is called positive from a score on; sensitivity and specificity with 95 % intervals where there "
                "are any", header, rows)  # fmt: skip


def _wanted(points: Sequence[Metrics]) -> Iterator[Block]:
    for point in points:
        fitted = {
            "other folds": "fitted on the other folds, and measured on the fold itself",
            "same rows": "fitted on the rows on which it is measured, so its figures are too good",
        }.get(point["fitted"], point["fitted"])
        said = f"The threshold for a sensitivity of {percent(point['wanted'])} is {fitted}"
        if point["threshold"] is not None:
            said += f"; new images are called positive from {point['threshold']:.3f} on"
        said += "."
        if not point["enough"]:
            said += " Too few units hold positive cases to promise this sensitivity."
        yield Block(text=said)


def _signed(found: Metrics, key: str) -> str:
    return interval_cell("number", found[key], found.get(f"{key}_interval"), between=" ")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
