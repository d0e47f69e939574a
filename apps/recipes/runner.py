"""Runs the variants of a recipe and times their networks, or estimates the time of the same steps."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from ...core import DAMAGE, InputError, ReportError, SettingsConflictError
from ...core.formats import read_rows
from ...core.jobs import scratch_folder, write_rows
from ...crossval import CrossValidation
from ...evaluate import Panel, PredictionTable, compare_pairs, holm, selection_notes, unlike_pairs
from ...evaluate.report import PublishedTable
from ...finetune import build_model
from .estimate import Estimate, estimate_step, time_training, untrained
from .parts import Part, make_parts
from .pictures import Trained
from .recipe import Recipe, ReproduceRequest
from .settings import build_steps
from .steps import FinetuneStep, Step
from .tables import Key, Obtained, Runs, compare_published
from .tables.networks import find_test_images, predict_test_images

_log = logging.getLogger(__name__)

_MOST_TIMED = 64
"""Largest batch in which training is timed: that of the only recipe that compares times."""

_ROUNDS = 3
"""How often each network is timed. The networks take turns, so that other work on the machine affects all of them."""


def run_variants(recipe: Recipe, request: ReproduceRequest) -> RecipeRun:
    """Run every chosen variant with each seed (and at each magnification of the recipe), and compare the figures.

    Figures and reports are those of the first seed; the other seeds are used to judge conclusions.

    Raises
    ------
    InputError
        See `reproduce`. If a variant or magnification has too few images, a quick run leaves it out with a warning.
    """
    tested = find_test_images(recipe, request.test_images)  # before work of days
    run, *others = [
        RecipeRun(recipe.reseeded(number), request.at_seed(number))
        for number in range(request.seeds)
    ]
    for seed in (run, *others):
        seed.run()
    if request.work.shard is not None:
        return run
    compared: dict[int | None, list[PredictionTable]] = {}
    for (_, magnification), obtained in run.obtained.items():
        compared.setdefault(magnification, []).append(obtained.panel.table)
    run.notes += [note for tables in compared.values() for note in selection_notes(tables)]
    ran = {} if request.quick else {name: run.variants[name] for name, _ in run.obtained}
    times = training_times(
        recipe, ran, run.parts[0], folder=request.run / "reproduce" / recipe.name
    )
    counted = _networks(recipe, run.variants, kind="parameters")
    sizes = {
        name: build_model(
            untrained(counted[name].settings), classes=len(ran.panel.table.classes), fold=0
        ).count_params()
        for (name, _), ran in run.obtained.items()
        if name in counted
    }
    predicted = predict_test_images(
        run.obtained.get((recipe.first, None)), tested, recipe=recipe, request=request
    )
    further = [other.obtained for other in others]
    runs = Runs(
        recipe.first,
        run.obtained,
        recipe.magnifications or (None,),
        further,
        times,
        sizes,
        predicted,
    )
    run.published = compare_published(recipe.published, runs, note=comparable_note(run.banners))
    run.failed += [line for other in others for line in other.failed]
    return run


class RecipeRun:
    """A run of a recipe with one seed: its variants and images, and the results and notes so far.

    Attributes
    ----------
    variants : dict
        Name of a variant to its steps.
    parts : list of Part
    notes : list of str
        Notes on what was left out, and on comparisons.
    results : list of CrossValidation
        Results of each variant, in the order of the request.
    obtained : dict
        Variant and magnification to the results that tables show.
    failed : list of str
        One line for each report of a step that could not be written.
    trained : list of Trained
        The networks.
    published : list of PublishedTable
    """

    def __init__(self, recipe: Recipe, request: ReproduceRequest) -> None:
        self._recipe, self._request = recipe, request
        self.variants = {
            name: build_steps(recipe, request, name) for name in recipe.chosen(request.variants)
        }
        self.notes: list[str] = []
        self.parts = make_parts(recipe, request, self.notes)
        self.results: list[CrossValidation] = []
        self.obtained: dict[Key, Obtained] = {}
        self.failed: list[str] = []
        self.trained: list[Trained] = []
        self.published: list[PublishedTable] = []
        self._left_out: dict[tuple[str, str], list[str]] = {}

    @property
    def banners(self) -> tuple[str, ...]:
        """Warnings at the top of the report."""
        of_results = (banner for result in self.results for banner in result.banners)
        of_parts = (note for part in self.parts for note in part.notes)
        return tuple(dict.fromkeys([*of_results, *of_parts, *self._recipe.notes, *self.notes]))

    def run(self) -> None:
        """Run everything.

        Raises
        ------
        InputError
            See `run_variants`.
        """
        if (
            not self._request.quick
        ):  # a complete run checks everything first, since it may work for days
            for part, steps in product(self.parts, self.variants.values()):
                for step in steps:
                    step.check(part)
        for part in self.parts:
            done: list[Step] = []
            for name in self.variants:
                self._variant(part, name, done=done)
        for (where, reason), names in self._left_out.items():
            what = "every variant" if names == list(self.variants) else ", ".join(names)
            self.notes.append(f"{what}{where} was left out: {reason}")
            _log.warning(self.notes[-1])
        for part in self.parts:
            part.known.clear()  # so that further seeds do not need more memory
        left_out = sum(map(len, self._left_out.values())) == len(self.parts) * len(self.variants)
        if left_out or (not self.results and self._request.work.shard is None):
            raise InputError(
                "{}: too few images for {quick}: {}", self._request.images, self.notes[-1]
            )

    def _variant(self, part: Part, name: str, *, done: list[Step]) -> None:
        """Run the steps of a variant that are not `done`; a quick run skips a variant with too few images."""
        results: list[CrossValidation] = []
        try:
            if self._request.quick:  # check all steps before the first begins
                for step in self.variants[name]:
                    step.check(part)
            for step in self.variants[name]:
                if step in done:  # variants that train on the same features share their extraction
                    continue
                _log.info("%s: %s%s: %s", self._recipe.name, name, part.where, step.kind)
                try:
                    made = step.run(
                        part, work=self._request.work, notes=[*part.notes, *self._recipe.notes]
                    )
                except ReportError as error:  # everything else is done; reported at the end
                    self.failed.append(str(error))
                    made = error.results
                if isinstance(step, FinetuneStep):
                    images = part.selection(step.reading)
                    self.trained += [Trained(name, part.run, images, result) for result in made]
                results += made
                done.append(step)
        except InputError as error:
            only_one = len(self.variants) == 1 and part.magnification is None
            if not self._request.quick or only_one or isinstance(error, SettingsConflictError):
                raise
            self._left_out.setdefault((part.where, str(error)), []).append(name)
            return
        for result in results:
            label = (
                f"{name}{part.where}"
                if len(results) == 1
                else f"{name}{part.where}: {result.folder.name}"
            )
            if (
                result.panel is not None
            ):  # its table is named after the variant: others may have the same network
                panel = replace(result.panel, table=replace(result.panel.table, name=label))
                result = replace(result, panel=panel)
                self.obtained.setdefault((name, part.magnification), Obtained(result.folder, panel))
            self.results.append(result)


def pairs_of(obtained: Mapping[Key, Obtained]) -> list[dict[str, Any]]:
    """Test the first variant against each other variant, at the same magnification."""
    first: dict[int | None, Panel] = {}
    pairs = []
    for (_, magnification), run in obtained.items():
        panels = first.setdefault(magnification, run.panel), run.panel
        if panels[0] is not run.panel:
            tables = [panel.table for panel in panels]
            for note in unlike_pairs(tables, rows=False):
                _log.warning("%s", note)
            pairs += compare_pairs(tables, views=[panel.view for panel in panels])
    return holm(pairs)


def estimate_variants(recipe: Recipe, request: ReproduceRequest) -> list[Estimate]:
    """Estimate units, time and disk space of `run_variants`, without writing anything.

    Raises
    ------
    InputError
        See `reproduce`.
    """
    estimates: list[Estimate] = []
    done: list[Step] = []
    chosen = recipe.chosen(request.variants)
    with scratch_folder() as folder:  # for the lists of a quick run
        parts = make_parts(recipe, replace(request, run=Path(folder)), [])
        for name in chosen:
            for step in build_steps(recipe, request, name):
                if step in done:
                    continue
                _log.info("%s: timing a few units of the step %s", name, step.kind)
                stage = step.kind if len(chosen) == 1 else f"{name}: {step.kind}"
                estimates.append(
                    estimate_step(step, parts, work=request.work, before=done)._replace(stage=stage)
                )
                done.append(step)
    again = (
        one._replace(stage=f"{one.stage}, seed {n}")
        for n in range(1, request.seeds)
        for one in estimates
    )
    return [*estimates, *again]


_COMPARABLE = ("PATIENTS UNKNOWN", "NO VALIDATION", "BALANCED BEFORE THE SPLIT")
"""Banners with which figures can still be compared: the source has the same limitation, or the variant is meant so."""


def comparable_note(banners: Sequence[str]) -> str:
    """Return a note on why figures cannot be compared, from the words in capitals that begin a banner; else empty."""
    begins = (banner.partition(":")[0] for banner in banners)
    kinds = [kind for kind in begins if kind.isupper() and kind not in _COMPARABLE]
    return f"Not comparable ({', '.join(dict.fromkeys(kinds)).lower()})." if kinds else ""


def training_times(
    recipe: Recipe, variants: Mapping[str, Sequence[Step]], part: Part, *, folder: Path
) -> dict[str, list[float]]:
    """Time a training step of each network in the recipe's tables of kind ``time``.

    Parameters
    ----------
    recipe : Recipe
    variants : mapping
        The variants that were run, with their steps.
    part : Part
        Images, of which the first is used.
    folder : Path
        Folder for ``training-time.csv``; an existing file with every network is used instead of timing again.

    Returns
    -------
    dict of str to list of float
        Variant to the seconds per sample in each round; empty if no table needs them.
    """
    steps, path = _networks(recipe, variants, kind="time"), folder / "training-time.csv"
    times: dict[str, list[float]] = {}
    with contextlib.suppress(*DAMAGE):  # of a damaged table; then they are timed again
        for row in read_rows(path) if steps else ():
            times.setdefault(row["variant"], []).append(float(row["seconds"]))
    if not steps.keys() <= times.keys():
        times = {name: [] for name in steps}
        for _, (name, step) in product(range(_ROUNDS), steps.items()):
            dataset = part.read(step.reading)
            first, classes = dataset.records[0], len(dataset.classes)
            cost = time_training(first, settings=step.settings, classes=classes, most=_MOST_TIMED)
            times[name].append(cost.step)
        rows = [
            (name, turn, value)
            for name, seconds in times.items()
            for turn, value in enumerate(seconds, start=1)
        ]
        write_rows(path, ("variant", "round", "seconds"), rows)
    return times


def _networks(
    recipe: Recipe, variants: Mapping[str, Sequence[Step]], *, kind: str
) -> dict[str, FinetuneStep]:
    """Return the training steps of the variants that tables of a kind list."""
    rows = {name for table in recipe.published if table["kind"] == kind for name in table["rows"]}
    return {
        name: step
        for name, steps_of_variant in variants.items()
        for step in steps_of_variant
        if name in rows and isinstance(step, FinetuneStep)
    }
