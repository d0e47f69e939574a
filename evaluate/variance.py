"""The one variance: 95 % intervals of figures and of differences, from the influence of each independent unit.

A figure's variance is the sum of the squared influences of its units, each raised as the jackknife does (how far a unit
lies from the others, not from a mean that it draws towards itself). The interval is Wilson's of a share of as many
independent rows as would have this variance, with Student's quantile; its degrees of freedom are those by which the
squares themselves vary (Satterthwaite), so that few units, or one that outweighs the others, count as few. Where rows
are units, and counts make the variance, it is that of Clopper and Pearson for as many rows (mid-p: kappa, Matthews).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import plural
from .influence import (
    LEVEL,
    RANKED,
    Mask,
    Part,
    Values,
    Whole,
    exact,
    freedom,
    kish,
    mid_p,
    share_part,
    spread,
    wilson,
)
from .predictions import PredictionTable, sampling_units

CROSS_VALIDATION = 1.5
"""By how much the variance of a figure of several folds is raised: the predictions of folds depend on each other, since
what one tests trains the others, and no table shows by how much (Bengio & Grandvalet 2004). These three factors are
bchisto's choice: the least that covered in ``tools/benchmarks/coverage.py``."""

OF_IMAGES, DIFFERENCE_OF_IMAGES = 1.35, 1.45
"""The same for what counts images that are units, or pairs of them (AUC), and for their calibration slope and
intercept; and for differences."""

LEAST_FREEDOM, LEAST_FREEDOM_OF_TERMS = 5.0, 8.0
"""Degrees of freedom of the variance of units, at least, if there are so many units: of means, ranks and predictive
values; and of what is made of several terms (differences, likelihood ratios, kappa, Matthews correlation). If one unit
outweighs the others, the error of a figure and its variance are both mostly that unit's, and grow together. Other
shares have no such bound. Chosen as above."""

LESS_CORRECTION = 0.75
"""Power of the jackknife's correction in differences, which favour neither side, and in predictive values, whose rows
vary in number: 1 is CR3, 1/2 CR2. Chosen as above."""

MODEL_ROWS, MODEL_VARIANCES = 10.0, 4.0
"""Rows that the variance by the model counts for in calibration of single images; and how many times as large the sum
of squared influences may be: without one image a threshold may separate the others, and it has no bound. Chosen as
above."""

WILSON, EXACT, EFFECTIVE = (
    "Wilson, effective rows, t",
    "Clopper-Pearson",
    "Clopper-Pearson, effective rows",
)
COMBINED = "Clopper-Pearson of each class, combined (MOVER)"


@dataclass(frozen=True)
class Figure:
    """An estimate with its 95 % interval, or the reason why there is none.

    Attributes
    ----------
    value : float
    low, high : float
        NaN without an interval.
    method : str
        Of the interval, in words; empty if none was wanted.
    reason : str, optional
        Why the interval cannot be estimated.
    """

    value: float
    low: float = np.nan
    high: float = np.nan
    method: str = ""
    reason: str | None = None

    @property
    def ends(self) -> list[float] | None:
        """Low and high; None without an interval."""
        return [self.low, self.high] if self.method and not self.reason else None

    def json(self) -> dict[str, Any]:
        """Return ``value``, ``interval``, ``method`` and ``reason``, as ``metrics.json`` holds them."""
        return {
            "value": self.value,
            "interval": self.ends,
            "method": self.method,
            "reason": self.reason,
        }

    def rest(self) -> Figure:
        """Return the share of all that this share leaves."""
        return replace(self, value=1.0 - self.value, low=1.0 - self.high, high=1.0 - self.low)


@dataclass(frozen=True)
class Units:
    """What of the rows of a table is independent.

    Attributes
    ----------
    member : ndarray of int, shape (n,)
        The unit of each row, from 0.
    widen : float
        Factor of variances, above 1 where several folds make the table, see `CROSS_VALIDATION`.
    kind : {"group", "image"}
    noun, row : str
        What a unit, and a row, is called.
    """

    member: Whole
    widen: float = 1.0
    kind: str = "group"
    noun: str = "group"
    row: str = "image"

    @classmethod
    def of(cls, table: PredictionTable) -> Units:
        """Return the units of a table: its groups where they are known, else its images."""
        kind, member = sampling_units(table)
        widen = CROSS_VALIDATION if len(table.fold_numbers) > 1 else 1.0
        return cls(
            member, widen, kind, table.group_is if kind == "group" else table.image_is, table.row_is
        )

    @property
    def count(self) -> int:
        """How many units there are."""
        return int(self.member.max()) + 1

    @property
    def single(self) -> bool:
        """Whether every row is a unit."""
        return self.count == len(self.member)

    def factor(self, parts: Sequence[Part], *, images: float = OF_IMAGES) -> float:
        """Return the factor of the variance of parts: at most `images`, if they count images or ranks."""
        most = max(part.finer for part in parts)
        counts = self.single and np.isfinite(most)
        return min(self.widen, images if counts else OF_IMAGES if most == RANKED else np.inf)

    def outweighed(self, inside: Mask) -> str | None:
        """Return the reason if one unit holds over half of some rows, and more than one of them."""
        sizes = np.bincount(self.member[inside])
        most, rows = int(sizes.max()), int(sizes.sum())
        if most == 1 or 2 * most <= rows:
            return None
        return f"one {self.noun} holds {100 * most / rows:.0f} % of the {rows} {plural(self.row)}"

    def share(
        self,
        hits: npt.ArrayLike,
        inside: Mask | None = None,
        *,
        least: float = 1.0,
        predictive: bool = False,
    ) -> Figure | None:
        """Return the share of the rows `inside` that are right; None where there are none.

        Parameters
        ----------
        hits : array of bool or float, shape (n,)
            Right or not; a float where a row is the mean of several predictions.
        inside : ndarray of bool, shape (n,), optional
            All rows by default.
        least : float
            See `spread`.
        predictive : bool
            Whether the number of these rows varies too, see `Part`.
        """
        inside = np.ones(len(self.member), dtype=np.bool_) if inside is None else inside
        part = share_part(hits, inside, predictive=predictive)
        return None if part is None else interval([part], self, least=least)


def normal_interval(
    value: float, influence: Values, units: Units, *, model: float, few: int
) -> Figure:
    """Return a coefficient of a logistic regression, from the influence of each unit.

    With few wrong rows a coefficient hangs on each of them, and so does the sum of squared influences. If rows are
    units it is therefore drawn towards the variance by the model (Wald), as if `MODEL_ROWS` more rows had that, and
    is at most `MODEL_VARIANCES` times that.

    Parameters
    ----------
    value : float
    influence : ndarray of float64, shape (units,)
    units : Units
    model : float
        The variance by the model.
    few : int
        Wrong rows or right rows, whichever are fewer: the most degrees of freedom of larger units.
    """
    from scipy.special import stdtrit

    sizes = np.bincount(units.member)
    if reason := units.outweighed(np.ones(len(units.member), dtype=np.bool_)):
        return Figure(value, reason=reason)
    variance = float(np.square(influence).sum())
    widen = min(units.widen, OF_IMAGES) if units.single else units.widen
    free = max(1.0, min(few, freedom(influence, len(sizes), kish(sizes) - 1.0)))
    if units.single:
        free = few + MODEL_ROWS - 1.0
        variance = min(variance, MODEL_VARIANCES * model)
        variance = (few * variance + MODEL_ROWS * model) / (few + MODEL_ROWS)
    half = float(stdtrit(free, LEVEL)) * (variance * widen) ** 0.5
    return Figure(value, value - half, value + half, named("influences of units, t", widen))


def _dominance(parts: Sequence[Part], units: Units) -> str | None:
    """Return why an interval cannot be estimated: one unit holds over half of the rows, or all rows of a side."""
    inside = np.any([side for part in parts for side in part.sides], axis=0)
    if not any(part.by_unit for part in parts) and (reason := units.outweighed(inside)):
        return reason
    if np.ptp(units.member[inside]) == 0 and not units.single:
        return f"only one {units.noun}"
    counted = units.single and all(
        part.finer < RANKED for part in parts
    )  # then one row has an interval
    if not counted and any(
        np.ptp(units.member[side]) == 0 for part in parts for side in part.sides
    ):
        return f"only one {units.noun} of a class"
    return None


def interval(
    parts: Sequence[Part],
    units: Units,
    *,
    limits: tuple[float, float] = (0.0, 1.0),
    least: float = 1.0,
) -> Figure:
    """Return the mean of parts.

    Parameters
    ----------
    parts : sequence of Part
    units : Units
    limits : (float, float)
        The least and the greatest value that a part can have.
    least : float
        The fewest degrees of freedom of a share that is not predictive, see `spread`.

    References
    ----------
    Wilson 1927; Korn & Graubard 1998 (the effective number of rows); Agresti & Coull 1998 (a row right and one wrong
    are added to what parts are worth, so that none is certain).
    """
    from scipy.special import stdtrit

    value = float(np.mean([part.value for part in parts]))
    if (reason := _dominance(parts, units)) is not None:
        return Figure(value, reason=reason)
    widen, values = units.factor(parts), np.array([part.value for part in parts])
    sides, shares = (
        [part.sides[0] for part in parts],
        len(parts) > 1 and all(part.finer == 1.0 for part in parts),
    )
    sizes = [int(side.sum()) for side in sides]
    if shares and sum(sizes) == len(
        np.unique(units.member[np.any(sides, axis=0)])
    ):  # of other rows, each a unit
        bounds = np.array(
            [exact(value, rows / widen) for value, rows in zip(values, sizes, strict=True)]
        )
        down, up = np.linalg.norm(bounds.T - values, axis=1) / len(parts)
        return Figure(
            value, float(values.mean() - down), float(values.mean() + up), named(COMBINED, widen)
        )
    origin, scale = limits[0], limits[1] - limits[0]
    parts = [
        replace(part, value=(part.value - origin) / scale, effect=part.effect / scale)
        for part in parts
    ]
    share_only = len(parts) == 1 and parts[0].finer == 1.0
    of_matrix = share_only and limits != (0.0, 1.0)
    predictive = any(part.predictive for part in parts)
    bound = (
        LEAST_FREEDOM_OF_TERMS
        if of_matrix
        else least
        if share_only and not predictive
        else LEAST_FREEDOM
    )
    variation = spread(
        parts, units.member, least=bound, power=LESS_CORRECTION if predictive else 1.0
    )
    values = np.clip([part.value for part in parts], 0.0, 1.0)
    worth, share = np.array(variation.worth), float(values.mean())
    if len(parts) == 1:
        own = share * (1.0 - share)
        rows = float(worth[0])
        if variation.variance > 1e-12 * own > 0.0:
            rows = min(
                max(own / variation.variance, variation.bounds[0][0]), variation.bounds[0][1]
            )
    else:
        drawn = (values * worth + 1.0) / (worth + 2.0)
        least_each = drawn * (1.0 - drawn) / (worth + 2.0)
        lacking = float(np.maximum(least_each - variation.each, 0.0).sum()) / len(parts) ** 2
        middle = float(drawn.mean())
        rows = min(
            max(middle * (1.0 - middle) / (variation.variance + lacking) - 2.0, 1.0), variation.most
        )
    if variation.counted:
        low, high = (mid_p if of_matrix else exact)(share, rows / widen)
        method = EXACT if share_only and not of_matrix else EFFECTIVE
    else:
        low, high = wilson(share, rows / widen, float(stdtrit(variation.freedom, LEVEL)))
        method = WILSON
    return Figure(value, origin + scale * low, origin + scale * high, named(method, widen))


def share_interval(
    hits: npt.ArrayLike, member: npt.ArrayLike, *, widen: float = 1.0
) -> Figure | None:
    """Return the share of rows that are right, see `Units.share`.

    Parameters
    ----------
    hits : array of bool or float, shape (n,)
    member : array of int or str, shape (n,)
        The unit of each row.
    widen : float
        Factor of the variance, see `CROSS_VALIDATION`; of rows that are units at most `OF_IMAGES`.

    Examples
    --------
    >>> of_images = share_interval([True] * 20, range(20))
    >>> round(of_images.low, 3), of_images.high, of_images.method
    (0.832, 1.0, 'Clopper-Pearson')
    >>> share_interval([True] * 20, [0] * 12 + [1] * 8).reason
    'one group holds 60 % of the 20 images'
    """
    units = np.unique(np.asarray(member), return_inverse=True)[1]
    return Units(units, widen).share(hits)


def named(method: str, widen: float) -> str:
    """Return the name of a method, and of the factor of its variance."""
    return method if widen == 1.0 else f"{method}; variance times {widen:g} for folds"


def difference_interval(parts: Sequence[Part], units: Units) -> Figure:
    """Return the mean of parts, each a difference of two figures of the same rows.

    To each part a row is added that is half better and half worse, so that tables which hardly differ do not look as
    if no difference were possible.

    References
    ----------
    Agresti & Min 2005 (paired shares: half a row in each cell).
    """
    from scipy.special import stdtrit

    value = np.array([part.value for part in parts])
    mean = float(value.mean())
    if (reason := _dominance(parts, units)) is not None:
        return Figure(mean, reason=reason)
    ranked = 2.0 * RANKED if units.single and len(parts) > 1 else RANKED
    variation = spread(
        parts, units.member, least=LEAST_FREEDOM_OF_TERMS, power=LESS_CORRECTION, ranked=ranked
    )
    widen = units.factor(parts, images=DIFFERENCE_OF_IMAGES)
    moved = np.array([abs(part.value) if part.moved is None else part.moved for part in parts])
    worth = np.array(variation.worth)
    better, worse = (
        ((moved + sign * value) * worth + 1.0) / (2.0 * worth + 2.0) for sign in (1.0, -1.0)
    )
    least_each = (better + worse - np.square(better - worse)) / (worth + 1.0)
    lacking = float(np.maximum(least_each - variation.each, 0.0).sum()) / len(parts) ** 2
    half = (
        float(stdtrit(variation.freedom, LEVEL)) * ((variation.variance + lacking) * widen) ** 0.5
    )
    middle = float((better - worse).mean())
    low, high = max(-1.0, min(mean, middle - half)), min(1.0, max(mean, middle + half))
    reason = (
        f"too few {plural(units.noun)}: it would be the whole range"
        if low == -high == -1.0
        else None
    )
    return Figure(mean, low, high, named("influences of units, t", widen), reason)
