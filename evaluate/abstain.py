"""Abstention: how right a model is on the images of which it is surest."""

from __future__ import annotations

from typing import Any

import numpy as np

from .predictions import PredictionTable

_COVERAGES = tuple(share / 100 for share in range(100, 0, -5))
"""Shares of images that are answered (ours)."""


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
