"""95 % intervals of figures and of differences, from what each independent unit contributes.

The influence of a row on a figure is the derivative of the figure by the row's weight, over the number of rows. The
influences of all rows sum to 0, and a figure of new units varies as the sum of the influences of a unit does (the
infinitesimal jackknife: Efron 1982, ch. 6). How many times as much units vary as independent rows would, the design
effect (Kish 1965), is told by the squared influences of units, each raised as the jackknife does (how far a unit lies
from the others, not from a mean that it draws towards itself); few units tell little of it, and it is moderated by what
is usual (`_moderated`). The interval is Wilson's of a share of as many independent rows, with Student's quantile. Where
rows are units, and counts make the variance, it is that of Clopper and Pearson for as many rows (mid-p: kappa,
Matthews).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
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
"""How many rows of a share a case is worth in a difference of AUCs, at most: the variance of a case's rank is an eighth
of that of a share at an AUC of 0.99, with normal scores, and a quarter on the mean of both sides (Hanley & McNeil
1982)."""


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
        Rows of a share that a row is worth at most; for an AUC by itself see `_rows_of_ranks`.
    folds : ndarray of int, shape (n,), optional
        Of an AUC, the fold within which each row is ranked.
    moved : float, optional
        Of a difference of shares, the share of rows that changed either way.
    by_unit : bool
        Whether units weigh the same, however many rows they have.
    pooled : bool
        Whether it ranks scores of models of different folds together.
    """

    value: float
    effect: Values
    sides: tuple[Mask, ...]
    finer: float = 1.0
    folds: Integers | None = None
    moved: float | None = None
    by_unit: bool = False
    pooled: bool = False

    @property
    def counts(self) -> bool:
        """Whether rows are right or wrong, as those of shares and F1, not ranks (AUC) or distances (Brier score)."""
        return self.finer < RANKED


def share_part(hits: ArrayLike, inside: Mask | None = None) -> Part | None:
    """Return the mean of `hits` (bool or float, of all rows) over the rows `inside`; None where there are none."""
    if inside is None:
        inside = np.ones(np.shape(hits), np.bool_)
    if not inside.any():
        return None
    right = np.asarray(hits, np.float64)
    value = float(right[inside].mean())
    effect = np.where(inside, right - value, 0.0) / inside.sum()
    return Part(value, effect, (inside,))


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
"""The same for what counts images that are units, for their calibration slope and intercept, and for differences of
AUCs of groups."""

OF_RANKS = 1.75
"""The same for AUCs of images that are units: of noise, a fold's model ranks the others' images backwards."""

DIFFERENCE_OF_IMAGES = 1.45
"""The same for differences."""

PRIOR_UNITS = 6.0
"""How many units the usual design effect weighs as, beside that of the units of a table, see `_moderated`: what a few
units tell is mostly chance, and one more right row would turn it. Chosen as above, with `PRIOR_LIKENESS`."""

PRIOR_LIKENESS = 0.22
"""The intraclass correlation of the usual design effect: how alike the rows of a unit are right."""

LEAST_FREEDOM = 8.0
"""Degrees of freedom of the variance of a difference, at least, if there are so many units: if one unit outweighs the
others, the error of a difference and its variance are both mostly that unit's, and grow together. Chosen as above."""

LESS_CORRECTION = 0.75
"""Power of the jackknife's correction in differences, which favour neither side: 1 is CR3, 1/2 CR2. Chosen as above."""

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
    WILSON_COMBINED = "Wilson of each class, effective rows, t, combined (MOVER)"
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

    def factor(self, parts: Sequence[Part]) -> float:
        """Return the factor of the variance of parts: smaller if they count images, larger if they rank them."""
        finest = max(part.finer for part in parts)
        if not self.single or not np.isfinite(finest) or self.widen == 1.0:
            return self.widen
        return OF_RANKS if finest == RANKED else OF_IMAGES

    def factor_of_difference(self, parts: Sequence[Part]) -> float:
        """Return the same for differences."""
        finest = max(part.finer for part in parts)
        if self.single and np.isfinite(finest):
            return min(self.widen, DIFFERENCE_OF_IMAGES)
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

    def share(self, hits: ArrayLike, inside: Mask | None = None) -> Figure | None:
        """Return the share of the rows `inside` that are right; None where there are none.

        Parameters
        ----------
        hits : array of bool or float, shape (n,)
            Right or not; a float where a row is the mean of several predictions.
        inside : ndarray of bool, shape (n,), optional
            All rows by default.

        Examples
        --------
        >>> of_images = Units(np.arange(20)).share([True] * 20)
        >>> round(of_images.low, 3), of_images.high, of_images.method
        (0.832, 1.0, 'Clopper-Pearson')
        >>> Units(np.repeat([0, 1], [12, 8])).share([True] * 20).reason
        'one group holds 60 % of the 20 images'
        """
        return self.figure(share_part(hits, inside))

    def figure(self, part: Part | None) -> Figure | None:
        """Return a part with its interval, see `interval`; None where it is not defined."""
        if part is None:
            return None
        return interval([part], self)


def interval(parts: Sequence[Part], units: Units, *, limits: Ends = (0.0, 1.0)) -> Figure:
    """Return the mean of parts with its interval, or with the reason why there is none.

    Parts are brought between 0 and 1. The interval is then that of a share of as many independent rows as would vary
    as much, see `_rows_of_mean`; but that of shares of different rows combines those of each.

    Parameters
    ----------
    parts : sequence of Part
    units : Units
    limits : (float, float)
        The least and the greatest value that a part can have.

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
    of_shares = limits == (0.0, 1.0)  # kappa and Matthews are no shares
    origin = limits[0]
    scale = limits[1] - limits[0]
    scaled = [
        replace(part, value=(part.value - origin) / scale, effect=part.effect / scale)
        for part in parts
    ]
    spread = _moderated(scaled, units)
    quantile = float(stdtrit(spread.freedom, LEVEL))
    widen = units.factor(parts)
    if of_shares and _are_of_different_rows(parts):
        return _combined(parts, spread, units, quantile)
    shares = np.clip([part.value for part in scaled], 0.0, 1.0)
    share = float(shares.mean())
    rows = _rows_of_mean(shares, spread) / widen
    if units.single and all(part.counts for part in parts):
        of_counts = exact if of_shares else mid_p
        ends = of_counts(share, rows)
        is_share = of_shares and len(parts) == 1 and parts[0].finer == 1.0
        method = IntervalMethod.EXACT if is_share else IntervalMethod.EFFECTIVE
    else:
        ends = wilson(share, rows, quantile)
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


def _are_of_different_rows(parts: Sequence[Part]) -> bool:
    """Return whether several parts are shares, and no row is in two of them."""
    if len(parts) < 2 or any(part.finer != 1.0 for part in parts):
        return False
    return int(np.sum([part.sides[0].sum() for part in parts])) == int(rows_inside(parts).sum())


def _combined(parts: Sequence[Part], spread: Spread, units: Units, quantile: float) -> Figure:
    """Return the mean of k shares of different rows, its interval from that of each (MOVER).

    With the shares p_i of n_i independent rows, their intervals (l_i, u_i) for n_i / f rows, and f the factor of folds,
    it is (m - sqrt(c sum (p_i - l_i)^2) / k, m + sqrt(c sum (u_i - p_i)^2) / k), where m is the mean of p_i, and c how
    many times as much the sum of the shares varies as if units had rows in one of them only.

    References
    ----------
    Zou & Donner 2008.
    """
    widen = units.factor(parts)
    shares = np.array([part.value for part in parts])
    # a variance that is raised by a factor is that of so many rows fewer
    rows = np.maximum(spread.worth, 1.0) / widen
    if units.single:
        ends = [exact(*of_part) for of_part in zip(shares, rows, strict=True)]
        method = IntervalMethod.COMBINED
    else:
        ends = [wilson(*of_part, quantile) for of_part in zip(shares, rows, strict=True)]
        method = IntervalMethod.WILSON_COMBINED
    down, up = np.linalg.norm(np.transpose(ends) - shares, axis=1) / len(parts)
    value = float(shares.mean())
    low = value - float(down) * spread.together**0.5
    high = value + float(up) * spread.together**0.5
    return Figure(value, max(0.0, low), min(1.0, high), method_name(method, widen))


def _rows_of_mean(shares: Values, spread: Spread) -> float:
    """Return the independent rows of a mean of k parts p_i, each worth n_i rows, with the variance v.

    Of one part they are p (1 - p) / v, at most n. To several, a row right and one wrong are added to each:
    q_i = (n_i p_i + 1) / (n_i + 2), which varies by q_i (1 - q_i) / (n_i + 2) at least. What the parts' own variances
    lack of that, over k^2, is added to v. With m the mean of q_i the rows are m (1 - m) / (v + added) - 2, at least 1,
    and at most as many as there are: what one part gains another may lose.
    """
    worth = np.minimum(spread.worth, _MOST_WORTH)
    if len(shares) == 1:
        scatter = float(shares[0] * (1.0 - shares[0]))
        if scatter <= 0.0 or spread.variance <= scatter / worth[0]:
            return float(worth[0])
        return max(scatter / spread.variance, 1.0)
    drawn = (shares * worth + 1.0) / (worth + 2.0)
    added = _lacking_variance(drawn * (1.0 - drawn) / (worth + 2.0), spread.of_parts)
    middle = float(drawn.mean())
    scatter = middle * (1.0 - middle)
    if spread.variance + added <= scatter / (spread.most + 2.0):
        return spread.most
    return max(scatter / (spread.variance + added) - 2.0, 1.0)


def _lacking_variance(least_of_each: Values, variances: Values) -> float:
    """Return what the variance of a mean lacks, if each part is to vary by this at least."""
    return float(np.maximum(least_of_each - variances, 0.0).sum()) / len(variances) ** 2


class Spread(NamedTuple):
    """How parts vary over units.

    Attributes
    ----------
    variance : float
        Of their mean.
    of_parts : ndarray of float64, shape (parts,)
        Of each.
    worth : ndarray of float64, shape (parts,)
        Independent rows of a share that each is worth, at most.
    most : float
        Independent rows of a share that their mean is worth, at most.
    together : float
        How many times as much their sum varies as if no unit had rows of two.
    freedom : float
        Degrees of freedom of the variances.
    """

    variance: float
    of_parts: Values
    worth: Values
    most: float
    together: float
    freedom: float


class _PartSpread(NamedTuple):
    """How one part varies over units.

    Attributes
    ----------
    influence : ndarray of float64, shape (units,)
        Of each unit, raised as the jackknife does.
    weights : ndarray of float64, shape (units,)
        The share that each unit has in the part.
    worth : float
        Independent rows of a share that it would be worth, if rows of a unit were not alike.
    units : float
        Units of equal size that it is of.
    of_units, of_rows : float
        Its variance, and that which independent rows would have.
    usual, effect : float
        What is usual of the latter, and by how much units vary more (Kish 1965, sec. 5.4).
    """

    influence: Values
    weights: Values
    worth: float
    units: float
    of_units: float
    of_rows: float
    usual: float
    effect: float


def _part_spread(part: Part, member: Integers) -> _PartSpread:
    """Return how a part varies; as usual with two units right and two wrong added (Agresti & Coull 1998)."""
    variation = _part_variation(part, member, 1.0)
    of_sides = [_weights(part, side, member) for side in part.sides]
    count = _worth_of_sides([kish(of_row) for of_row, _ in of_sides], 1.0)
    units = _worth_of_sides([kish(of_unit) for _, of_unit in of_sides], 1.0)
    worth = part.finer * count
    if part.folds is not None:
        worth = _rows_of_ranks(part)
    of_rows = float(np.square(part.effect).sum())
    usual = of_rows  # distances have no other
    if np.isfinite(worth):
        drawn = (units * part.value + 2.0) / (units + 4.0)
        usual = drawn * (1.0 - drawn) / worth
    return _PartSpread(
        variation.influence,
        np.mean([of_unit for _, of_unit in of_sides], axis=0),
        worth,
        units,
        variation.variance,
        of_rows,
        usual,
        1.0 + (count / units - 1.0) * PRIOR_LIKENESS,
    )


def _weights(part: Part, side: Mask, member: Integers) -> tuple[Values, Values]:
    """Return the shares that each row, and each unit, has in a side of a part."""
    count = int(member.max()) + 1
    of_row = side / side.sum()
    if part.by_unit:
        sizes = np.bincount(member[side], minlength=count)
        of_row = side / np.maximum(sizes[member], 1) / np.count_nonzero(sizes)
    return np.asarray(of_row), np.asarray(np.bincount(member, of_row, count), np.float64)


def _rivals(part: Part) -> tuple[Values, Values]:
    """Return the positive and the negative cases of each fold of an AUC."""
    _, fold = np.unique(np.asarray(part.folds), return_inverse=True)
    counts = np.array([np.bincount(fold, side) for side in part.sides], np.float64)
    return counts[0], counts[1]


def _rows_of_ranks(part: Part) -> float:
    """Return the independent rows of a share that the cases of an AUC are worth, by its folds.

    A case is worth less, the fewer rivals it has in its fold: single pairs are rows.

    References
    ----------
    Newcombe 2006 (method 5), summed over folds.
    """
    positives, negatives = _rivals(part)
    pairs = positives * negatives
    others = (positives + negatives) / 2.0 - 1.0
    alike = (1.0 - part.value) / (2.0 - part.value) + part.value / (1.0 + part.value)
    return float(pairs.sum() ** 2 / (pairs * (1.0 + others * alike)).sum())


def _counted_twice(part: Part) -> float:
    """Return what the influences of both cases of a pair count twice in the variance of an AUC (Bamber 1975)."""
    if part.folds is None:
        return 0.0
    positives, negatives = _rivals(part)
    return part.value * (1.0 - part.value) / float(positives @ negatives)


def _moderated(parts: Sequence[Part], units: Units) -> Spread:
    """Return how parts vary over units, where the usual design effect counts as `PRIOR_UNITS` units more.

    Units whose rows hardly differ, or are all right, tell nothing of how alike rows of a unit are, and few units hardly
    more. The design effect is therefore that of the variances of both, summed: (a u d + k V) / (a u + k v), with v the
    variance of independent rows and V that of k units, u and d the usual ones, and a the units that these weigh as.
    It is 1 at least. Degrees of freedom are those of k + a units, but of 2 k at most: two patients stay few.

    References
    ----------
    Smyth 2004 (moderated variances and their degrees of freedom).
    """
    each = [_part_spread(part, units.member) for part in parts]
    worth, sizes, of_units, of_rows, usual, effects = np.transpose(
        [of_part[2:] for of_part in each]
    )
    influence = np.sum([of_part.influence for of_part in each], axis=0)
    of_sum = float(np.square(influence).sum())
    count = kish(np.mean([of_part.weights for of_part in each], axis=0))
    most = float(np.minimum(worth, _MOST_WORTH).sum())
    if all(part.counts for part in parts):
        most = min(most, float(rows_inside(parts).sum()))
    if units.single:
        twice = np.array([_counted_twice(part) for part in parts])
        variance = (of_sum - float(twice.sum())) / len(parts) ** 2
        if len(parts) == 1 and parts[0].counts:
            # a row that is a unit, right or wrong, is a row
            variance = min(variance, parts[0].value * (1.0 - parts[0].value) / sizes[0])
        return Spread(variance, of_units - twice, worth, most, 1.0, max(count - 1.0, 1.0))
    of_each = _design_effect(usual, effects, of_units, of_rows, sizes)
    rows_of_sum = np.square(np.sum([part.effect for part in parts], axis=0)).sum()
    effect = _design_effect(usual.sum(), effects.mean(), of_sum, rows_of_sum, count)
    # covariances of parts are told by few units even less
    together = _design_effect(
        2.0 * (usual * effects).sum(), 1.0, of_sum, of_units.sum(), count, 0.0
    )
    return Spread(
        float(rows_of_sum * effect) / len(parts) ** 2,
        of_rows * of_each,
        worth / of_each,
        most / float(effect),
        float(together),
        max(count - 1.0 + min(PRIOR_UNITS, count), 1.0),
    )


def _design_effect(
    usual: Any, effect: Any, of_units: Any, of_rows: Any, count: Any, least: float = 1.0
) -> Values:
    """Return the moderated design effect, see `_moderated`; the usual one if nothing is known to vary."""
    rows = PRIOR_UNITS * usual + count * of_rows
    both = PRIOR_UNITS * usual * effect + count * of_units
    effects = np.divide(both, rows, out=np.asarray(effect * 1.0), where=rows > 0.0)
    return np.asarray(np.maximum(effects, least))


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
    variation = unit_variation(valued, units.member, least=LEAST_FREEDOM, power=LESS_CORRECTION)
    worth = np.array([part.worth for part in variation.each])
    moved = np.array([abs(part.value) if part.moved is None else part.moved for part in parts])
    better = _with_half_a_row(moved + values, worth)
    worse = _with_half_a_row(moved - values, worth)
    least_of_each = (better + worse - np.square(better - worse)) / (worth + 1.0)
    widen = units.factor_of_difference(parts)
    variances = np.array([part.variance for part in variation.each])
    variance = (variation.variance + _lacking_variance(least_of_each, variances)) * widen
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
    freedom : float
        Degrees of freedom of the variance.
    """

    variance: float
    each: list[PartVariation]
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
    degrees = units - 1.0
    if len(parts) == 1:
        degrees = min(max(each[0].units - 1.0, least), degrees)
    # one unit that makes most of the variance leaves hardly a degree, however many others there are
    counted = all(part.counts for part in parts) and units == inside.sum()
    if not counted:
        degrees = min(degrees, max(least, freedom(influence, units, degrees)))
    return Variation(variance, each, max(degrees, 1.0))


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
    units : float
        Units of equal size that those of all sides are worth.
    """

    influence: Values
    variance: float
    worth: float
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
    return PartVariation(influence, variance, worth, sum(units_of_sides))


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
