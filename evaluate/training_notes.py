"""Warnings about training sets of folds: a class is missing, or classes have other shares than in all images."""

from __future__ import annotations

import numpy as np

from .predictions import PredictionTable

FEW_IMAGES = 5
"""With fewer training images of a class, a fold hardly learns it: they are of at most as many patients."""

FAR = 0.2
"""Total variation between the classes of training images and of all images above which a fold is named. The odds of a
class are then at least 2.25 times too high or too low, and so are the scores."""

_MOST = 3


def fold_notes(table: PredictionTable) -> list[str]:
    """Return a sentence for each fold whose training set nearly lacks a class, or has very different shares of classes.

    The shares are compared with those of all images, not of the test set, which differ for every fold that tests a few
    patients. What matters is whether the models of a fold learnt another prevalence.

    Parameters
    ----------
    table : PredictionTable
        With ``trained``; otherwise there is no sentence.
    """
    notes, named = list[str](), list[str]()
    images = dict(zip(table.image_ids, table.labels.tolist(), strict=True))
    whole = np.bincount(list(images.values()), minlength=len(table.classes)) / max(len(images), 1)
    for (fold, inside), counts in zip(table.fold_rows(), table.trained, strict=False):
        lacking = [
            f"{count or 'no'} image{'s' * (count > 1)} of {name}"
            for name, count in zip(table.classes, counts, strict=True)
            if count < FEW_IMAGES
        ]
        if lacking:
            right = 100 * float((table.predicted == table.labels)[inside].mean())
            listing = ", ".join(lacking[:_MOST]) + " and further classes" * (len(lacking) > _MOST)
            notes.append(f"Fold {fold} trained on {listing}, fewer than {FEW_IMAGES}: its {right:.1f} % means little")
        away = np.array(counts) / max(sum(counts), 1) - whole
        if not lacking and table.row_is != table.group_is and np.abs(away).sum() / 2 > FAR:
            far = int(np.abs(away).argmax())
            named.append(
                f"Fold {fold} trained on {100 * (whole + away)[far]:.0f} % {table.classes[far]}, while "
                f"{100 * whole[far]:.0f} % of all images are: its scores do not compare with those of other folds"
            )
    if len(notes) > _MOST:
        notes = [f"{len(notes)} folds trained on fewer than {FEW_IMAGES} images of a class; their results mean little"]
    if len(named) > _MOST:
        named = [f"{len(named)} folds trained on shares of classes far from those of all images"]
    return [*notes, *named]
