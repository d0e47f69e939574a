"""Folds whose training part holds next to nothing of a class: said beside every figure that counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FEW_IMAGES = 5
"""Images of a class below which a training part hardly teaches it (ours: a handful, from at most as many patients)."""

_MOST_LINES = 3
"""Folds that are named one by one (ours)."""

_MOST_CLASSES = 3
"""Classes of a fold that are named (ours)."""


@dataclass(frozen=True)
class FoldNote:
    """A class that a fold hardly trained on.

    Attributes
    ----------
    fold : int
    label : str
        The class.
    trained : int
        Its images in the training part of the fold, fewer than `FEW_IMAGES`.
    """

    fold: int
    label: str
    trained: int


def fold_notes(trained: Mapping[int, Sequence[str]], classes: Sequence[str]) -> tuple[FoldNote, ...]:
    """Find the classes that each fold hardly trained on.

    Parameters
    ----------
    trained : mapping
        Fold to the label of each image that it trains on.
    classes : sequence of str

    Examples
    --------
    >>> fold_notes({1: ["a"] * 9 + ["b"] * 2}, ["a", "b"])
    (FoldNote(fold=1, label='b', trained=2),)
    """
    counts = {fold: Counter(labels) for fold, labels in trained.items()}
    return tuple(
        FoldNote(fold, label, counts[fold][label])
        for fold in sorted(counts)
        for label in classes
        if counts[fold][label] < FEW_IMAGES
    )


def fold_note_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each fold of a table that hardly trained on a class, one for all where these are many.

    Parameters
    ----------
    metrics : mapping
        Of `compute_metrics`; those of 0.1 have no ``fold_notes``.
    """
    accuracy = dict(zip(metrics["folds"], metrics["accuracy_per_fold"], strict=True))
    by_fold: dict[int, list[str]] = {}
    for note in metrics.get("fold_notes", ()):
        by_fold.setdefault(note["fold"], []).append(f"{_images(note['trained'])} of {note['label']}")
    lines = [
        f"fold {fold} trained on {_listed(few)}, fewer than {FEW_IMAGES}"
        + (f": its {100 * accuracy[fold]:.1f} % says little" if fold in accuracy else "")
        for fold, few in by_fold.items()
    ]
    if len(lines) <= _MOST_LINES:
        return lines
    first = lines[0].partition(", fewer")[0]
    return [
        f"{len(lines)} folds trained on fewer than {FEW_IMAGES} images of a class and their figures say little; the "
        f"first: {first}"
    ]


def _images(count: int) -> str:
    return "no image" if not count else "1 image" if count == 1 else f"{count} images"


def _listed(few: Sequence[str]) -> str:
    more = f" and {len(few) - _MOST_CLASSES} further classes" if len(few) > _MOST_CLASSES else ""
    return ", ".join(few[:_MOST_CLASSES]) + more
