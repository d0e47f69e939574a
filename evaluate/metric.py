"""What a metric is: one number of a prediction table, what each row adds to it, and where it is shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..core import InputError
from .influence import Part
from .predictions import PredictionTable

UNITS = ("percent", "number")
"""How a metric is written for people: a share in percent with a decimal, or as it is with three."""

HEADLINE = "accuracy"
"""The main metric of a report: the columns of its interval and spread need no prefix."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class MetricSpec:
    """A number of a prediction table.

    It stands in ``metrics.json`` under its name, there under ``intervals`` too, in ``tables.csv`` and
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
    parts : callable, optional
        ``parts(table)`` returns the numbers whose mean it is, most often one, each a `Part` with the influence of each
        row; none where it is not defined. Without it the interval is the percentile bootstrap's, for each draw of which
        `compute` is called, and which is too narrow at few rows.
    limits : callable, optional
        ``limits(table)`` returns the least and the greatest value that the parts can have, by default 0 and 1.
    needs_probabilities : bool
        Whether it has no value for a table that only names the predicted class.
    interval : bool
        Whether it gets an interval.
    per_fold : bool
        Whether it is computed for each fold too, as ``<name>_per_fold``, ``<name>_mean`` and ``<name>_std`` (over the
        folds where it is defined, population).
    unit : {"percent", "number"}
        See `UNITS`.
    higher_is_better : bool
        For others a report prints that lower is better.
    shown : bool
        Whether ``tables.csv`` and the report show it; ``metrics.json`` holds it in any case.

    Raises
    ------
    InputError
        A name or unit that does not fit.
    """

    name: str
    title: str
    compute: Callable[[PredictionTable], float | None]
    parts: Callable[[PredictionTable], Sequence[Part]] | None = None
    limits: Callable[[PredictionTable], tuple[float, float]] = lambda table: (0.0, 1.0)
    needs_probabilities: bool = False
    interval: bool = True
    per_fold: bool = True
    unit: str = "number"
    higher_is_better: bool = True
    shown: bool = True

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"metric {self.name!r}: its name must be lower-case letters, digits and _, at most 40, a letter first"
            )
        if self.unit not in UNITS:
            raise InputError(f"metric {self.name}: its unit {self.unit!r} is none of {', '.join(UNITS)}")

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of ``metrics.json`` that it fills."""
        folds = tuple(f"{self.name}_{what}" for what in ("per_fold", "mean", "std"))
        return (self.name, *folds) if self.per_fold else (self.name,)

    @property
    def bounds(self) -> tuple[str, str]:
        """Columns of its interval in ``tables.csv``."""
        return ("low", "high") if self.name == HEADLINE else (f"{self.name}_low", f"{self.name}_high")
