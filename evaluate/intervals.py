"""95 % intervals of figures and of differences, from what each independent unit contributes.

The influence of a row on a figure is the derivative of the figure by the row's weight, over the number of rows. The
influences of all rows sum to 0, and a figure of new units varies as the sum of the influences of a unit does (the
infinitesimal jackknife: Efron 1982, ch. 6). A figure's variance is the sum of the squared influences of its units, each
raised as the jackknife does (how far a unit lies from the others, not from a mean that it draws towards itself). The
interval is Wilson's of a share of as many independent rows as would have this variance, with Student's quantile; its
degrees of freedom are those by which the squares themselves vary (Satterthwaite), so that few units, or one that
outweighs the others, count as few. Where rows are units, and counts make the variance, it is that of Clopper and
Pearson for as many rows (mid-p: kappa, Matthews).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..core import plural
from .predictions import Integers, Mask, PredictionTable, Values, sampling_units

Ends = tuple[float, float]

LEVEL = 0.975
"""Quantile of a two-sided 95 % interval."""

RANKED = 4.0
"""How many rows of a share a case is worth in an AUC, at most: the variance of a case's rank is an eighth of that of a
share at an AUC of 0.99, with normal scores, and a quarter on the mean of both sides (Hanley & McNeil 1982)."""


@dataclass(frozen=True)
class Part:
    """A number between 0 and 1, or the difference of two, with the influence of each row.

    Attributes
    ----------
    value : float
    effect : ndarray of float64, shape (n,)
        Influence of each row.
    sides : tuple of ndarray of bool, each of shape (n,)
        Rows whose influences sum to 0 by themselves: all rows of a share; positive and negative ones of an AUC.
    finer : float
        Rows of a share that a row is worth at most.
    moved : float, optional
        Of a difference of shares, the share of rows that changed either way.
    by_unit : bool
        Whether units weigh the same, however many rows they have.
    predictive : bool
        Whether the number of rows varies too, as of those that are called positive.
    pooled : bool
        Whether it ranks scores of models of different folds together.
    """

    value: float
    effect: Values
    sides: tuple[Mask, ...]
    finer: float = 1.0
    moved: float | None = None
    by_unit: bool = False
    predictive: bool = False
    pooled: bool = False

    @property
    def counts(self) -> bool:
        """Whether rows are right or wrong, as those of shares and F1, not ranks (AUC) or distances (Brier score)."""
        return self.finer < RANKED


def share_part(
    hits: ArrayLike, inside: Mask | None = None, *, predictive: bool = False
) -> Part | None:
    """Return the mean of `hits` (bool or float, of all rows) over the rows `inside`; None where there are none."""
    if inside is None:
        inside = np.ones(np.shape(hits), np.bool_)
    if not inside.any():
        return None
    right = np.asarray(hits, np.float64)
    value = float(right[inside].mean())
    effect = np.where(inside, right - value, 0.0) / inside.sum()
    return Part(value, effect, (inside,), predictive=predictive)


def difference(
    first: Part | None, second: Part | None, *, moved: float | None = None
) -> Part | None:
    """Return the second less the first, which are of the same rows; None where one is not defined."""
    if first is None or second is None:
        return None
    return replace(
        second,
        value=second.value - first.value,
        effect=second.effect - first.effect,
        sides=tuple(a | b for a, b in zip(first.sides, second.sides, strict=True)),
        moved=moved,
    )


def all_or_none(parts: Sequence[Part | None]) -> list[Part]:
    """Return the parts where each of them is defined, else none."""
    defined = [part for part in parts if part is not None]
    if len(defined) < len(parts):
        return []
    return defined


def rows_inside(parts: Sequence[Part]) -> Mask:
    """Return the rows that any of the parts is of, bool of shape (n,)."""
    return np.asarray(np.any([side for part in parts for side in part.sides], axis=0))


@dataclass(frozen=True)
class Figure:
    """An estimate with its 95 % interval, or the reason why there is none.

    Attributes
    ----------
    value : float
        NaN where it is not defined.
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

    def __str__(self) -> str:
        text = f"{self.value:.3f}"
        if self.interval:
            text += f" [{self.low:.3f}, {self.high:.3f}]"
        return text

    def __float__(self) -> float:
        return self.value

    def __format__(self, form: str) -> str:
        return format(self.value, form) if form else str(self)

    @property
    def interval(self) -> list[float] | None:
        """Low and high; None without an interval."""
        if self.reason or not self.method:
            return None
        return [self.low, self.high]

    @property
    def kind(self) -> str:
        """The `IntervalMethod`, without the factor of its variance."""
        return self.method.partition(_TIMES)[0]

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval, and 0 is not in it."""
        return self.low > 0.0 or self.high < 0.0

    def json(self) -> dict[str, Any]:
        """Return ``value``, ``interval``, ``method`` and ``reason``, as ``metrics.json`` holds them."""
        return {
            "value": None if math.isnan(self.value) else self.value,
            "interval": self.interval,
            "method": self.method,
            "reason": self.reason,
        }

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Figure:
        """Return the figure of an entry of ``metrics.json``."""
        value = np.nan if entry["value"] is None else entry["value"]
        low, high = entry["interval"] or (np.nan, np.nan)
        return cls(value, low, high, entry["method"], entry["reason"])

    def __getitem__(self, key: str) -> Any:
        """Return an entry of `json`: figures are read in Python by the keys of ``metrics.json``, too."""
        return self.json()[key]

    def rest(self) -> Figure:
        """Return the share of all that this share leaves."""
        return replace(self, value=1.0 - self.value, low=1.0 - self.high, high=1.0 - self.low)


Metrics = Mapping[str, Any]
"""What ``metrics.json`` holds of a table, of two tables, or of a part of these, with each figure as a `Figure`."""

Entry = dict[str, Any]
"""The same while it is made."""


def as_json(value: Any) -> Any:
    """Return metrics JSON-ready: with each `Figure` in them as a dict."""
    return json.loads(json.dumps(value, default=Figure.json))


def with_figures(value: Any) -> Any:
    """Return what ``metrics.json`` holds with each figure in it as a `Figure`."""
    if isinstance(value, Mapping):
        if value.keys() >= {"value", "interval", "method", "reason"}:
            return Figure.read(value)
        return {key: with_figures(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_figures(inner) for inner in value]
    return value


CROSS_VALIDATION = 1.5
"""By how much the variance of a figure of several folds is raised: the predictions of folds depend on each other, since
what one tests trains the others, and no table shows by how much (Bengio & Grandvalet 2004). These three factors are
bchisto's choice: the least that covered in ``tools/benchmarks/coverage.py``."""

OF_IMAGES = 1.35
"""The same for what counts images that are units, or pairs of them (AUC), and for their calibration slope and
intercept."""

DIFFERENCE_OF_IMAGES = 1.45
"""The same for differences."""

LEAST_FREEDOM = 5.0
"""Degrees of freedom of the variance of units, at least, if there are so many units: of means, ranks and predictive
values. If one unit outweighs the others, the error of a figure and its variance are both mostly that unit's, and grow
together. Other shares have no such bound. Chosen as above."""

LEAST_FREEDOM_OF_TERMS = 8.0
"""The same of what is made of several terms: differences, likelihood ratios, kappa, Matthews correlation."""

LESS_CORRECTION = 0.75
"""Power of the jackknife's correction in differences, which favour neither side, and in predictive values, whose rows
vary in number: 1 is CR3, 1/2 CR2. Chosen as above."""

MODEL_ROWS = 10.0
"""Rows that the variance by the model counts for in calibration of single images. Chosen as above."""

MODEL_VARIANCES = 4.0
"""How many times as large as that the sum of squared influences may be: without one image a threshold may separate the
others, and it has no bound. Chosen as above."""

_RANKED_IN_MEAN = 2.0 * RANKED
"""The same as `RANKED` in differences of means over classes, of single images: the variance of a rank is taken as an
eighth of that of a share, not as a quarter; see the constants in docs/methods.md."""

_MOST_WORTH = 1e12
"""Rows that a part is worth whose rows may each be worth any number: with more there is no telling from none wrong."""


class IntervalMethod(StrEnum):
    """How an interval was made."""

    WILSON = "Wilson, effective rows, t"
    EXACT = "Clopper-Pearson"
    EFFECTIVE = "Clopper-Pearson, effective rows"
    COMBINED = "Clopper-Pearson of each class, combined (MOVER)"
    INFLUENCES = "influences of units, t"
    DRAWS = "percentile bootstrap"
    UNPAIRED = "of both figures, unpaired"
    TERMS = "of the terms, on logarithms"


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

    member: Integers
    widen: float = 1.0
    kind: str = "group"
    noun: str = "group"
    row: str = "image"

    @classmethod
    def of(cls, table: PredictionTable) -> Units:
        """Return the units of a table: its groups where they are known, else its images."""
        kind, member = sampling_units(table)
        widen = CROSS_VALIDATION if len(table.fold_numbers) > 1 else 1.0
        noun = table.group_is if kind == "group" else table.image_is
        return cls(member, widen, kind, noun, table.row_is)

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
        finest = max(part.finer for part in parts)
        if self.single and np.isfinite(finest):
            return min(self.widen, images)
        if finest == RANKED:
            return min(self.widen, OF_IMAGES)
        return self.widen

    def outweighed(self, inside: Mask) -> str | None:
        """Return the reason if one unit holds over half of some rows, and more than one of them."""
        sizes = np.bincount(self.member[inside])
        largest = int(sizes.max())
        rows = int(sizes.sum())
        if largest == 1 or 2 * largest <= rows:
            return None
        return (
            f"one {self.noun} holds {100 * largest / rows:.0f} % of the {rows} {plural(self.row)}"
        )

    def share(
        self,
        hits: ArrayLike,
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
            The fewest degrees of freedom, see `unit_variation`.
        predictive : bool
            Whether the number of these rows varies too, see `Part`.

        Examples
        --------
        >>> of_images = Units(np.arange(20)).share([True] * 20)
        >>> round(of_images.low, 3), of_images.high, of_images.method
        (0.832, 1.0, 'Clopper-Pearson')
        >>> Units(np.repeat([0, 1], [12, 8])).share([True] * 20).reason
        'one group holds 60 % of the 20 images'
        """
        return self.figure(share_part(hits, inside, predictive=predictive), least=least)

    def figure(self, part: Part | None, *, least: float = 1.0) -> Figure | None:
        """Return a part with its interval, see `interval`; None where it is not defined."""
        if part is None:
            return None
        return interval([part], self, least=least)


def interval(
    parts: Sequence[Part],
    units: Units,
    *,
    limits: Ends = (0.0, 1.0),
    least: float = 1.0,
) -> Figure:
    """Return the mean of parts with its interval, or with the reason why there is none.

    Parts are brought between 0 and 1. The interval is then that of a share of as many independent rows as would vary
    as much, see `_rows_of_mean`; but that of shares of different rows, each of which is a unit, combines those of each.

    Parameters
    ----------
    parts : sequence of Part
    units : Units
    limits : (float, float)
        The least and the greatest value that a part can have.
    least : float
        The fewest degrees of freedom of a share that is not predictive, see `unit_variation`.

    References
    ----------
    Wilson 1927; Korn & Graubard 1998 (the effective number of rows); Agresti & Caffo 2000 (a row right and one wrong
    are added to what parts are worth, so that none is certain).
    """
    from scipy.special import stdtrit

    value = float(np.mean([part.value for part in parts]))
    reason = _not_estimable(parts, units)
    if reason is not None:
        return Figure(value, reason=reason)
    # of single rows each class has an exact interval, and these are combined; kappa and Matthews are no shares
    if limits == (0.0, 1.0) and _are_of_single_rows(parts, units):
        return _combined(parts, units)
    origin = limits[0]
    scale = limits[1] - limits[0]
    scaled = [
        replace(part, value=(part.value - origin) / scale, effect=part.effect / scale)
        for part in parts
    ]
    fewest, of_counts, exact_method = _kind_of(parts, limits, least)
    power = LESS_CORRECTION if any(part.predictive for part in parts) else 1.0
    variation = unit_variation(scaled, units.member, least=fewest, power=power)
    shares = np.clip([part.value for part in scaled], 0.0, 1.0)
    share = float(shares.mean())
    widen = units.factor(parts)
    rows = _rows_of_mean(shares, variation) / widen
    if variation.counted:
        ends = of_counts(share, rows)
        method = exact_method
    else:
        ends = wilson(share, rows, float(stdtrit(variation.freedom, LEVEL)))
        method = IntervalMethod.WILSON
    low, high = (origin + scale * end for end in ends)
    return Figure(value, low, high, method_name(method, widen))


def _not_estimable(parts: Sequence[Part], units: Units) -> str | None:
    """Return why an interval cannot be estimated.

    Folds are ranked together, or one unit holds over half of the rows or all rows of a side.
    """
    if parts[0].pooled:
        return "scores of models of different folds are ranked together"
    inside = rows_inside(parts)
    if not any(part.by_unit for part in parts):
        reason = units.outweighed(inside)
        if reason is not None:
            return reason
    if np.ptp(units.member[inside]) == 0 and not units.single:
        return f"only one {units.noun}"
    if units.single and all(part.counts for part in parts):
        return None  # of counts even a single row has an interval
    if any(np.ptp(units.member[side]) == 0 for part in parts for side in part.sides):
        return f"only one {units.noun} of a class"
    return None


def _kind_of(
    parts: Sequence[Part], limits: Ends, least: float
) -> tuple[float, Callable[[float, float], Ends], IntervalMethod]:
    """Return how the interval of a mean of parts, which may be one, is made.

    Returns
    -------
    float
        The fewest degrees of freedom, see `unit_variation`.
    callable
        Returns the interval of a share of so many rows, if every row is a unit; else it is Wilson's.
    IntervalMethod
        What that is called.
    """
    if len(parts) > 1 or parts[0].finer != 1.0:  # means, AUC, F1, Brier score
        return LEAST_FREEDOM, exact, IntervalMethod.EFFECTIVE
    if limits != (0.0, 1.0):  # kappa, Matthews correlation
        return LEAST_FREEDOM_OF_TERMS, mid_p, IntervalMethod.EFFECTIVE
    if parts[0].predictive:
        return LEAST_FREEDOM, exact, IntervalMethod.EXACT
    return least, exact, IntervalMethod.EXACT


def _are_of_single_rows(parts: Sequence[Part], units: Units) -> bool:
    """Return whether parts are shares of different rows, each of which is a unit."""
    if len(parts) < 2 or any(part.finer != 1.0 for part in parts):
        return False
    sides = [part.sides[0] for part in parts]
    rows = sum(int(side.sum()) for side in sides)
    return rows == len(np.unique(units.member[np.any(sides, axis=0)]))


def _combined(parts: Sequence[Part], units: Units) -> Figure:
    """Return the mean of k shares of different rows, its interval from that of each (MOVER).

    With the shares p_i of n_i rows, the intervals (l_i, u_i) of Clopper and Pearson for n_i / f rows, and f the factor
    of folds, it is (m - sqrt(sum (p_i - l_i)^2) / k, m + sqrt(sum (u_i - p_i)^2) / k), where m is the mean of p_i.
    """
    widen = units.factor(parts)
    shares = np.array([part.value for part in parts])
    # a variance that is raised by a factor is that of so many rows fewer
    bounds = np.array([exact(part.value, int(part.sides[0].sum()) / widen) for part in parts])
    down, up = np.linalg.norm(bounds.T - shares, axis=1) / len(parts)
    value = float(shares.mean())
    return Figure(
        value, value - float(down), value + float(up), method_name(IntervalMethod.COMBINED, widen)
    )


def _rows_of_share(share: float, variation: Variation) -> float:
    """Return the independent rows of a share p with the variance v: p (1 - p) / v, within the bounds of its units.

    Where nothing varies, they are what its units are worth.
    """
    by_row = share * (1.0 - share)
    if not variation.variance > 1e-12 * by_row > 0.0:
        return variation.each[0].worth
    fewest, most = variation.each[0].bounds
    return min(max(by_row / variation.variance, fewest), most)


def _rows_of_mean(shares: Values, variation: Variation) -> float:
    """Return the independent rows of a mean of k parts p_i, each worth n_i rows, with the variance v.

    A row right and one wrong are added to each part: q_i = (n_i p_i + 1) / (n_i + 2), which varies by
    q_i (1 - q_i) / (n_i + 2) at least. What the parts' own variances lack of that, over k^2, is added to v. With m the
    mean of q_i the rows are m (1 - m) / (v + added) - 2, at least 1, and at most as many as the parts can be worth.
    If the parts vary but their mean does not, since what one gains another loses, the rows are at most what the parts
    are worth together.
    """
    if len(shares) == 1:
        return _rows_of_share(float(shares[0]), variation)
    worth = np.minimum([part.worth for part in variation.each], _MOST_WORTH)
    drawn = (shares * worth + 1.0) / (worth + 2.0)
    added = _lacking_variance(drawn * (1.0 - drawn) / (worth + 2.0), variation)
    variance = variation.variance + added
    if variance == 0.0:
        return min(float(worth.sum()), variation.most)
    middle = float(drawn.mean())
    rows = middle * (1.0 - middle) / variance - 2.0
    return min(max(rows, 1.0), variation.most)


def _lacking_variance(least_of_each: Values, variation: Variation) -> float:
    """Return what the variance of a mean lacks, if each part is to vary by this at least."""
    shortfall = np.maximum(least_of_each - [part.variance for part in variation.each], 0.0)
    return float(shortfall.sum()) / len(variation.each) ** 2


def difference_interval(parts: Sequence[Part], units: Units) -> Figure:
    """Return the mean m of k parts, each a difference d_i of two figures of the same rows: m ± t sqrt(f (v + added)).

    The variance v is that of units, f the factor of folds, t Student's quantile. To each part, worth n_i rows, a row is
    added that is half better and half worse, so that tables which hardly differ do not look as if no difference were
    possible: with b_i and w_i the shares of rows that are better and worse, then, a part varies by
    (b_i + w_i - (b_i - w_i)^2) / (n_i + 1) at least. What the parts' own variances lack of that, over k^2, is added.

    References
    ----------
    Agresti & Min 2005 (paired shares: half a row in each cell).
    """
    from scipy.special import stdtrit

    values = np.array([part.value for part in parts])
    mean = float(values.mean())
    reason = _not_estimable(parts, units)
    if reason is not None:
        return Figure(mean, reason=reason)
    valued = parts
    if units.single and len(parts) > 1:
        valued = [
            replace(part, finer=_RANKED_IN_MEAN) if part.finer == RANKED else part for part in parts
        ]
    variation = unit_variation(
        valued, units.member, least=LEAST_FREEDOM_OF_TERMS, power=LESS_CORRECTION
    )
    worth = np.array([part.worth for part in variation.each])
    moved = np.array([abs(part.value) if part.moved is None else part.moved for part in parts])
    better = _with_half_a_row(moved + values, worth)
    worse = _with_half_a_row(moved - values, worth)
    least_of_each = (better + worse - np.square(better - worse)) / (worth + 1.0)
    widen = units.factor(parts, images=DIFFERENCE_OF_IMAGES)
    variance = (variation.variance + _lacking_variance(least_of_each, variation)) * widen
    half = float(stdtrit(variation.freedom, LEVEL)) * variance**0.5
    # half a row draws the middle towards 0; the interval still holds the difference that was seen
    middle = float((better - worse).mean())
    low = max(-1.0, min(mean, middle - half))
    high = min(1.0, max(mean, middle + half))
    if low == -high == -1.0:
        reason = f"too few {plural(units.noun)}: it would be the whole range"
    return Figure(mean, low, high, method_name(IntervalMethod.INFLUENCES, widen), reason)


def _with_half_a_row(twice: Values, worth: Values) -> Values:
    """Return the shares of rows that are better, or worse, with half a row added; from twice the shares without it."""
    return (twice * worth + 1.0) / (2.0 * worth + 2.0)


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

    reason = units.outweighed(np.ones(len(units.member), np.bool_))
    if reason is not None:
        return Figure(value, reason=reason)
    sizes = np.bincount(units.member)
    variance = float(np.square(influence).sum())
    if units.single:
        widen = min(units.widen, OF_IMAGES)
        degrees = few + MODEL_ROWS - 1.0
        variance = min(variance, MODEL_VARIANCES * model)
        variance = (few * variance + MODEL_ROWS * model) / (few + MODEL_ROWS)
    else:
        widen = units.widen
        degrees = max(1.0, min(few, freedom(influence, len(sizes), kish(sizes) - 1.0)))
    half = float(stdtrit(degrees, LEVEL)) * (variance * widen) ** 0.5
    return Figure(value, value - half, value + half, method_name(IntervalMethod.INFLUENCES, widen))


_TIMES = "; variance times "


def method_name(method: str, widen: float) -> str:
    """Return the name of a method, and of the factor of its variance."""
    if widen == 1.0:
        return str(method)
    return f"{method}{_TIMES}{widen:g} for folds"


class Variation(NamedTuple):
    """How a mean of parts varies over units.

    Attributes
    ----------
    variance : float
        Of the mean of the parts.
    each : list of PartVariation
    counted : bool
        Whether every row is a unit, and only counts make the variance.
    most : float
        The most rows of a share that the mean may be worth.
    freedom : float
        Degrees of freedom of the variance.
    """

    variance: float
    each: list[PartVariation]
    counted: bool
    most: float
    freedom: float


def unit_variation(
    parts: Sequence[Part],
    member: Integers,
    *,
    least: float = 1.0,
    power: float = 1.0,
) -> Variation:
    """Return the variance of the mean of parts, summed by unit.

    Parameters
    ----------
    parts : sequence of Part
        Of the same rows.
    member : ndarray of int, shape (n,)
        The unit of each row, from 0.
    least : float
        The fewest degrees of freedom, if there are more units.
    power : float
        Of the correction for few units: 1 is the jackknife's (CR3), 1/2 is CR2.

    References
    ----------
    Bell & McCaffrey 2002 (CR3, the jackknife); Pan & Wall 2002 (degrees of freedom from the squares).
    """
    each = [_part_variation(part, member, power) for part in parts]
    influence = np.zeros(int(member.max()) + 1)
    for of_part in each:
        influence += of_part.influence / len(parts)
    variance = float(np.square(influence).sum())
    # what one part or row gains another loses, but for rounding
    if variance <= 1e-12 * sum(np.square(part.effect).sum() for part in parts):
        influence[:] = 0.0
        variance = 0.0
    inside = rows_inside(parts)
    units = len(np.unique(member[inside]))
    of_counts = all(part.counts for part in parts)
    counted = of_counts and bool(units == inside.sum())
    # if nothing varies between units, rows of one unit may be copies: no more than units count
    most = units if of_counts and (counted or variance == 0.0) else np.inf
    degrees = units - 1.0
    if len(parts) == 1:
        degrees = min(max(each[0].units - 1.0, least), degrees)
    # one unit that makes most of the variance leaves hardly a degree, however many others there are
    if not counted:
        degrees = min(degrees, max(least, freedom(influence, units, degrees)))
    return Variation(variance, each, counted, most, max(degrees, 1.0))


class PartVariation(NamedTuple):
    """How one part varies over units.

    Attributes
    ----------
    influence : ndarray of float64, shape (units,)
        Of each unit, raised as the jackknife does.
    variance : float
    worth : float
        Independent rows that it is worth, by how much more it varies over units than over rows: w = r v / V, with v
        and V the sums of squared influences of rows and of units, and r what its rows are worth. At least what its
        units are worth, at most r.
    bounds : (float, float)
        The fewest and the most rows of a share that it may be worth.
    units : float
        Units of equal size that those of all sides are worth.
    """

    influence: Values
    variance: float
    worth: float
    bounds: Ends
    units: float


def _part_variation(part: Part, member: Integers, power: float) -> PartVariation:
    count = int(member.max()) + 1
    influence = np.zeros(count)
    rows_of_sides = []
    units_of_sides = []
    for side in part.sides:
        sizes = np.bincount(member[side], minlength=count)
        rows_of_sides.append(float(sizes.sum()))
        if part.by_unit:
            sizes = np.minimum(sizes, 1)
        units_of_sides.append(kish(sizes))
        others = 1.0 - sizes / sizes.sum()
        summed = np.bincount(member, np.where(side, part.effect, 0.0), count)
        influence += summed / (others + (others <= 0)) ** power  # a single unit is not corrected
    rows = _worth_of_sides(rows_of_sides, part.finer)
    units = _worth_of_sides(units_of_sides, part.finer)
    variance = float(np.square(influence).sum())
    by_row = float(np.square(part.effect).sum())
    # if nothing varies, or only by rounding, the rows of a unit cannot be told from copies
    worth = units
    if variance > 1e-12 * by_row > 0.0:
        worth = min(max(rows * by_row / variance, units), rows)
    bounds = (units / part.finer, rows if part.counts else worth)
    return PartVariation(influence, variance, worth, bounds, sum(units_of_sides))


def _worth_of_sides(sizes: Sequence[float], finer: float) -> float:
    """Return the rows of a share that sides of these sizes are worth: their harmonic mean, each row `finer` rows."""
    return finer * len(sizes) / sum(1.0 / size for size in sizes)


def freedom(influence: Values, units: int, most: float) -> float:
    """Return the degrees of freedom of the sum of the squared influences of units, at least 1.

    References
    ----------
    Pan & Wall 2002.
    """
    squares = np.square(influence)
    variance = float(squares.sum())
    varying = float(np.square(squares).sum()) - variance**2 / units
    free = min(most, 2.0 * variance**2 / varying) if varying > 1e-12 * variance**2 else most
    return max(1.0, free)


def kish(sizes: ArrayLike) -> float:
    """Return how many units of equal size these are worth.

    References
    ----------
    Kish 1965, "Survey Sampling", sec. 11.7.

    Examples
    --------
    >>> kish([10, 10, 0]), round(kish([100, 1, 1]), 2)
    (2.0, 1.04)
    """
    weights = np.asarray(sizes, np.float64)
    if not weights.any():
        return 0.0
    return float(weights.sum() ** 2 / np.square(weights).sum())


def wilson(share: float, rows: float, quantile: float) -> Ends:
    """Return Wilson's interval of a share of so many rows, which need not be whole."""
    # the ends are shares at which the observed one is just compatible, so they never leave 0 to 1
    ratio = quantile**2 / rows
    middle = (share + ratio / 2.0) / (1.0 + ratio)
    half = (ratio * share * (1.0 - share) + ratio**2 / 4.0) ** 0.5 / (1.0 + ratio)
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def mid_p(share: float, rows: float) -> Ends:
    """Return the mid-p interval of a share of so many rows, which need not be whole (Berry and Armitage 1995)."""
    from scipy.optimize import brentq
    from scipy.special import betainc

    right = share * rows

    def more(probability: float) -> float:
        """Return the probability of more right rows than these."""
        if right >= rows:
            return 0.0
        return float(betainc(right + 1.0, rows - right, probability))

    def at_least(probability: float) -> float:
        """Return the probability of at least as many right rows."""
        if right <= 0.0:
            return 1.0
        return float(betainc(right, rows - right + 1.0, probability))

    def end(level: float) -> float:
        """Return the share of all at which the mean of both, the mid-p, is this."""
        return float(brentq(lambda at: (more(at) + at_least(at)) / 2.0 - level, 0.0, 1.0))

    low = end(1.0 - LEVEL) if share > 0.0 else 0.0
    high = end(LEVEL) if share < 1.0 else 1.0
    return low, high


def exact(share: float, rows: float) -> Ends:
    """Return the interval of Clopper and Pearson; rows need not be whole."""
    from scipy.special import betaincinv

    right = share * rows
    low = float(betaincinv(right, rows - right + 1.0, 1.0 - LEVEL)) if share > 0.0 else 0.0
    high = float(betaincinv(right + 1.0, rows - right, LEVEL)) if share < 1.0 else 1.0
    return low, high


def mean_and_std(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Return mean and population standard deviation of the values that are defined; None where none is."""
    defined = [value for value in values if value is not None]
    if not defined:
        return None, None
    return float(np.mean(defined)), float(np.std(defined))
