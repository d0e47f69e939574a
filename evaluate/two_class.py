"""A two-class view of a table: some classes are positive, the others negative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments import as_numbers, as_texts
from ..data import known_positive, match_class
from ..errors import InputError
from ..options import option

__all__ = [
    "DEFAULT_THRESHOLDS",
    "TWO_CLASS_RULES",
    "TwoClassChoice",
    "TwoClassView",
    "default_positive",
    "positive_mask",
    "two_class_scores",
]

DEFAULT_THRESHOLDS = (0.33, 0.5)
"""Operating points, the set points of Rakhlin et al. 2018, sec. 3."""


TWO_CLASS_RULES = ("sum", "max")
"""``sum`` adds the probabilities of the positive classes; ``max`` takes the largest of each side and
renormalises, as the published code of Rakhlin et al. 2018 does."""


def default_positive(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the positive classes of a known dataset, empty for any other.

    Examples
    --------
    >>> default_positive(["Normal", "Benign", "InSitu", "Invasive"])
    ('InSitu', 'Invasive')
    """
    for known in known_positive():
        try:
            found = tuple(name for name in (match_class(k, classes) for k in known) if name is not None)
        except InputError:  # two classes fit one, so these are the user's own
            continue
        if len(found) == len(known) < len(classes):
            return found
    return ()


@dataclass(frozen=True)
class TwoClassView:
    """What the two-class view of a table is made of.

    Attributes
    ----------
    positive : tuple of str
        Classes of the positive side; empty takes those of a known dataset, and no view of any other.
    rule : {"sum", "max"}
        See `TWO_CLASS_RULES`.
    thresholds : tuple of float
        Operating points; positive if score >= threshold.
    """

    positive: tuple[str, ...] = ()
    rule: str = option("sum", name="two_class")
    thresholds: tuple[float, ...] = DEFAULT_THRESHOLDS

    def __post_init__(self) -> None:
        object.__setattr__(self, "positive", as_texts(self.positive, "positive"))
        object.__setattr__(self, "thresholds", as_numbers(self.thresholds, "thresholds"))

    def check(self, classes: Sequence[str] | None = None) -> None:
        """Refuse what cannot be computed, before any work.

        Parameters
        ----------
        classes : sequence of str, optional
            Those of the tables, as soon as they are known.

        Raises
        ------
        InputError
            An unknown rule, an operating point outside 0 to 1, a positive class that is none, or every class positive.
        """
        if self.rule not in TWO_CLASS_RULES:
            raise InputError(f"`rule` {self.rule}: choose one of {', '.join(TWO_CLASS_RULES)}")
        for threshold in self.thresholds:
            if not 0.0 <= threshold <= 1.0:
                raise InputError(f"`thresholds` {threshold}: give a score between 0 and 1")
        if classes is not None and self.positive:
            positive_mask(classes, self.positive)

    def recorded(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return what ``metrics.json`` says of the view, so that evaluating the table again follows it."""
        return {
            "positive": list(self.positive or default_positive(classes)),
            "rule": self.rule,
            "thresholds": list(self.thresholds),
        }


@dataclass(frozen=True)
class TwoClassChoice:
    """What of the two-class view of a table is to be other than its run recorded.

    Attributes
    ----------
    positive : tuple of str
        Positive classes; by default those that the run of a table used, and for tables from elsewhere those of a known
        dataset (carcinoma, malignant).
    rule : {"sum", "max"}, optional
        Rule of the two-class score; by default that of the run, and ``sum`` for tables from elsewhere.
    thresholds : tuple of float
        Operating points; by default those of the run, and 0.33 and 0.5 for tables from elsewhere.
    """

    positive: tuple[str, ...] = ()
    rule: str | None = option(None, name="two_class")
    thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "positive", as_texts(self.positive, "positive"))
        object.__setattr__(self, "thresholds", as_numbers(self.thresholds, "thresholds"))

    @classmethod
    def of(cls, value: TwoClassChoice | TwoClassView | None) -> TwoClassChoice:
        """Return what was passed, a whole view for all of it, or the default."""
        if isinstance(value, TwoClassView):
            return cls(value.positive, value.rule, value.thresholds)
        return cls() if value is None else value

    def over(self, recorded: TwoClassView) -> TwoClassView:
        """Return the view of a table whose run recorded one."""
        return TwoClassView(
            self.positive or recorded.positive, self.rule or recorded.rule, self.thresholds or recorded.thresholds
        )


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
            raise InputError(f"`positive` {text}: no such class; choose among {', '.join(classes)}")
        names.append(found)
    mask = np.array([name in names for name in classes])
    if mask.all():
        raise InputError("`positive`: every class is positive; leave at least one negative")
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
