"""Run a cross-validation of any kind of model: check the folder, train what is missing, and write the outputs.

A `Training` is one cross-validation scheme with one classifier or network. It is divided into units, such as folds.
Subclasses define how a unit is trained and read, and which outputs are written.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..core import BchistoError, ReportError, SettingsConflictError, public
from ..core.formats import read_rows
from ..core.jobs import Resources, Share, Ticker, Work, ask_workers, do_missing
from ..core.runs import FolderSettings, ImageChange, RunRecord, remove_listing, write_listing
from ..data import (
    DatasetFacts,
    FoldPlan,
    pixel_findings,
    protocol_text,
    report_findings,
    unknown_groups,
    write_fold_list,
)
from ..evaluate import PredictionTable, TwoClassView, read_facts
from ..evaluate.report import reporting, write_run_report
from .result import CrossValidation

_log = logging.getLogger(__name__)

_FOLDS = "folds.csv"

_MOST_REMOVED = 0.5
"""Largest fraction of the images that may be removed between two runs; beyond it, they count as other images."""


@dataclass(frozen=True)
class LabelledImages:
    """The labelled images that a cross-validation scheme divides into folds.

    Attributes
    ----------
    digest : str
        Checksum that identifies the images.
    dataset : str
        Name of the dataset layout; empty if they come from none.
    classes : tuple of str
        Order of the probabilities.
    labels : dict of str to str
        Image id to class.
    groups : dict of str to (str or None)
        Image id to patient or slide, None if unknown.
    failures : tuple of (image_id, message)
        Images that could not be used.
    known : DatasetFacts
        Further facts about the dataset.
    pixels : dict of str to str
        Image id to the SHA-256 of its decoded pixels, if known.
    files : dict of str to str
        Image id to the SHA-256 of its file.
    blank : set of str
        Ids of images that show nothing, if known, see `bchisto.data.is_blank`.
    """

    digest: str
    dataset: str
    classes: tuple[str, ...]
    labels: dict[str, str]
    groups: dict[str, str | None]
    failures: tuple[tuple[str, str], ...] = ()
    known: DatasetFacts = field(default_factory=DatasetFacts)
    pixels: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    blank: set[str] = field(default_factory=set)

    def table(
        self,
        name: str,
        keys: Sequence[tuple[str, int]],
        probabilities: npt.NDArray[np.float64],
        *,
        protocol: str,
        trained: Mapping[int, Sequence[int]],
    ) -> PredictionTable:
        """Return a table of predictions.

        Parameters
        ----------
        name : str
        keys : sequence of (image_id, fold), n of them
        probabilities : ndarray of float64, shape (n, classes)
        protocol : str
        trained : mapping
            Fold to the class index of each of its training images.
        """
        table = PredictionTable.from_probabilities(
            name=name,
            classes=self.classes,
            image_ids=[image for image, _ in keys],
            labels=[self.labels[image] for image, _ in keys],
            probabilities=probabilities,
            folds=[fold for _, fold in keys],
            groups=[self.groups[image] for image, _ in keys],
            protocol=protocol,
        )
        counts = (
            np.bincount(trained[fold], minlength=len(self.classes)).tolist()
            for fold in table.fold_numbers
        )
        return replace(table, trained=tuple(map(tuple, counts)))


@dataclass(frozen=True)
class Training(ABC):
    """One cross-validation scheme with one classifier: units of any type with a ``file``, each with a result.

    Attributes
    ----------
    plan : FoldPlan
    images : LabelledImages
    settings : BoostSettings or FinetuneSettings
        Their ``seed`` also seeds random folds.
    view : TwoClassView
        The two-class view of every table.
    notes : tuple of str
        Banners of the caller and of what is trained on, which stand before those of the folds.
    overwrite : bool
    """

    plan: FoldPlan
    images: LabelledImages
    settings: Any
    view: TwoClassView
    notes: tuple[str, ...]
    overwrite: bool

    unit: ClassVar[str]
    """The word for units, in the plural."""

    step_name: ClassVar[str]
    """The word for the steps of the progress bar."""

    command: ClassVar[str]
    """Name of the command, and of the folder of a run in which it writes."""

    tables: ClassVar[tuple[str, ...]] = ()
    """Files that it writes beside those of every cross-validation."""

    @abstractmethod
    def folder(self) -> FolderSettings:
        """Return the folder, with the settings that determine its content."""

    @abstractmethod
    def resources(self, work: Work, folder: FolderSettings) -> Resources:
        """Return the processes, threads and GPUs that the work may use."""

    @abstractmethod
    def units(self, folder: Path, resources: Resources) -> Sequence[Any]:
        """Return all units."""

    @staticmethod
    @abstractmethod
    def train(units: tuple[Any, ...], ticker: Ticker) -> Any:
        """Train units together, in a worker process."""

    @staticmethod
    @abstractmethod
    def read(unit: Any) -> Any | None:
        """Return the result of a finished unit, or None if it is unfinished or damaged."""

    @abstractmethod
    def finish(
        self, result: CrossValidation, units: Sequence[Any], outcomes: Sequence[Any]
    ) -> CrossValidation:
        """Combine the outcomes of all units, write the outputs, and return the completed result."""

    def steps(self, unit: Any) -> int:
        """Return the number of progress steps of a unit."""
        return 1

    def groups(self, units: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        """Return the units in groups; a group is trained together, in one shard."""
        return [(unit,) for unit in units]

    def image_settings(self) -> dict[str, Any]:
        """Return the settings of a folder that depend on the images and may change with them."""
        return {
            "folds_sha256": self.plan.sha256,
            "images_sha256": self.images.digest,
            "classes": list(self.images.classes),
            "images": len({image for image, _, _ in self.plan.rows}),
        }

    def check(self) -> FolderSettings:
        """Refuse a folder with other settings, other folds of the same images, or other images.

        Added or removed images and corrected labels or groups are not a conflict. A warning lists the changes, and only
        the units that they affect are trained again.

        Returns
        -------
        FolderSettings
            The folder. If images have changed, the settings that depend on them may differ.

        Raises
        ------
        SettingsConflictError
            The message lists the differences.
        """
        folder = self.folder()
        if self.overwrite or not folder.begun:
            return folder
        old = {
            row["image_id"]: (row["label"], row["group"])
            for row in read_rows(folder.folder / _FOLDS)
        }
        images = sorted({image for image, _, _ in self.plan.rows}) if old else ()
        new = {
            image: (self.images.labels[image], self.images.groups[image] or "") for image in images
        }
        change = ImageChange.between(old, new)
        if len(change.removed) > _MOST_REMOVED * len(old):
            raise SettingsConflictError(
                "{}: trained on other images: {}; use another {out}, or {overwrite}",
                folder.folder,
                change,
            )
        changed = change != ImageChange()
        if changed:
            folder = replace(folder, loose=frozenset(self.image_settings()))
        folder.check()
        if changed:
            _log.warning(
                "%s: %s since its models were trained; only what this changes is trained",
                folder.folder,
                change,
            )
        return folder

    def is_written(self, folder: Path) -> bool:
        """Return whether all outputs are there, with this two-class view, and tell the same of the images."""
        made, used = read_facts(folder / "predictions.csv").run, self.image_settings()["images"]
        now = [self.images.known.used(used), self.view.recorded(self.images.classes)]
        names = ["model.bchisto", "model-card.md", "report.html", *self.tables]
        if any(self.plan.images(fold, "test") for fold in self.plan.folds):
            names += ["predictions.csv", "../../report.html"]
        return now == [made.get("flow"), made.get("two_class")] and all(
            (folder / name).is_file() for name in names
        )

    def cross_validate(self, work: Work, folder: FolderSettings) -> CrossValidation:
        """Train the missing units, and write the outputs once all units are trained.

        Parameters
        ----------
        work : Work
        folder : FolderSettings
            Result of `check`, after `FolderSettings.begin`.

        Raises
        ------
        OverwrittenError
            Another command has overwritten the folder meanwhile.
        BchistoError
            Units are missing at the end although all were trained.
        """
        path, resources = folder.folder, self.resources(work, folder)
        units = self.units(path, resources)
        for warning in self.plan.warnings:
            _log.warning("%s: %s", self.plan.name, warning)
        files = [
            [unit.file.relative_to(path).as_posix() for unit in group]
            for group in self.groups(units)
        ]
        # of other images or options of outputs: its tables are made again although no unit may be missing
        if folder.loose or (work.checks and not self.is_written(path)):
            write_listing(path, self.unit, files)
        write_fold_list(
            path / _FOLDS, self.plan, labels=self.images.labels, groups=self.images.groups
        )
        finished, _ = do_missing(
            self.train,
            units,
            read=self.read,
            steps=self.steps,
            label=f"{self.command} {path.name}",
            finished=f"{self.unit} are trained",
            step_name=self.step_name,
            dealt=self.groups,
            work=work,
            resources=resources,
            begin=lambda: self._begin(files, work=work, folder=folder, resources=resources),
        )
        # units without an outcome were trained just now, or by other shards
        read = [
            self.read(unit) if outcome is None else outcome
            for unit, outcome in zip(units, finished, strict=True)
        ]
        outcomes = [outcome for outcome in read if outcome is not None]
        missing = len(units) - len(outcomes)
        images = dict.fromkeys(image for image, _, _ in self.plan.rows)
        unknown = unknown_groups([self.images.groups[image] for image in images])
        result = CrossValidation(
            folder=path,
            protocol=protocol_text(self.plan, seed=self.settings.seed, dataset=self.images.dataset),
            models=len(units),
            unit=self.unit,
            finished=not missing,
            banners=tuple(map(public, (*self.notes, *unknown, *self.plan.warnings))),
            failures=self.images.failures,
        )
        if work.shard is not None:
            own = sum(map(len, work.shard.select(self.groups(units))))
            return replace(
                result, share=Share(work.shard, own, len(outcomes), len(units), self.unit)
            )
        folder.hold()
        if missing:
            raise BchistoError(
                f"{path}: {missing} of {len(units)} {self.unit} are missing; run the same command again"
            )
        result = self.finish(result, units, outcomes)
        remove_listing(path)
        return result

    def _begin(
        self, files: Sequence[Any], *, work: Work, folder: FolderSettings, resources: Resources
    ) -> None:
        """Record the environment in which the missing units are trained, and the list of the files of all units."""
        path = folder.folder
        environments = (
            [{}]
            if work.dask is None
            else ask_workers(work.dask, folder=path, packages=folder.made_with)
        )
        folder.note_work(environments, **resources.recorded)
        write_listing(path, self.unit, files)


def cross_validate(
    trainings: Sequence[Training], *, run: Path, work: Work, record: RunRecord
) -> list[CrossValidation]:
    """Run several trainings, write the report of the run, and record the results.

    Parameters
    ----------
    trainings : sequence of Training
        All are checked, and the settings of their folders are written, before the first one starts.
    run : Path
        The run folder.
    work : Work
    record : RunRecord

    Returns
    -------
    list of CrossValidation

    Raises
    ------
    SettingsConflictError
        A folder contains results of other settings.
    OverwrittenError, BchistoError
        See `Training.cross_validate`.
    ReportError
        A report could not be written. Models, predictions, metrics and model files are complete, and the attribute
        ``results`` of the error holds the list.
    """
    folders = [training.check() for training in trainings]
    images = trainings[0].images
    known = {image: (label, images.groups[image]) for image, label in images.labels.items()}
    report_findings(pixel_findings(images.pixels, images.blank, known))
    # overwrite all folders before any training, so that an interrupted run can be resumed
    for training, folder in zip(trainings, folders, strict=True):
        folder.begin(overwrite=training.overwrite)
    results = [
        training.cross_validate(work, folder)
        for training, folder in zip(trainings, folders, strict=True)
    ]
    record.note(
        results={
            str(result.folder.relative_to(run)): {
                "protocol": result.protocol,
                result.unit: result.models,
                "finished": result.finished,
                "accuracy": None
                if result.panel is None
                else result.panel.metrics["accuracy"]["value"],
            }
            for result in results
        }
    )
    failed = [line for result in results for line in result.unreported]
    if made := {result.folder: result.panel for result in results if result.panel is not None}:
        with reporting(run / "report.html", failed):
            write_run_report(run, images=images.digest, made=made)
    if failed:
        wrote = ", ".join(str(result.folder) for result in results if result.assembled)
        text = f"{'; '.join(failed)}; models, predictions.csv, metrics.json and model.bchisto are written in {wrote}"
        raise ReportError(text, results)
    return results
