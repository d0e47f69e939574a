"""What a metric is: one number of a prediction table, how it is resampled, and where it is shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..core import InputError
from .predictions import PredictionTable

Weights = npt.NDArray[np.float64]

UNITS = ("percent", "number")
"""How a metric is written for people: a share in percent with a decimal, or as it is with three."""

WORTH = ("rows", "classes", "pairs", "groups", "agreement")
"""What bounds the number of rows that a figure is worth: all rows; those of each class, of which the figure is a mean
(so that a small class weighs); the smaller side of pairs, as in an AUC; groups, of which it is a mean; or
all rows, for an agreement beyond chance between -1 and 1, which spreads the less on this scale the more classes."""

SHOWN = ("value", "interval", "folds", "line")
"""Where a metric is shown: in ``tables.csv`` and beside other tables in a report as its value, its interval, and its
mean and spread over folds; and as a line of its own in the section of each table."""

HEADLINE = "accuracy"
"""The metric that a report is about: its interval and spread need not be told from others'."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class MetricSpec:
    """A number of a prediction table.

    It stands in ``metrics.json`` under its name, there under ``intervals`` too, in ``tables.csv``, ``tables.tex`` and
    ``report.html``. Another package adds one through the entry-point group ``bchisto.metrics``: the entry point is a
    `MetricSpec`, or a function without arguments that returns one, and has its name.

    Attributes
    ----------
    name : str
        Lower-case letters, digits and ``_``.
    title : str
        What it is called in a report.
    compute : callable
        ``compute(table)`` returns the value of a `PredictionTable`, a float, or None where it is not defined. The
        labels and predicted classes of a table are positions in its classes; its probabilities may be None.
    weighted : callable, optional
        ``weighted(table, weights)`` returns the value under each set of row weights, float64 of shape (replicates,)
        from (replicates, rows), NaN where it is not defined; None where it never is. It makes the intervals of large
        tables quick; without it `compute` is called for every replicate.
    needs_probabilities : bool
        Whether it has no value for a table that only names the predicted class.
    interval : bool
        Whether it gets a bootstrap interval.
    per_fold : bool
        Whether it is computed for each fold too, as ``<name>_per_fold``, ``<name>_mean`` and ``<name>_std`` (over the
        folds where it is defined, population).
    unit : {"percent", "number"}
        See `UNITS`.
    limits : callable, optional
        ``limits(classes)`` returns the least and the greatest value for so many classes. With them the interval is
        that of a share, of as many rows as the spread of the draws shows; without them it is the percentile
        bootstrap's, which is too narrow at few rows.
    worth : {"rows", "classes", "pairs", "groups", "agreement"}
        What the number of rows is bounded by: see `WORTH`.
    higher_is_better : bool
        A report says of others that lower is better.
    shown : tuple of str
        Of `SHOWN`.

    Raises
    ------
    InputError
        A name, unit or place that does not fit.
    """

    name: str
    title: str
    compute: Callable[[PredictionTable], float | None]
    weighted: Callable[[PredictionTable, Weights], Weights | None] | None = None
    needs_probabilities: bool = False
    interval: bool = True
    per_fold: bool = True
    unit: str = "number"
    limits: Callable[[int], tuple[float, float]] | None = None
    worth: str = "rows"
    higher_is_better: bool = True
    shown: tuple[str, ...] = SHOWN

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"metric {self.name!r}: its name must be lower-case letters, digits and _, at most 40, a letter first"
            )
        for what, chosen, known in (("unit", self.unit, UNITS), ("worth", self.worth, WORTH)):
            if chosen not in known:
                raise InputError(f"metric {self.name}: its {what} {chosen!r} is none of {', '.join(known)}")
        strange = [place for place in self.shown if place not in SHOWN]
        if strange:
            raise InputError(f"metric {self.name}: it cannot be shown as {strange[0]!r}; choose of {', '.join(SHOWN)}")

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of ``metrics.json`` that it fills."""
        folds = tuple(f"{self.name}_{what}" for what in ("per_fold", "mean", "std"))
        return (self.name, *folds) if self.per_fold else (self.name,)

    @property
    def bounds(self) -> tuple[str, str]:
        """Columns of its interval in ``tables.csv``."""
        return ("low", "high") if self.name == HEADLINE else (f"{self.name}_low", f"{self.name}_high")
