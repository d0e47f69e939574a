"""What figures mean: whether calls are better than chance, what to expect of new patients, which result is the best.

Every conclusion is a value, made here once from the figures that it rests on. Reports, terminals, cards and pages put
its kind into words, and compare no numbers themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .panel import Panel, images_tested
from .variance import Figure, Metrics

BALANCED = "balanced_accuracy"
BY_UNIT = "patient_recognition_rate"

_LARGE = 0.2
"""If one unit holds more than this share of the rows, the figure by unit comes first."""


@dataclass(frozen=True)
class Verdict:
    """Whether calls are shown to be better than chance.

    The balanced accuracy decides, in which a large class cannot hide errors in the others: whatever a model calls every
    row, it is one over the number of classes. Where that has no interval, the mean over patients does.

    Attributes
    ----------
    kind : {"better", "not shown", "worse", "not estimable"}
        By the 95 % interval: above chance, on both sides of it, below it; without interval there is no verdict.
    by : {"balanced_accuracy", "patient_recognition_rate", ""}
        The figure that decides; empty without interval.
    figure : Figure
        That figure; of the balanced accuracy without interval.
    chance : float
        What it is by chance.
    ranking : Figure or None
        The AUC of two classes, if its interval lies above one half though calls are not better: then the threshold is
        wrong.
    """

    kind: str
    by: str
    figure: Figure
    chance: float
    ranking: Figure | None = None


@dataclass(frozen=True)
class Unknown:
    """Why a table does not show what to expect of new patients.

    Attributes
    ----------
    kind : {"trained", "no patient", "divided", "not estimable"}
        Images trained the models; no patient is known; some are in training and test sets; no interval.
    count : int
        How many images, or patients, these are.
    reason : str or None
        Why there is no interval.
    """

    kind: str
    count: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class Conclusion:
    """What a table answers: how much is right, how sure that is, for whom, and whether that is better than chance.

    Attributes
    ----------
    m : mapping
        The metrics, of `measure`.
    right : float
        How many rows are right.
    rows : str
        What they are and how many.
    grouped : bool
        Whether rows belong to patients, or to what else groups are called.
    by_unit : Figure or None
        The accuracy by patient; None if it adds nothing.
    leads : bool
        Whether that comes first, because a patient holds many of the rows.
    majority : str
        The largest class.
    has_majority : bool
        Whether it is larger than the others.
    verdict : Verdict
    unknown : Unknown or None
    expected : Figure
        What is right of new patients; after the correction for a choice if this table was chosen.
    units_needed : int or None
        For an interval that is 10 points wide, if these are more than the table has.
    """

    m: Metrics
    right: float
    rows: str
    grouped: bool
    by_unit: Figure | None
    leads: bool
    majority: str
    has_majority: bool
    verdict: Verdict
    unknown: Unknown | None
    expected: Figure
    units_needed: int | None

    @property
    def chosen(self) -> bool:
        """Whether the figures are corrected, since this table was chosen among several."""
        return "accuracy_chosen" in self.m


def conclude(metrics: Metrics) -> Conclusion:
    """Return the conclusions from the metrics of a table.

    Parameters
    ----------
    metrics : mapping
        Of `measure`, or as ``metrics.json`` holds them, read by `with_figures`.
    """
    units = metrics["units"]
    chance = metrics["chance"]
    counts = [sum(row) for row in metrics["confusion"]]
    grouped = units["kind"] == "group" and metrics["names"]["row"] != metrics["names"]["group"]
    by_unit = metrics[BY_UNIT]
    # equal if patients are of equal size
    if not grouped or not by_unit or by_unit.value == metrics["accuracy"].value:
        by_unit = None
    name = "accuracy"
    known = units["count"]
    if by_unit is not None:
        name = BY_UNIT
        known = units["groups"]
    expected = _corrected(metrics, name)
    needed = units["needed"].get(name)
    if needed is not None and needed <= known:
        needed = None
    return Conclusion(
        m=metrics,
        right=sum(line[column] for column, line in enumerate(metrics["confusion"])),
        rows=images_tested(metrics),
        grouped=grouped,
        by_unit=by_unit,
        leads=by_unit is not None and units["largest"] > _LARGE,
        majority=metrics["classes"][counts.index(max(counts))],
        has_majority=chance["largest_class"] > chance["balanced"],
        verdict=verdict_of(metrics),
        unknown=_unknown(metrics, expected),
        expected=expected,
        units_needed=needed,
    )


def _corrected(metrics: Metrics, name: str) -> Figure:
    """Return a figure, corrected for the choice if the table was chosen among several."""
    figure: Figure = metrics.get(f"{name}_chosen") or metrics[name]
    return figure


def verdict_of(metrics: Metrics) -> Verdict:
    """Return whether the calls of a table are shown to be better than chance.

    Parameters
    ----------
    metrics : mapping
        As for `conclude`.
    """
    chances = {BALANCED: metrics["chance"]["balanced"], BY_UNIT: metrics["chance"].get("by_group")}
    for by, chance in chances.items():
        # rows of only one class leave nothing to be told apart
        if chance is None or chance == 1.0:
            continue
        figure = _corrected(metrics, by)
        if figure.interval:
            kind = _against(figure, chance)
            ranking = None
            if kind != "better":
                ranking = _ranking(metrics)
            return Verdict(kind, by, figure, chance, ranking)
    return Verdict("not estimable", "", metrics[BALANCED], chances[BALANCED])


def _against(figure: Figure, chance: float) -> str:
    """Return on which side of chance an interval lies."""
    if figure.low > chance:
        return "better"
    if figure.high < chance:
        return "worse"
    return "not shown"


def _ranking(metrics: Metrics) -> Figure | None:
    """Return the AUC of two classes, if it is shown to be above that of chance."""
    auc: Figure | None = metrics["auc"]
    if len(metrics["classes"]) > 2 or auc is None or not auc.interval or auc.low <= 0.5:
        return None
    return auc


def _unknown(metrics: Metrics, expected: Figure) -> Unknown | None:
    """Return why nothing is known of new patients, the most important reason first."""
    units = metrics["units"]
    if units["trained"]:
        return Unknown("trained", units["trained"])
    if units["kind"] != "group" and metrics["names"]["row"] != metrics["names"]["group"]:
        return Unknown("no patient")
    if units["divided"]:
        return Unknown("divided", units["divided"])
    if not expected.interval:
        return Unknown("not estimable", reason=expected.reason or metrics["accuracy"].reason)
    return None


@dataclass(frozen=True)
class Ranking:
    """Tables of one protocol about the same images, in order.

    Attributes
    ----------
    panels : tuple of Panel
        The highest figure first; as they came if none decides.
    by : {"balanced_accuracy", "patient_recognition_rate", ""}
        The figure, which is the first of these that has an interval in every table; empty if none has.
    leaders : int
        How many of the first are equal and shown to be better than chance.
    """

    panels: tuple[Panel, ...]
    by: str
    leaders: int

    @property
    def best(self) -> tuple[Panel, ...]:
        """The leaders, if there are other tables."""
        if len(self.panels) == 1:
            return ()
        return self.panels[: self.leaders]

    @property
    def marks(self) -> list[str]:
        """What stands before each table: ``best`` or nothing."""
        return ["best" * (place < len(self.best)) for place in range(len(self.panels))]


def rankings(panels: Sequence[Panel]) -> list[Ranking]:
    """Return tables of one protocol about as many images together, each protocol ranked."""
    protocols: dict[str, list[Panel]] = {}
    for panel in panels:
        protocols.setdefault(_protocol(panel), []).append(panel)
    return [_ranked(compared) for compared in protocols.values()]


def _protocol(panel: Panel) -> str:
    """Return what tables that are compared have in common: folds, images, groups and classes."""
    m = panel.metrics
    return repr(
        (m["protocol"], images_tested(m), m["units"]["groups"], sorted(m["classes"]), m["chance"])
    )


def _ranked(panels: Sequence[Panel]) -> Ranking:
    by = ranking_figure([panel.metrics for panel in panels])
    if not by:
        return Ranking(tuple(panels), by, 0)

    def value(panel: Panel) -> float:
        share: float = panel.metrics[by].value
        return share

    ordered = tuple(sorted(panels, key=value, reverse=True))
    leaders = 0
    if verdict_of(ordered[0].metrics).kind == "better":
        leaders = sum(value(panel) == value(ordered[0]) for panel in panels)
    return Ranking(ordered, by, leaders)


def ranking_figure(tables: Sequence[Metrics]) -> str:
    """Return the first figure that has an interval in all tables, by which they are ranked; empty if none has."""
    for name in (BALANCED, BY_UNIT):
        if all(metrics[name] and metrics[name].interval for metrics in tables):
            return name
    return ""


@dataclass(frozen=True)
class Advice:
    """What would help if nothing is shown to be better than chance.

    Attributes
    ----------
    kind : {"weights", "threshold", "images"}
        Features of trained weights; another threshold; more images, of more patients.
    unit : str
        The word for a patient.
    """

    kind: str
    unit: str


def advice_of(panels: Iterable[Panel]) -> Advice | None:
    """Return what would help if no table is shown to be better than chance; None if one is."""
    advice = None
    for panel in panels:
        verdict = verdict_of(panel.metrics)
        if verdict.kind == "better":
            return None
        advice = advice or Advice(_help_of(panel.run, verdict), panel.metrics["names"]["group"])
    return advice


def _help_of(run: Mapping[str, Any], verdict: Verdict) -> str:
    if any(banner.startswith("RANDOM WEIGHTS") for banner in run.get("banners", ())):
        return "weights"
    if verdict.ranking is not None:
        return "threshold"
    return "images"


def pooled_auc(figures: Metrics) -> float | None:
    """Return the AUC over pairs of all folds, if it differs from that within folds in the digits that are shown."""
    pooled: float | None = figures.get("auc_pooled")
    if pooled is None or abs(pooled - figures["auc"].value) < 0.005:
        return None
    return pooled


def power_note(pair: Metrics) -> str:
    """Return what to say of the size of a comparison: ``too few`` units for a p of 0.05, ``detectable``, or nothing."""
    if pair["least_p"] > 0.05:
        return "too few"
    if pair["detectable"] is None:
        return ""
    return "detectable"


def positives_needed(wanted: float) -> int | None:
    """Return how many positive units a target sensitivity takes; None for all of them, which no number guarantees.

    Examples
    --------
    >>> positives_needed(0.9), positives_needed(1.0)
    (9, None)
    """
    if wanted >= 1:
        return None
    # 0.9 / 0.1 is not quite 9
    return math.ceil(wanted / (1 - wanted) - 1e-6)
