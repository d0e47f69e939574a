"""What a reader must know of the training parts of folds: classes that a fold lacks, or holds in other shares."""

from __future__ import annotations

import numpy as np

from .predictions import PredictionTable

FEW_IMAGES = 5
"""Images of a class below which a training part hardly teaches it (ours: a handful, from at most as many patients)."""

FAR = 0.2
"""Share of its training images by which a fold differs from all images in their classes, from which on it is noted
(ours): the odds of a class are then at least 2.25 times too high or too low, and so are the scores."""

_MOST = 3


def fold_notes(table: PredictionTable) -> list[str]:
    """Return a sentence on each fold whose training part has next to none of a class, or far other shares of classes.

    The distance of shares is their total variation. That of the images tested would also be large for a fold that
    tests a few patients; what matters is whether the models learnt another prevalence than that of the table.

    Parameters
    ----------
    table : PredictionTable
        With ``trained``; else there is no note.
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
            notes.append(f"fold {fold} trained on {listing}, fewer than {FEW_IMAGES}: its {right:.1f} % means little")
        away = np.array(counts) / max(sum(counts), 1) - whole
        if not lacking and table.row_is != table.group_is and np.abs(away).sum() / 2 > FAR:
            far = int(np.abs(away).argmax())
            named.append(
                f"fold {fold} trained on {100 * (whole + away)[far]:.0f} % {table.classes[far]}, while "
                f"{100 * whole[far]:.0f} % of all images are: its scores do not compare with those of other folds"
            )
    if len(notes) > _MOST:
        notes = [f"{len(notes)} folds trained on fewer than {FEW_IMAGES} images of a class; their results mean little"]
    if len(named) > _MOST:
        named = [f"{len(named)} folds trained on classes in far other shares than those of all images"]
    return [*notes, *named]
