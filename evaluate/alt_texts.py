"""What figures say, in words with their numbers, for who cannot see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .columns import percent
from .wording import listed, plural, predicted

_MOST_CLASSES = 12
"""Classes up to which a confusion matrix is read out (ours)."""

Metrics = Mapping[str, Any]


def confusion_alt(metrics: Metrics) -> str:
    """Say how many rows of each class were predicted as which."""
    if len(metrics["classes"]) > _MOST_CLASSES:
        return f"Confusion matrix of {len(metrics['classes'])} classes; the file confusion.csv of an evaluation has it."
    lines = []
    for true, counts in zip(metrics["classes"], metrics["confusion"], strict=True):
        called = [f"{count:,} as {name}" for name, count in zip(metrics["classes"], counts, strict=True) if count]
        lines.append(f"of {sum(counts):,} {true} {listed(called) or 'none'}")
    return f"Confusion matrix, what was predicted: {'; '.join(lines)}."


def roc_alt(view: Metrics) -> str:
    """Say the areas and the operating points of a ROC figure."""
    said = f"ROC curve of {' + '.join(view['positive'])} against the rest: AUC of all rows {view['auc']:.3f}"
    if sum(value is not None for value in view["auc_per_fold"]) > 1:
        said += f", mean of the folds {view['auc_mean']:.3f} ± {view['auc_std']:.3f}"
    points = [
        f"at {point['threshold']:g} sensitivity {percent(point['sensitivity'])}, specificity "
        f"{percent(point['specificity'])}"
        for point in view["thresholds"]
    ]
    return "; ".join([said, *points]) + "."


def calibration_alt(found: Metrics) -> str:
    """Say how often each confidence was right."""
    bins = [f"{entry['confidence']:.2f}: {percent(entry['accuracy'])} of {entry['n']:,}" for entry in found["bins"]]
    return f"Reliability diagram, mean confidence and how many were right: {'; '.join(bins)}. ECE {found['ece']:.3f}."


def abstention_alt(metrics: Metrics) -> str:
    """Say the accuracy when all, half and the surest tenth are answered."""
    found: Sequence[Metrics] = metrics["abstention"]
    picked = {
        min(range(len(found)), key=lambda k: abs(found[k]["n"] / metrics["n"] - share)) for share in (1, 0.5, 0.1)
    }
    rows = plural(predicted(metrics))
    said = [f"of the surest {found[k]['n']:,} {rows} {percent(found[k]['accuracy'])} are right" for k in sorted(picked)]
    return f"Abstention curve: {'; '.join(said)}."


def decision_alt(curve: Metrics) -> str:
    """Say the net benefit at a few thresholds."""
    places = range(0, len(curve["threshold"]), max(1, len(curve["threshold"]) // 5))
    said = [
        f"at {curve['threshold'][k]:.2f} {_net(curve['model'][k])} against {_net(curve['treat_all'][k])}"
        for k in places
    ]
    return f"Decision curve, net benefit of the model against that of calling all positive: {'; '.join(said)}."


def _net(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.3f}"


def learning_alt(curves: Metrics) -> str:
    """Say where the loss of each fold began and ended, and its least validation loss."""
    said = []
    for fold, curve in curves.items():
        loss, held = curve["loss"], [value for value in curve.get("val_loss", ()) if value is not None]
        best = (
            f", least validation loss {min(held):.3f} in epoch {curve['val_loss'].index(min(held)) + 1}" if held else ""
        )
        said.append(f"fold {fold}: loss {loss[0]:.3f} to {loss[-1]:.3f} in {len(loss)} epochs{best}")
    return f"Learning curves. {'; '.join(said)}."
