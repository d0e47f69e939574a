"""The files that a cross-validation writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import BchistoError, public
from ..core.jobs import write_json, write_rows
from ..core.models import BundleFacts, TrainingImages
from ..data import find_layout
from ..evaluate import (
    NOTHING_LEARNT,
    SCHEMA,
    Panel,
    PaperTable,
    PredictionTable,
    as_json,
    constant_folds,
    measure,
    read_facts,
    sampling_units,
    shrunk_temperature,
    unsure_rule,
    variance_split,
)
from ..evaluate.report import choose_samples, reporting, write_card, write_report
from .result import CrossValidation
from .training import Training

CARD = "model-card.md"
"""File name of the model card."""


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
    methods : sequence of str
        Sentences about the training for a methods section, with citations as `cite` reads them.
    settings : mapping
        Settings that the report shows.
    facts : dict
        Entries that the command adds to ``run`` of ``metrics.json``.
    paper : PaperTable or None
        Accuracy per fold and member, also written as ``table.csv``.
    picture : callable
        Returns the pixels of an image for the report, see `bchisto.evaluate.report.choose_samples`.
    """

    training: Training
    tables: Sequence[PredictionTable]
    methods: Sequence[str]
    settings: Mapping[str, str]
    picture: Callable[[str], npt.NDArray[np.uint8] | None]
    facts: Mapping[str, Any] = field(default_factory=dict)
    paper: PaperTable | None = None
    members: Sequence[PredictionTable] = ()
    shown: int | None = None

    def write(
        self, result: CrossValidation, *, bundle: Callable[[BundleFacts], BundleFacts]
    ) -> CrossValidation:
        """Write all outputs.

        ``metrics.json`` and the model file come first. If the model card, ``table.csv`` or ``report.html`` cannot be
        written, the others are kept and the failure is listed in `CrossValidation.unreported`.

        Parameters
        ----------
        result : CrossValidation
            The result so far.
        bundle : callable
            Writes the model file with the given facts, and returns the facts that were read back.

        Returns
        -------
        CrossValidation
            The result with predictions and metrics.
        """
        folder = result.folder
        noted = any(NOTHING_LEARNT in banner for banner in result.banners)
        if self.tables and not noted and (constant := constant_folds(self.tables[0])):
            result = replace(result, banners=(*result.banners, constant))
        failed: list[str] = []
        facts = self._facts(result)
        units = {f"{unit}_is": name for unit, name in facts["names"].items()}
        tables = [replace(table, **units) for table in self.tables]
        metrics = {table.name: measure(table, self.training.view) for table in tables}
        bundle_facts = self._bundle_facts(metrics, result)
        facts["bundle"] = self._calibration(bundle_facts, facts["names"])
        measured = {"schema_version": SCHEMA, "tables": metrics, "run": facts}
        write_json(folder / "metrics.json", as_json(measured))
        written = bundle(bundle_facts)
        with reporting(folder / CARD, failed):
            write_card(folder / CARD, model=result.model, bundle=written, metrics=measured)
        if self.paper is not None:
            with reporting(folder / "table.csv", failed):
                header, *rows = self.paper.lines()
                write_rows(folder / "table.csv", header, rows)
        run, view = read_facts(folder / "predictions.csv").run, self.training.view
        panels = [
            Panel(table, metrics[table.name], run=run, view=view) for table in tables[: self.shown]
        ]
        if panels:
            panels[0] = replace(panels[0], paper=self.paper)
            result = replace(result, panel=panels[0])
        with reporting(folder / "report.html", failed):
            if panels:
                panels[0] = replace(
                    panels[0], samples=choose_samples(panels[0].table, self.picture)
                )
            title = f"bchisto {self.training.command}: {folder.name}"
            write_report(folder / "report.html", title=title, panels=panels, banners=result.banners)
        return replace(result, assembled=True, unreported=tuple(failed))

    def _bundle_facts(
        self, metrics: Mapping[str, Mapping[str, Any]], result: CrossValidation
    ) -> BundleFacts:
        plan, images = self.training.plan, self.training.images
        trained = {
            image
            for fold in plan.folds
            for part in ("train", "val")
            for image in plan.images(fold, part)
        }
        facts = BundleFacts(
            classes=images.classes,
            protocol=result.protocol,
            banners=result.banners,
            training=TrainingImages.of(trained, images.pixels or images.files),
        )
        if not self.tables:
            return facts
        table = self.tables[0]
        view = metrics[table.name].get("two_class")
        two_class = view and {
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
        # for new images: fitted on all out-of-fold predictions
        temperature = (
            shrunk_temperature(table, averaged=True) if len(table.fold_numbers) > 1 else None
        )
        rule = unsure_rule(table)
        if rule is not None and rule["calibrated"] != (temperature is not None):
            rule = None  # it was fitted on another scale than the confidence of new images
        return replace(facts, temperature=temperature, two_class=two_class, unsure=rule)

    def _calibration(self, facts: BundleFacts, names: Mapping[str, str]) -> dict[str, Any]:
        """Return the entry ``bundle`` of ``metrics.json``. `names` is its entry ``names``."""
        unit = sampling_units(self.tables[0])[0] if self.tables else "image"
        single = None if facts.temperature is None else shrunk_temperature(self.tables[0])
        text = (
            "no temperature: it is fitted across folds, and there is only one"
            if facts.temperature is None
            else f"temperature {facts.temperature:.3f} for new images, which the mean of all fold models predicts; "
            f"{single:.3f} was fitted on out-of-fold predictions, with a penalty that weighs as much as five "
            f"{names.get(unit, unit)}s for being far from 1. No labelled image is left to test it"
        )
        return {
            "temperature": facts.temperature,
            "temperature_single": single,
            "text": text,
            "trained": facts.training and {"images": facts.training.count},
        }

    def _facts(self, result: CrossValidation) -> dict[str, Any]:
        plan, images = self.training.plan, self.training.images
        try:
            layout = find_layout(images.dataset)
        except BchistoError:  # of another package, missing or broken by now: it gives only names
            layout = None
        # sources of the spread of the accuracy, if there is more than one set of folds
        members = self.members or self.tables[:1]
        spread = (
            variance_split(members, splits=plan.repeats)
            if len(members) > 1 or plan.repeats > 1
            else None
        )
        return {
            "command": self.training.command,
            "dataset": images.dataset,
            "names": {"image": layout.image_is, "group": layout.group_is} if layout else {},
            "methods": list(self.methods),
            "settings": dict(self.settings),
            "protocol": result.protocol,
            "classes": list(images.classes),
            "banners": list(result.banners),
            "folds": plan.name,
            "fold_warnings": list(map(public, plan.warnings)),
            "images_sha256": images.digest,
            "flow": images.known.used(len({image for image, _, _ in plan.rows})),
            "two_class": self.training.view.recorded(images.classes),
            **({} if spread is None else {"variance": spread}),
            **self.facts,
        }
