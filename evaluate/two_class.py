"""A two-class view of a table: some classes are positive, the others negative."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..data import match_class
from ..errors import InputError

__all__ = ["TWO_CLASS_RULES", "default_positive", "positive_mask", "two_class_scores"]

TWO_CLASS_RULES = ("sum", "max")
"""``sum`` adds the probabilities of the positive classes; ``max`` takes the largest of each side and
renormalises, as the published code of Rakhlin et al. 2018 does."""

_CARCINOMA = (("InSitu", "Invasive"), ("malignant",), ("positive",))
"""Positive classes of known datasets: carcinoma (Rakhlin et al. 2018, sec. 3), malignant (BreakHis), positive (IDC)."""


def default_positive(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the positive classes of a known dataset, empty for any other.

    Examples
    --------
    >>> default_positive(["Normal", "Benign", "InSitu", "Invasive"])
    ('InSitu', 'Invasive')
    """
    for known in _CARCINOMA:
        found = tuple(name for name in (match_class(k, classes) for k in known) if name is not None)
        if len(found) == len(known) < len(classes):
            return found
    return ()


def positive_mask(classes: Sequence[str], positive: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which classes are positive, bool of shape (classes,).

    Raises
    ------
    InputError
        A name that is no class, or every class positive.
    """
    names = []
    for text in positive:
        found = match_class(text, classes)
        if found is None:
            raise InputError(f"--positive {text}: no such class; choose among {', '.join(classes)}")
        names.append(found)
    mask = np.array([name in names for name in classes])
    if mask.all():
        raise InputError("--positive: every class is positive; leave at least one negative")
    return mask


def two_class_scores(
    probabilities: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_], *, rule: str = "sum"
) -> npt.NDArray[np.float64]:
    """Return the score of the positive side, float64 of shape (n,).

    Parameters
    ----------
    probabilities : ndarray of float64, shape (n, classes)
    positive : ndarray of bool, shape (classes,)
    rule : {"sum", "max"}
        See `TWO_CLASS_RULES`.

    Examples
    --------
    >>> two_class_scores(np.array([[0.5, 0.1, 0.25, 0.15]]), np.array([False, False, True, True]), rule="max")
    array([0.33333333])
    """
    if rule == "sum":
        total: npt.NDArray[np.float64] = probabilities[:, positive].sum(axis=1)
        return total
    yes, no = probabilities[:, positive].max(axis=1), probabilities[:, ~positive].max(axis=1)
    both = yes + no
    scores: npt.NDArray[np.float64] = np.divide(yes, both, out=np.full_like(both, 0.5), where=both > 0)
    return scores
