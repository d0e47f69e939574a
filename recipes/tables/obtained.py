"""What the variants of a recipe gave, as the tables of published figures look it up, and how it becomes a figure."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core import InputError
from ...evaluate import Panel, PublishedFigure, aggregate, fold_error, measure
from ...jobs import read_json

Value = tuple[float | None, tuple[float, float] | None]
"""A value (a share, or seconds) and its 95 % interval; None where it was not obtained."""

Key = tuple[str, int | None]
"""A row or a variant, and a magnification."""

Points = dict[Key, float]
"""Row and magnification to the value that a conclusion is about."""

Compared = tuple[Points, list[PublishedFigure]]
"""What a kind of table makes of its published figures."""


PATIENTS = "group, average"
"""The level of patients, each the mean of its images."""


@dataclass(frozen=True)
class Obtained:
    """What a variant gave.

    Attributes
    ----------
    folder : Path
        With ``metrics.json``.
    panel : Panel
        Predictions of images and their metrics.
    """

    folder: Path
    panel: Panel

    @property
    def files(self) -> dict[str, Any]:
        """What ``metrics.json`` holds."""
        found: dict[str, Any] = read_json(self.folder / "metrics.json")
        return found

    def table(self, suffix: str = "") -> dict[str, Any] | None:
        """Return the metrics of another level, such as ``image, vote``; None where there are none."""
        if not suffix:
            return self.panel.metrics
        tables: dict[str, dict[str, Any]] = self.files["tables"]
        written = next((found for name, found in tables.items() if name.endswith(f" ({suffix})")), None)
        return self._patients if written is None and suffix == PATIENTS else written

    @functools.cached_property
    def _patients(self) -> dict[str, Any] | None:
        """The metrics of patients, which an ensemble does not write."""
        try:
            return measure(aggregate(self.panel.table))
        except InputError:  # groups unknown, or of two classes
            return None


@dataclass(frozen=True)
class Runs:
    """What all variants gave, at each magnification.

    Attributes
    ----------
    first : str
        The published variant, which tables are about that name none.
    found : mapping
        Variant and magnification (None where the recipe does not tell them apart) to what it gave.
    magnifications : sequence of int or None
        All of the recipe.
    further : sequence of mapping
        The same as `found`, of further seeds.
    times : mapping of str to sequence of float
        Variant to the seconds that a sample took to train, timed several times in turns.
    sizes : mapping of str to int
        Variant to the number of parameters of its network, of those that a table asks for.
    """

    first: str
    found: Mapping[tuple[str, int | None], Obtained] = field(default_factory=dict)
    magnifications: Sequence[int | None] = (None,)
    further: Sequence[Mapping[tuple[str, int | None], Obtained]] = ()
    times: Mapping[str, Sequence[float]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def seeds(self) -> list[Mapping[tuple[str, int | None], Obtained]]:
        """What was run, of each seed."""
        return [self.found, *self.further]

    @property
    def at(self) -> list[int | None]:
        """Magnifications at which something was run."""
        return [one for one in self.magnifications if any(key[1] == one for key in self.found)]

    def get(self, variant: str, magnification: int | None) -> Obtained | None:
        """Return what a variant gave; None where it was not run."""
        return self.found.get((variant, magnification))

    def of(self, table: Mapping[str, Any]) -> list[tuple[int | None, Obtained]]:
        """Return magnification and result of the one variant that a table is about."""
        variant = table.get("variant", self.first)
        return [(one, run) for one in self.at if (run := self.get(variant, one)) is not None]


def figure_of(
    name: str,
    value: Value,
    published: float | None = None,
    *,
    digits: int = 1,
    times: float | None = None,
    magnification: int | None = None,
) -> PublishedFigure:
    """Make a figure of a value: in percent, or as it is where three decimals are printed, unless `times` says else."""
    obtained, interval = value
    if times is None:
        times = 1.0 if digits == 3 else 100.0
    return PublishedFigure(
        name if magnification is None else f"{name} at {magnification}x",
        published,
        None if obtained is None else times * obtained,
        interval=None if interval is None else (times * interval[0], times * interval[1]),
        digits=digits,
    )


def mean_change(changes: Sequence[float], *, share: float = 0.0) -> tuple[float, float]:
    """Return the mean of at least two differences and half its 95 % interval; `share` as in `fold_error`."""
    from scipy.stats import t as student

    middle, error = fold_error(changes, [1.0] * len(changes), share=share)
    return middle, float(student.ppf(0.975, len(changes) - 1)) * error
