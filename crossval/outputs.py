"""The result of a cross-validation, with a summary for a terminal or a notebook, and its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core import (
    Banner,
    Content,
    Entries,
    Kind,
    Pairs,
    counted,
    has_kind,
    html_lines,
    plural,
    public,
)
from ..core.formats import Pixels
from ..core.jobs import Share, write_json, write_rows
from ..core.models import BundleFacts, TrainingImages
from ..data import CHOSEN, unit_names
from ..evaluate import (
    SCHEMA,
    Panel,
    PaperTable,
    PredictionTable,
    answers_by_fold,
    as_json,
    choice_in_run,
    compare_pairs,
    constant_folds,
    decisive,
    metrics_of,
    rankings,
    read_facts,
    sampling_units,
    shrunk_temperature,
    unsure_rule,
    variance_split,
    write_predictions,
)
from ..evaluate.report import (
    CARD,
    answer_lines,
    choose_samples,
    headline,
    measured,
    reporting,
    warnings,
    write_card,
    write_report,
)

if TYPE_CHECKING:
    from .training import Training

_CITED = {
    "alexnet": "krizhevsky2012",
    "googlenet": "szegedy2015",
    "resnet50": "he2016",
    "vgg16": "simonyan2015",
    "inceptionv3": "szegedy2016",
    "mobilenetv2": "sandler2018",
    "adam": "kingma2015",
    "imagenet": "deng2009",
    "embedded": "deng2009",
}
"""Networks, optimisers and weights, to the key of their citation."""


def citation_of(name: str) -> str:
    """Return the citation that follows a name in a methods section, with a space before it; empty without one.

    Examples
    --------
    >>> f"vgg16{citation_of('vgg16')} and uni{citation_of('uni')}"
    'vgg16 [@simonyan2015] and uni'
    """
    return f" [@{_CITED[name]}]" if name in _CITED else ""


@dataclass(frozen=True)
class CrossValidation:
    """The result of one cross-validation scheme with one classifier or network.

    Attributes
    ----------
    folder : Path
        ``RUN/boost/<folds>-<head>`` or ``RUN/finetune/<folds>-<network>[-<name>]``, with the models, predictions,
        metrics, report and model file.
    protocol : str
        The cross-validation scheme in words.
    models : int
        Number of models; for networks one per fold.
    unit : str
        The word for them: ``models``, or ``folds`` if there is one per fold.
    finished : bool
        Whether all models are trained. A shard trains its part; a call without a shard trains the others and writes
        the outputs.
    banners : tuple of Banner
        Warnings that every reader must see.
    panel : Panel or None
        Predictions of images with their metrics; None until all is finished, or if no images were tested.
    failures : tuple of (image_id, message)
        Images that could not be used.
    assembled : bool
        Whether the outputs are written: model file, metrics and, if images were tested, predictions.
    unreported : tuple of str
        One line for each table or report that could not be written.
    share : Share or None
        For a shard: its part of the models, and how many models are trained so far.
    """

    folder: Path
    protocol: str
    models: int
    unit: str
    finished: bool
    banners: tuple[Banner, ...]
    panel: Panel | None = field(default=None, repr=False)
    failures: Pairs = ()
    assembled: bool = False
    unreported: tuple[str, ...] = ()
    share: Share | None = None

    @property
    def metrics(self) -> Content | None:
        """Metrics of images, or None if there are none."""
        return None if self.panel is None else self.panel.metrics

    @property
    def model(self) -> Path:
        """Path of the model file, which exists once all is finished."""
        return self.folder / "model.bchisto"

    @property
    def report(self) -> Path:
        """Path of the report, which exists once all is finished."""
        return self.folder / "report.html"

    def __repr__(self) -> str:
        return f"CrossValidation({str(self.folder)!r}, {counted(self.models, 'model')}, assembled={self.assembled})"

    def _repr_html_(self) -> str:
        lines = self.summary()
        if self.assembled:
            lines.append(f"model: {self.model}")
            if self.panel is not None:
                lines.append(f"report: {self.report}")
        return html_lines(lines)

    def summary(self, name: str = "") -> list[str]:
        """Return the result as lines for a terminal; by default its name is that of its folder."""
        name = name or self.folder.name
        if not self.assembled:
            return [f"{name}: {self.share}"]
        if self.panel is None:
            return [
                *self.banners,
                f"{name}: trained on all images, none tested. Protocol: {self.protocol}",
            ]
        warned = warnings([self.panel], self.banners)
        return headline(name, self.panel.metrics, banners=warned)


def chosen_anew(results: Sequence[CrossValidation]) -> list[CrossValidation]:
    """Return results with the present choice of the best result of their run."""
    updated_results = []
    for result in results:
        panel = result.panel
        if panel is not None:
            panel = panel.chosen(choice_in_run(result.folder / "predictions.csv"))
        updated_results.append(replace(result, panel=panel))
    return updated_results


def in_order(results: Sequence[CrossValidation]) -> tuple[CrossValidation, ...]:
    """Return results in the order of `rankings`, which begins with those that share the protocol of the first."""
    panels = [result.panel for result in results if result.panel is not None]
    ordered = chain.from_iterable(ranking.panels for ranking in rankings(panels))
    position_of = {id(panel): number for number, panel in enumerate(ordered)}
    return tuple(
        sorted(results, key=lambda result: position_of.get(id(result.panel), len(position_of)))
    )


def offered(results: Sequence[CrossValidation]) -> CrossValidation | None:
    """Return the result to continue with: the first in order that is better than chance; the first if none was tested.

    Returns
    -------
    CrossValidation or None
        None if nothing is shown to be better than chance.
    """
    panels = [result.panel for result in results if result.panel is not None]
    if not panels:
        return results[0]
    leaders = {id(ranking.panels[0]) for ranking in rankings(panels) if ranking.leaders}
    return next((result for result in results if id(result.panel) in leaders), None)


def summary_of(
    results: Sequence[CrossValidation],
    above: Path | None = None,
    *,
    room: int = 0,
    notes: Sequence[Banner] = (),
) -> list[str]:
    """Return results as lines for a terminal; of several that were tested, a table and each sentence once.

    Parameters
    ----------
    results : sequence of CrossValidation
    above : Path, optional
        The folder whose names of results tell them apart; by default the one that they are in.
    room : int
        Most lines, see `bchisto.evaluate.report.answer_lines`; 0 for all that there is to say.
    notes : sequence of Banner
        What a reader must know of all results.
    """
    lines = []
    panels = []
    for result in results:
        name = str(result.folder.relative_to(above or result.folder.parent))
        if result.panel is None:
            lines += result.summary(name)
        else:
            panels.append(replace(result.panel, table=replace(result.panel.table, name=name)))
    if panels:
        pairs = compare_pairs(
            [panel.table for panel in panels], views=[panel.view for panel in panels]
        )
        lines += answer_lines(panels, pairs, warnings(panels, notes), room=room)
    return lines


@dataclass(frozen=True)
class Outputs:
    """Everything from which the outputs of a cross-validation are written.

    Attributes
    ----------
    training : Training
    tables : sequence of PredictionTable
        Predictions. The first table is the main one, by all models together.
    members : sequence of PredictionTable
        The main table by the models of each seed.
    shown : int or None
        Number of tables, from the first, that get a section in the report. None for all.
    methods : sequence of (str, str)
        Sentences about the training for a methods section, with citations as `cite` reads them, each after what leads
        its paragraph.
    settings : mapping
        Settings that the report shows.
    facts : dict
        Entries that the command adds to ``run`` of ``metrics.json``.
    paper : PaperTable or None
        Accuracy per fold and member, also written as ``table.csv``.
    picture : callable or None
        Returns the pixels of an image for the report, see `bchisto.evaluate.report.choose_samples`. None if there are
        no images, as of imported embeddings.
    """

    training: Training
    tables: Sequence[PredictionTable]
    methods: Sequence[tuple[str, str]]
    settings: Mapping[str, str]
    picture: Callable[[str], Pixels] | None
    facts: Entries = field(default_factory=dict)
    paper: PaperTable | None = None
    members: Sequence[PredictionTable] = ()
    shown: int | None = None

    def write(
        self, result: CrossValidation, *, save: Callable[[BundleFacts], BundleFacts]
    ) -> CrossValidation:
        """Write all outputs.

        ``metrics.json`` and the model file come first. If the model card, ``table.csv`` or ``report.html`` cannot be
        written, the others are kept and the failure is listed in `CrossValidation.unreported`.

        Parameters
        ----------
        result : CrossValidation
            The result so far.
        save : callable
            Writes the model file with the given facts, and returns the facts that were read back.

        Returns
        -------
        CrossValidation
            The result with predictions and metrics.
        """
        folder = result.folder
        if self.tables and not has_kind(result.banners, Kind.NOTHING_LEARNT):
            warning = constant_folds(self.tables[0])
            if warning is not None:
                result = replace(result, banners=(*result.banners, warning))
        unwritten: list[str] = []
        run = self._run_facts(result)
        kinds = {f"{unit}_is": name for unit, name in run["names"].items()}
        tables = [replace(table, **kinds) for table in self.tables]
        metrics = {table.name: metrics_of(table, self.training.view) for table in tables}
        bundle = self._bundle_facts(metrics, result)
        run["bundle"] = self._calibration(bundle, run["names"])
        content = {"schema_version": SCHEMA, "tables": metrics, "run": run}
        write_json(folder / "metrics.json", as_json(content))
        saved = save(bundle)
        with reporting(folder / CARD, unwritten):
            card_facts = measured(folder.absolute().name, content)
            write_card(folder / CARD, model=result.model, bundle=saved, known=card_facts)
        if self.paper is not None:
            with reporting(folder / "table.csv", unwritten):
                header, *rows = self.paper.lines()
                write_rows(folder / "table.csv", header, rows)
        # as `evaluate` and later reports read it, from the files that are written by now
        run_as_read = read_facts(folder / "predictions.csv").run
        panels = [
            Panel(table, metrics[table.name], run=run_as_read, view=self.training.view)
            for table in tables[: self.shown]
        ]
        if panels:
            panels[0] = replace(panels[0], paper=self.paper)
            # set before pictures are read, which may fail
            result = replace(result, panel=panels[0])
        with reporting(folder / "report.html", unwritten):
            if panels and self.picture is not None:
                samples = choose_samples(panels[0].table, self.picture)
                panels[0] = replace(panels[0], samples=samples)
            title = f"bchisto {self.training.command}: {folder.name}"
            write_report(
                folder / "report.html",
                title=title,
                panels=panels,
                banners=result.banners,
                of_run="../../report.html",
            )
        return replace(result, assembled=True, unreported=tuple(unwritten))

    def _bundle_facts(self, metrics: Mapping[str, Entries], result: CrossValidation) -> BundleFacts:
        """Return the facts that the model file holds beside the models."""
        plan = self.training.plan
        images = self.training.images
        training_images = {
            image
            for fold in plan.folds
            for part in ("train", "val")
            for image in plan.images(fold, part)
        }
        facts = BundleFacts(
            classes=images.classes,
            protocol=result.protocol,
            banners=result.banners,
            training=TrainingImages.of(training_images, images.hashes),
            looks=images.looks_of(training_images),
        )
        if not self.tables:
            if images.by_share:
                labels = [images.classes.index(images.labels[image]) for image in training_images]
                shares = np.bincount(labels, minlength=len(facts.classes)) / len(labels)
                facts = replace(facts, shares=shares.tolist())
            return facts
        table = self.tables[0]
        if table.drawn.shares is not None:
            # the models of all folds predict together; their figures have these shares, too
            facts = replace(facts, shares=table.drawn.shares.mean(axis=0).tolist())
        temperature = None
        if len(table.fold_numbers) > 1:
            # for new images: fitted on all out-of-fold predictions
            temperature = shrunk_temperature(table, averaged=True)
        rule = unsure_rule(table)
        if rule is not None and rule["calibrated"] != (temperature is not None):
            rule = None  # it was fitted on another scale than the confidence of new images
        two_class = _two_class_facts(decisive(metrics[table.name]).get("two_class"))
        return replace(facts, temperature=temperature, two_class=two_class, unsure=rule)

    def _calibration(self, facts: BundleFacts, names: Mapping[str, str]) -> Content:
        """Return the entry ``bundle`` of ``metrics.json``. `names` is its entry ``names``."""
        single = None
        text = "no temperature: it is fitted across folds, and there is only one"
        if facts.temperature is not None:
            single = shrunk_temperature(self.tables[0])
            unit, _ = sampling_units(self.tables[0])
            text = (
                f"temperature {facts.temperature:.3f} for the confidence of new images, which the mean of all fold "
                "models predicts; their probabilities are scaled only if predict is asked to calibrate them; "
                f"{single:.3f} was fitted on out-of-fold predictions, with a penalty that weighs as much as five "
                f"{plural(names.get(unit, unit))} for being far from 1. No labelled image is left to test it"
            )
        return {
            "temperature": facts.temperature,
            "temperature_single": single,
            "text": text,
            "trained": facts.training and {"images": facts.training.count},
        }

    def _run_facts(self, result: CrossValidation) -> Content:
        """Return the entry ``run`` of ``metrics.json``, apart from its entry ``bundle``."""
        training = self.training
        plan = training.plan
        images = training.images
        facts = {
            "command": training.command,
            "dataset": images.dataset,
            "names": unit_names(images.dataset, images.facts),
            "methods": self.methods,
            "settings": self.settings,
            "protocol": result.protocol,
            "classes": images.classes,
            "banners": [banner.json() for banner in result.banners],
            "folds": plan.name,
            "fold_warnings": list(map(public, plan.warnings)),
            "images_sha256": images.digest,
            "flow": images.facts.used(len(plan.image_ids)),
            "duplicates_sought": images.facts.copies is not None,
            "call": training.settings.call,
            "two_class": training.recorded_view,
        }
        # the accuracy varies by seed or by split only if there are several
        members = self.members or self.tables[:1]
        if len(members) > 1 or plan.repeats > 1:
            variance = variance_split(members, splits=plan.repeats)
            if variance is not None:
                facts["variance"] = variance
        return {**facts, **self.facts}


def _two_class_facts(view: Entries | None) -> Content | None:
    """Return the thresholds of the two-class metrics for a model file, without the figures that were measured there."""
    if not view:
        return None
    return {
        "positive": view["positive"],
        "rule": view["rule"],
        "thresholds": [point["threshold"] for point in view["thresholds"]],
        "wanted": [
            {
                "sensitivity": point["wanted"],
                "threshold": point["threshold"],
                "enough": point["enough"],
            }
            for point in view["wanted"]
        ],
    }


def write_table(path: Path, table: PredictionTable) -> None:
    """Write the predictions of tested images with `answers_by_fold`; of patches, with their names instead.

    This is the only writer of what a cross-validation predicted, apart from the predictions of single models.
    """
    assert table.probabilities is not None  # models and networks always predict probabilities
    if table.patches is None:
        extra = answers_by_fold(table).columns
    else:
        extra = [("patch", list(table.patches))]
    if table.is_drawn is not None:
        extra.append((CHOSEN, list(table.marks)))
    write_predictions(
        path,
        classes=table.classes,
        rows=table_rows(table),
        probabilities=table.probabilities,
        extra=extra,
    )


def table_rows(table: PredictionTable) -> list[tuple[str, str, str | None, int]]:
    """Return image, label, group and fold of each row of a table whose folds are known."""
    labels = [table.classes[number] for number in table.labels]
    folds = table.fold_array.tolist()
    return list(zip(table.image_ids, labels, table.groups, folds, strict=True))
