"""Which predictions are unsure, and how right a model is on the images of which it is surest."""

from __future__ import annotations

from typing import Any

import numpy as np

from .intervals import Sampled
from .predictions import PredictionTable
from .temperature import fold_temperatures

_COVERAGES = tuple(share / 100 for share in range(100, 0, -5))
"""Shares of images that are answered (ours)."""

UNSURE_SHARE = 0.2
"""Share of out-of-fold predictions that lie below the confidence under which one counts as unsure (ours)."""


def unsure_rule(table: PredictionTable, *, share: float = UNSURE_SHARE) -> dict[str, Any] | None:
    """Return the confidence below which the least sure predictions of a table lie, and how many are right on each side.

    The share is named beforehand and the confidence follows from it without a look at a label, so that how many are
    right above it is measured as on any images, and its interval holds. A confidence that were chosen for a wanted
    accuracy would be the one at which chance was kindest.

    Parameters
    ----------
    table : PredictionTable
        Out-of-fold predictions.
    share : float

    Returns
    -------
    dict or None
        ``below`` (a confidence), ``share`` (as asked for), ``calibrated`` (whether confidences are scaled by
        `fold_temperatures`), ``unit`` (``group`` or ``image``), and ``sure`` and ``unsure``, each with ``n``, ``right``
        and the 95 % ``interval`` of the share that is right. None without probabilities, or where none is less sure
        than the others.

    References
    ----------
    Geifman & El-Yaniv 2017, sec. 2 (selective classification).
    """
    if table.probabilities is None or not len(table):
        return None
    scaled = fold_temperatures(table)
    probabilities = table.probabilities if scaled is None else scaled[1]
    confidence = probabilities[np.arange(len(table)), table.predicted]
    below = round(float(np.sort(confidence)[int(share * len(table))]), 3)
    unsure = confidence < below
    if not unsure.any() or unsure.all():
        return None
    hits, sampled = table.predicted == table.labels, Sampled(table)
    sides: dict[str, Any] = {}
    for name, inside in (("sure", ~unsure), ("unsure", unsure)):
        interval = sampled.share(hits, inside)
        ends = None if interval is None else interval.ends
        sides[name] = {"n": int(inside.sum()), "right": int(hits[inside].sum()), "interval": ends}
    return {"below": below, "share": share, "calibrated": scaled is not None, "unit": sampled.unit, **sides}


def abstention(table: PredictionTable) -> list[dict[str, Any]] | None:
    """Compute the accuracy when only the most confident predictions are given.

    Parameters
    ----------
    table : PredictionTable

    Returns
    -------
    list of dict or None
        Per share of images answered, from 1 down by 0.05: ``coverage`` (asked for), ``confidence`` (the least that is
        answered), ``n`` (images answered; all of equal confidence are) and ``accuracy`` over them. None for a table
        without probabilities.

    References
    ----------
    Geifman & El-Yaniv 2017, sec. 2 (selective classification, risk against coverage).
    """
    confidence = table.confidence
    if confidence is None:
        return None
    hits = table.predicted == table.labels
    ordered = np.sort(confidence)[::-1]
    found = []
    for coverage in _COVERAGES:
        least = float(ordered[max(1, round(coverage * len(table))) - 1])
        kept = confidence >= least
        found.append(
            {
                "coverage": coverage,
                "confidence": least,
                "n": int(kept.sum()),
                "accuracy": float(hits[kept].mean()),
            }
        )
    return found
