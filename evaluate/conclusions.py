"""What figures mean: whether calls are better than chance, what to expect of new patients, which result is the best.

Every conclusion is a value, made here once from the figures that it rests on. Reports, terminals, cards and pages put
its kind into words, and compare no numbers themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..core import Kind, has_kind
from .compare import BALANCED, paired_rows, unlike
from .intervals import Entry, Figure, Metrics
from .panel import Panel, decisive
from .predictions import FEW_IMAGES, Integers, Mask, PredictionTable, Values, sampling_units

BY_UNIT = "patient_recognition_rate"

BOOTSTRAPS = 1000
"""As many as in the simulations of the authors, see `corrected_figures`."""

_EQUAL = 1e-12
"""Figures that differ by less than this differ only by rounding."""

RATES = ("accuracy", BALANCED, BY_UNIT)
"""The figures that conclusions rest on, which are corrected for the choice of the best."""

_CHOSEN = "_chosen"
"""What the name of a figure ends with that is corrected for the choice."""

_LARGE = 0.2
"""If one unit holds more than this share of the rows, the figure by unit comes first: bchisto's choice."""


@dataclass(frozen=True)
class Verdict:
    """Whether calls are shown to be better than chance.

    The balanced accuracy decides, in which a large class cannot hide errors in the others: whatever a model calls every
    row, it is one over the number of classes. If that has no interval, the mean over patients decides.

    Attributes
    ----------
    kind : {"better", "not shown", "worse", "not estimable"}
        By the 95 % interval: above chance, on both sides of it, below it; without interval there is no verdict. If no
        fold tests a class beside another, what is right may be far too low (Forman & Scholz 2010), so none is worse.
    by : {"balanced_accuracy", "patient_recognition_rate", ""}
        The figure that decides; empty without interval.
    figure : Figure
        That figure; of the balanced accuracy without interval.
    chance : float
        What it is by chance.
    ranking : Figure or None
        The AUC of two classes, if its interval lies above one half, and above the balanced accuracy, though calls are
        not better: then another threshold may be better.
    less : Verdict or None
        That of the mean over patients, or of the accuracy if no patient is known, if that figure is not shown to be
        better than what one class for all would reach, though the balanced accuracy is.
    """

    kind: str
    by: str
    figure: Figure
    chance: float
    ranking: Figure | None = None
    less: Verdict | None = None


@dataclass(frozen=True)
class Unknown:
    """Why a table does not show what to expect of new patients.

    Attributes
    ----------
    kind : {"trained", "trained group", "no patient", "divided", "chosen", "idle", "one class", "not estimable"}
        Images trained the models; patients are named as some that did; no patient is known; some are in training and
        test sets; a strategy chose images, which were not drawn at random; the models learnt nothing; each fold tests
        only one class, and no calls better than chance are shown in spite of that; no interval.
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
        The metrics, of `measure`; see `decisive`.
    whole : mapping
        Those of all rows.
    right : int
        How many rows are right.
    grouped : bool
        Whether rows belong to patients, or to what else groups are called.
    by_unit : Figure or None
        The accuracy by patient; None if it adds nothing.
    leads : bool
        Whether that comes first, because a patient holds many of the rows.
    majority : str
        The largest class.
    has_majority : bool
        Whether it is larger than each of the others, of which the table holds one at least.
    verdict : Verdict
    unknown : Unknown or None
    expected : Figure
        What is right of new patients; after the correction for a choice if this table was chosen.
    units_needed : int or None
        For an interval that is 10 points wide, if these are more than the table has and no class is scarce: the
        variance of fewer units tells too little.
    scarce : dict of str to int
        Classes of fewer than `FEW_IMAGES` units, with how many these are.
    """

    m: Metrics
    whole: Metrics
    right: int
    grouped: bool
    by_unit: Figure | None
    leads: bool
    majority: str
    has_majority: bool
    verdict: Verdict
    unknown: Unknown | None
    expected: Figure
    units_needed: int | None
    scarce: dict[str, int]

    @property
    def below(self) -> Figure | None:
        """The balanced accuracy, if it is below chance, and the verdict is that of the mean over patients."""
        figure: Figure | None = self.m[BALANCED]
        if self.verdict.by != BY_UNIT or not figure:
            return None
        if figure.value > self.m["chance"]["balanced"] - _EQUAL:
            return None
        return figure

    @property
    def ranks(self) -> Figure | None:
        """The AUC of two classes, if it is above one half though calls are `below` chance."""
        view = self.m.get("two_class")
        if self.below is None or not view or len(self.m["classes"]) > 2:
            return None
        auc: Figure | None = view["auc"]
        if auc is None or auc.value <= 0.5:
            return None
        return auc

    @property
    def fewer(self) -> bool:
        """Whether fewer rows are right than if all were called the largest class."""
        return bool(self.m["accuracy"].value < self.m["chance"]["largest_class"])

    @property
    def chosen(self) -> bool:
        """Whether the figures are corrected, since this table was chosen among several."""
        return "accuracy" + _CHOSEN in self.m

    @property
    def refuted(self) -> bool:
        """Whether the folds mix groups that those of another result keep apart, see `choices_of`."""
        return is_mixed(self.m)

    @property
    def of_one_class(self) -> int:
        """How many groups hold only one of two classes, if they are most, and the mean over groups is not better."""
        units = self.m["units"]
        single = int(2 * units["count"] - sum(units["of_class"]))
        if len(self.m["classes"]) > 2 or units["ungrouped"] or 2 * single <= units["count"]:
            return 0
        if self.verdict.less is None or not self.grouped:
            return 0
        return single

    @property
    def lowered(self) -> bool:
        """Whether that correction changes a figure."""
        return any(self.m.get(name + _CHOSEN, self.m[name]) != self.m[name] for name in RATES)


def conclude(metrics: Metrics) -> Conclusion:
    """Return the conclusions from the metrics of a table.

    Parameters
    ----------
    metrics : mapping
        Of `measure`, or as ``metrics.json`` holds them, read by `with_figures`.
    """
    whole = metrics
    metrics = decisive(metrics)
    units = metrics["units"]
    counts = [sum(row) for row in metrics["confusion"]]
    grouped = units["kind"] == "group" and metrics["names"]["row"] != metrics["names"]["group"]
    by_unit = metrics[BY_UNIT]
    # equal if patients are of equal size
    if not grouped or not by_unit or abs(by_unit.value - metrics["accuracy"].value) < _EQUAL:
        by_unit = None
    name = "accuracy"
    known = units["count"]
    if by_unit is not None:
        name = BY_UNIT
        known = units["groups"]
    expected = corrected(metrics, name)
    verdict = verdict_of(metrics)
    needed = units["needed"].get(name)
    of_class = zip(metrics["classes"], units["of_class"], strict=True)
    scarce = {label: count for label, count in of_class if 0 < count < FEW_IMAGES}
    if scarce or (needed is not None and needed <= known):
        needed = None
    return Conclusion(
        m=metrics,
        whole=whole,
        right=int(np.trace(metrics["confusion"])),
        grouped=grouped,
        by_unit=by_unit,
        leads=by_unit is not None and units["largest"] > _LARGE,
        majority=metrics["classes"][counts.index(max(counts))],
        has_majority=max(counts) < sum(counts) and counts.count(max(counts)) == 1,
        verdict=verdict,
        unknown=_unknown(whole, verdict, expected),
        expected=expected,
        units_needed=needed,
        scarce=scarce,
    )


def corrected(metrics: Metrics, name: str) -> Figure:
    """Return a figure, corrected for the choice if the table was chosen among several."""
    figure: Figure = metrics.get(name + _CHOSEN) or metrics[name]
    return figure


def verdict_of(metrics: Metrics) -> Verdict:
    """Return whether the calls of a table are shown to be better than chance.

    Parameters
    ----------
    metrics : mapping
        As for `conclude`.
    """
    metrics = decisive(metrics)
    chances = {BALANCED: metrics["chance"]["balanced"], BY_UNIT: metrics["chance"].get("by_group")}
    for by, chance in chances.items():
        # rows of only one class leave nothing to be told apart
        if chance is None or chance == 1.0:
            continue
        figure = corrected(metrics, by)
        if figure.interval:
            kind = _against(figure, chance)
            if kind == "worse" and metrics["units"]["one_class_folds"]:
                kind = "not shown"
            # of models that give all images the same, figures only follow the folds
            if not metrics["learnt"]:
                kind = "not shown"
            ranking = None
            less = None
            if kind != "better":
                ranking = _ranking(metrics)
            elif by == BALANCED:
                less = _less(metrics)
            return Verdict(kind, by, figure, chance, ranking, less)
    return Verdict("not estimable", "", metrics[BALANCED], chances[BALANCED])


def _less(metrics: Metrics) -> Verdict | None:
    """Return that the figure which a large class can raise is not shown to be above chance; None if it is."""
    by = BY_UNIT
    chance = metrics["chance"].get("by_group")
    if chance is None:
        by = "accuracy"
        chance = metrics["chance"]["largest_class"]
    figure = corrected(metrics, by)
    if not figure.interval or figure.low > chance:
        return None
    return Verdict(_against(figure, chance), by, figure, chance)


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
    if len(metrics["classes"]) > 2 or auc is None or not auc.interval:
        return None
    # of the ROC through the single point of the calls the area is their balanced accuracy
    if auc.low <= max(0.5, metrics[BALANCED].value):
        return None
    return auc


def _unknown(metrics: Metrics, verdict: Verdict, expected: Figure) -> Unknown | None:
    """Return why nothing is known of new patients, the most important reason first."""
    units = metrics["units"]
    if units["trained"]:
        return Unknown("trained", units["trained"])
    if units["trained_groups"]:
        return Unknown("trained group", units["trained_groups"])
    if units["kind"] != "group" and metrics["names"]["row"] != metrics["names"]["group"]:
        return Unknown("no patient")
    if units["divided"]:
        return Unknown("divided", units["divided"])
    if "drawn" in metrics:
        return Unknown("chosen")
    if not metrics["learnt"]:
        return Unknown("idle")
    if units["one_class_folds"] and verdict.kind != "better":
        return Unknown("one class")
    if not expected.interval:
        return Unknown("not estimable", reason=expected.reason or metrics["accuracy"].reason)
    return None


@dataclass(frozen=True)
class Standing:
    """What is shown of a table beside the highest one.

    Attributes
    ----------
    kind : {"best", "highest", "lower", "higher", "not shown", ""}
        Of the highest, and those equal to it, whether they are shown to be better than all others, or only better than
        chance; of others whether they are shown to be lower or higher, by `holm`; empty if nothing is.
    pair : mapping or None
        The comparison with the highest, of `compare_pairs`.
    """

    kind: str = ""
    pair: Metrics | None = None


@dataclass(frozen=True)
class Ranking:
    """Tables of one protocol about the same images, in order.

    Attributes
    ----------
    panels : tuple of Panel
        The highest figure first, and after all others those whose models learnt nothing; as they came if none decides.
    by : {"balanced_accuracy", "patient_recognition_rate", ""}
        The figure, which is the first of these that has an interval in every table; empty if none has.
    leaders : int
        How many of the first are equal and shown to be better than chance.
    standings : tuple of Standing
        Of each table.
    """

    panels: tuple[Panel, ...]
    by: str
    leaders: int
    standings: tuple[Standing, ...]

    @property
    def refuted(self) -> bool:
        """Whether their folds mix groups that those of another result keep apart, see `choices_of`."""
        return is_mixed(self.panels[0].metrics)

    @property
    def marks(self) -> list[str]:
        """What stands before each table: ``best`` or ``highest`` for leaders with others beside them, else nothing."""
        return [each.kind if each.kind in ("best", "highest") else "" for each in self.standings]


def rankings(panels: Sequence[Panel], pairs: Sequence[Metrics] = ()) -> list[Ranking]:
    """Return tables that can be compared together, each such set ranked, in the order of their first ones.

    Sets that are refuted come last.

    Parameters
    ----------
    panels : sequence of Panel
    pairs : sequence of mapping
        Of `compare_pairs`; without them no table is the best.
    """
    places_of = studies([panel.table for panel in panels])
    ranked = [_ranked([panels[place] for place in places], pairs) for places in places_of]
    return sorted(ranked, key=lambda ranking: ranking.refuted)


def is_mixed(added: Metrics) -> bool:
    """Return whether a result is not to be chosen, by what `choices_of` added to its metrics."""
    return bool(added.get("choice", {}).get("kind") == "mixed")


def _beside(name: str, first: str, pairs: Sequence[Metrics]) -> Standing:
    """Return what the comparison with the highest shows of a table."""
    for pair in pairs:
        if {pair["first"], pair["second"]} == {name, first}:
            kinds = {"better": "higher", "worse": "lower"}
            if pair["first"] == name:
                kinds = {"better": "lower", "worse": "higher"}
            return Standing(kinds.get(pair["verdict"], "not shown"), pair)
    return Standing()


def studies(tables: Sequence[PredictionTable], images: Sequence[str] = ()) -> list[list[int]]:
    """Return the places of tables that can be compared together: of one protocol, the same rows, classes and groups.

    Tables with images that trained the models are not compared with those of new images.

    Parameters
    ----------
    tables : sequence of PredictionTable
    images : sequence of str
        Identity of the images of each table, if that is known.
    """
    if not images:
        images = [""] * len(tables)
    places_of: list[list[int]] = []
    for place, table in enumerate(tables):
        for places in places_of:
            first = places[0]
            if images[first] == images[place] and _is_alike(tables[first], table):
                places.append(place)
                break
        else:
            places_of.append([place])
    return places_of


def _is_alike(first: PredictionTable, table: PredictionTable) -> bool:
    if first.protocol != table.protocol or first.not_new != table.not_new:
        return False
    parts = ("image_ids", "patches", "folds", "groups", "classes")
    if all(getattr(first, part) == getattr(table, part) for part in (*parts, "marks")):
        # most often, and much faster
        return np.array_equal(first.labels, table.labels)
    return unlike(first, table) is None


def _ranked(panels: Sequence[Panel], pairs: Sequence[Metrics]) -> Ranking:
    by = ranking_figure([decisive(panel.metrics) for panel in panels])
    if not by:
        return Ranking(tuple(panels), by, 0, (Standing(),) * len(panels))

    def rank(panel: Panel) -> tuple[bool, float]:
        return (not panel.metrics["learnt"], -_rounded(decisive(panel.metrics)[by]))

    ordered = tuple(sorted(panels, key=rank))
    leaders = 0
    if not is_mixed(panels[0].metrics) and verdict_of(ordered[0].metrics).kind == "better":
        leaders = sum(rank(panel) == rank(ordered[0]) for panel in panels)
    equal = max(leaders, 1)
    names = [panel.table.name for panel in ordered]
    others = [_beside(name, names[0], pairs) for name in names[equal:]]
    kind = ""
    if leaders and len(names) > 1:
        kind = "highest"
        if {other.kind for other in others} == {"lower"}:
            kind = "best"
    return Ranking(ordered, by, leaders, (*[Standing(kind)] * equal, *others))


def _rounded(figure: Figure) -> float:
    """Return the value of a figure, so that values which differ only by rounding are equal."""
    return round(figure.value, 12)


def ranking_figure(tables: Sequence[Metrics]) -> str:
    """Return the first figure that has an interval in all tables, by which they are ranked; empty if none has."""
    for name in (BALANCED, BY_UNIT):
        if all(metrics[name] and metrics[name].interval for metrics in tables):
            return name
    return ""


def choices_of(
    tables: Sequence[PredictionTable], metrics: Sequence[Metrics], *, images: Sequence[str] = ()
) -> list[Entry]:
    """Return what the choice of the best of several tables adds to the metrics of each; empty if there is none.

    Parameters
    ----------
    tables : sequence of PredictionTable
        Those of the same images, folds, classes, true classes and groups are compared.
    metrics : sequence of mapping
        Of `measure`, of each table.
    images : sequence of str
        Identity of the images of each table, if all are of one run: then tables that are not compared are counted.

    Returns
    -------
    list of dict
        ``choice`` has the ``kind`` (``best``: the highest, which is better than chance after the correction;
        ``highest``: it is not; ``unranked``: no figure has an interval in all tables; ``single``: nothing to compare);
        the ``count`` of what is compared; which was ``chosen``; ``by`` which figure; how many others are ``equal`` by
        it; how many more are ``idle``, since their models learnt nothing, and are not compared beside others that did;
        how many results are ``elsewhere``, on other images or folds. Of results whose folds mix groups that those of
        another keep apart, the kind is ``mixed``, and the count that of all results. The chosen one has its corrected
        figures, such as ``accuracy_chosen``, unless the same rows are right in all.
    """
    added: list[Entry] = [{} for _ in tables]
    refuted = _refuted(tables, metrics)
    for place in refuted:
        added[place]["choice"] = {"kind": "mixed", "count": len(tables)}
    for places in studies(tables, images):
        if places[0] in refuted:
            continue
        elsewhere = 0
        if images:
            elsewhere = len(tables) - len(refuted) - len(places)
        candidates = [place for place in places if metrics[place]["learnt"]] or places
        if len(candidates) == 1 and not elsewhere:
            continue
        entry = choose(
            [tables[place] for place in candidates], [metrics[place] for place in candidates]
        )
        choice = {
            **entry["choice"],
            "idle": len(places) - len(candidates),
            "elsewhere": elsewhere,
        }
        for place in places:
            if tables[place].name == choice["chosen"]:
                added[place] |= entry
            added[place]["choice"] = choice
    return added


def _refuted(tables: Sequence[PredictionTable], metrics: Sequence[Metrics]) -> set[int]:
    """Return the places of tables whose folds mix groups that those of another table keep apart."""
    kept_apart: set[str] = set()
    for table, of_table in zip(tables, metrics, strict=True):
        if table.fold_numbers and any(table.groups) and not of_table["units"]["divided"]:
            kept_apart.update(table.image_ids)
    return {
        place
        for place, table in enumerate(tables)
        if metrics[place]["units"]["divided"] and kept_apart.intersection(table.image_ids)
    }


def choose(tables: Sequence[PredictionTable], metrics: Sequence[Metrics]) -> Entry:
    """Return what the choice of the best of tables that can be compared adds to the metrics of the chosen one."""
    choice = {"kind": "single", "count": len(tables), "chosen": "", "by": "", "equal": 0}
    chosen: Entry = {"choice": choice}
    if len(tables) == 1:
        return chosen
    choice["kind"] = "unranked"
    metrics = [decisive(of_table) for of_table in metrics]
    tables = [table.drawn for table in tables]
    by = ranking_figure(metrics)
    if not by:
        return chosen
    values = [_rounded(of_table[by]) for of_table in metrics]
    best = values.index(max(values))
    # among tables of which the same rows are right there is no choice
    first = tables[0]
    if any(table.keys != first.keys or (table.hits != first.hits).any() for table in tables[1:]):
        for name, value in corrected_figures(tables, by=by).items():
            if metrics[best][name] is not None:
                chosen[name + _CHOSEN] = _moved(metrics[best][name], value)
    kind = "highest"
    if verdict_of({**metrics[best], **chosen}).kind == "better":
        kind = "best"
    equal = values.count(values[best]) - 1
    choice |= {"kind": kind, "chosen": tables[best].name, "by": by, "equal": equal}
    return chosen


def _moved(figure: Figure, value: float) -> Figure:
    """Return a figure at a lower value, with its interval moved by as much; as it is if the value is not lower.

    The interval still reaches what was measured, which the table itself shows to be possible.

    In expectation no bootstrap of the figure that ranks is above the best one's, since what is chosen for the rows in a
    bag has fewer right ones left outside of it; a higher value is an error of drawing. A figure that does not rank may
    be higher for the other tables, but it is not the chosen one's.
    """
    moved = max(0.0, figure.value - value)
    low = max(0.0, figure.low - moved)
    high = max(figure.value, figure.high - moved)
    return replace(figure, value=figure.value - moved, low=low, high=high)


def corrected_figures(tables: Sequence[PredictionTable], *, by: str) -> dict[str, float]:
    """Return what to expect of the best of several tables (BBC-CV): the choice is made anew on bootstraps.

    Units are drawn whole, with replacement. The table with the highest figure among those drawn is chosen, and its
    figures are those of the units that were not drawn. Tables with equal figures count the same. The mean over
    bootstraps is returned; one in which a figure is not defined is left out of its mean.

    Parameters
    ----------
    tables : sequence of PredictionTable
        Of the same rows and classes.
    by : {"balanced_accuracy", "patient_recognition_rate", "accuracy"}
        The figure that is to be highest. Balanced accuracy is over the classes that are drawn.

    Returns
    -------
    dict of str to float
        ``accuracy``, ``balanced_accuracy``, and if groups are known ``patient_recognition_rate``.

    References
    ----------
    Tsamardinos, Greasidou & Borboudakis 2018 (BBC-CV).
    """
    first = tables[0]
    hits = [first.hits]
    for table in tables[1:]:
        # each adds the groups that only it names
        first, aligned = paired_rows(first, table)
        hits.append(aligned.hits)
    _, member = sampling_units(first)
    units = int(member.max()) + 1
    truth = np.eye(len(first.classes))[first.labels]
    right = np.array(hits).T[:, :, None] * truth[:, None, :]
    # what a row is of its patient, so that all patients weigh the same
    share = np.array([group is not None for group in first.groups]) / np.bincount(member)[member]

    def figures(times: Integers | Mask) -> dict[str, Values]:
        """Return the figures by draw and table, of units that count so many times in each draw."""
        weights = times[:, member].astype(np.float64)
        of_class = weights @ truth
        right_of_class = np.tensordot(weights, right, axes=1)
        recalls = right_of_class / of_class[:, None]
        rates = {
            "accuracy": right_of_class.sum(axis=2) / of_class.sum(axis=1)[:, None],
            BALANCED: np.nansum(recalls, axis=2) / np.count_nonzero(of_class, axis=1)[:, None],
        }
        if share.any():
            by_patient = np.tensordot(weights * share, right, axes=1).sum(axis=2)
            rates[BY_UNIT] = by_patient / (weights @ share)[:, None]
        return rates

    generator = np.random.default_rng(0)
    drawn = []
    with np.errstate(invalid="ignore"):
        # as many draws at once as fit into memory
        for _ in range(0, BOOTSTRAPS, 50):
            draws = generator.integers(units, size=(50, units))
            times = np.array([np.bincount(draw, minlength=units) for draw in draws])
            ranked = figures(times)[by]
            # equal ones share the choice: the first of them would be favoured by its name
            highest = ranked >= ranked.max(axis=1, keepdims=True) - _EQUAL
            outside = figures(times == 0)
            best = [(values * highest).sum(axis=1) for values in outside.values()]
            drawn.append(best / highest.sum(axis=1))
    corrected = np.nanmean(np.concatenate(drawn, axis=1), axis=1)
    return dict(zip(outside, corrected.tolist(), strict=True))


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


def advice_of(panel: Panel) -> Advice:
    """Return what would help if a table, the first of several in order, is not shown to be better than chance."""
    kind = "images"
    if has_kind(panel.banners, Kind.RANDOM_WEIGHTS):
        kind = "weights"
    elif verdict_of(panel.metrics).ranking is not None:
        kind = "threshold"
    return Advice(kind, panel.metrics["names"]["group"])


POOLED_APART = 0.005
"""Half of the second decimal of an AUC: bchisto's choice."""


def pooled_auc(figures: Metrics) -> float | None:
    """Return the AUC over pairs of all folds, if it differs from that within folds in the digits that are shown."""
    pooled: float | None = figures.get("auc_pooled")
    if pooled is None or abs(pooled - figures["auc"].value) < POOLED_APART:
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
