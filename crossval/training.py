"""Run a cross-validation of any kind of model: check the folder, train what is missing, and write the outputs.

A `Training` is one cross-validation scheme with one classifier or network. It is divided into units, such as folds.
Subclasses define how a unit is trained and read, and which outputs are written.
"""

from __future__ import annotations

import functools
import logging
import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..core import (
    BchistoError,
    Content,
    Message,
    Pairs,
    ReportError,
    SettingsConflictError,
    as_banner,
    by_key,
)
from ..core.formats import Floats, read_rows
from ..core.jobs import Computation, Share, Work, compute_all
from ..core.runs import (
    FolderSettings,
    ImageChange,
    InFolder,
    RunRecord,
    read_listing,
    remove_listing,
    write_listing,
)
from ..data import (
    CHOSEN,
    DatasetFacts,
    FoldPlan,
    Look,
    chosen_notes,
    drawn_or_not,
    pixel_findings,
    protocol_text,
    report_findings,
    unknown_groups,
    write_fold_list,
)
from ..evaluate import PredictionTable, TwoClassView, called, read_facts
from ..evaluate.report import reporting, write_run_report
from .outputs import CrossValidation, chosen_anew

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
    facts : DatasetFacts
        Further facts about the dataset.
    pixels : dict of str to str
        Image id to the SHA-256 of its decoded pixels, if known.
    files : dict of str to str
        Image id to the SHA-256 of its file.
    blank : set of str
        Ids of images that show nothing, if known, see `bchisto.data.is_blank`.
    looks : dict of str to sequence of float
        Image id to its `bchisto.data.Look`, if known.
    by_share : bool
        Whether classes are called by their probability over their share in training, see `bchisto.evaluate.called`.
    """

    digest: str
    dataset: str
    classes: tuple[str, ...]
    labels: dict[str, str]
    groups: dict[str, str | None]
    failures: Pairs = ()
    facts: DatasetFacts = field(default_factory=DatasetFacts)
    pixels: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    blank: set[str] = field(default_factory=set)
    looks: Mapping[str, Sequence[float]] = field(default_factory=dict)
    by_share: bool = False

    @property
    def hashes(self) -> dict[str, str]:
        """Image id to the SHA-256 of its pixels; to that of its file if no pixels are known."""
        return self.pixels or self.files

    def looks_of(self, trained: Iterable[str]) -> list[Content]:
        """Return the ends of each value of `Look` by class, unless it is not known of an image."""
        looks: list[Content] = []
        if not self.looks:
            return looks
        images = {image: Look(*self.looks[image]) for image in trained}
        for measure in (*Look._fields, "field"):
            values = {image: getattr(look, measure) for image, look in images.items()}
            if any(map(math.isnan, values.values())):
                continue
            for label, members in by_key(sorted(values), self.labels.__getitem__).items():
                numbers = [values[image] for image in members]
                ends = {"least": min(numbers), "most": max(numbers)}
                looks.append({"class": label, "what": measure, **ends})
        return looks

    def table(
        self,
        name: str,
        keys: Sequence[tuple[str, int]],
        probabilities: Floats,
        *,
        protocol: str,
        trained: Mapping[int, Sequence[int]],
        patches: Sequence[str] | None = None,
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
        patches : sequence of str, optional
            The patch that each row is about, if rows are not about whole images.
        """
        table = PredictionTable.from_probabilities(
            name=name,
            classes=self.classes,
            image_ids=[image for image, _ in keys],
            labels=[self.labels[image] for image, _ in keys],
            probabilities=probabilities,
            folds=[fold for _, fold in keys],
            groups=[self.groups[image] for image, _ in keys],
            patches=patches,
        )
        counts = (
            np.bincount(trained[fold], minlength=len(self.classes)).tolist()
            for fold in table.fold_numbers
        )
        chosen = self.facts.columns.get(CHOSEN, {})
        table = replace(
            table,
            protocol=protocol,
            trained=tuple(map(tuple, counts)),
            marks=tuple(drawn_or_not(chosen.get(image, "")) for image, _ in keys),
        )
        shares = table.trained_shares
        # of equal shares the most probable class is called
        if not self.by_share or np.ptp(shares) == 0.0:
            return table
        return replace(table, shares=shares, predicted=called(probabilities, shares))


@dataclass(frozen=True)
class Training(InFolder, Computation[Any, Any, Any, CrossValidation]):
    """One cross-validation scheme with one classifier: units of any type with a ``file``, each with a result.

    A subclass says in which folder it works, which units there are, how they are trained and read, and what is written
    of their outcomes. `cross_validate` runs several.

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
    work : Work
    """

    plan: FoldPlan
    images: LabelledImages
    settings: Any
    view: TwoClassView
    notes: tuple[str, ...]
    work: Work

    command: ClassVar[str]
    """Name of the command, and of the folder of a run in which it writes."""

    tables: ClassVar[tuple[str, ...]] = ()
    """Files that it writes beside those of every cross-validation."""

    @property
    @abstractmethod
    def all_units(self) -> Sequence[Any]:
        """All units, also for a shard."""

    @abstractmethod
    def finish(
        self, result: CrossValidation, units: Sequence[Any], outcomes: Sequence[Any]
    ) -> CrossValidation:
        """Combine the outcomes of all units, write the outputs, and return the completed result."""

    @property
    def label(self) -> str:
        """Name of the task: the command, and the folder in the run."""
        return f"{self.command} {self.folder.name}"

    @property
    def folder(self) -> Path:
        """The folder of the units and outputs."""
        return self.folder_settings.folder

    @functools.cached_property
    def checked_folder(self) -> FolderSettings:
        """The folder with its settings; those that depend on the images may differ if images have changed.

        Raises
        ------
        SettingsConflictError
            See `check`.
        """
        folder = self.folder_settings
        if not folder.begun:
            return folder
        change = self._image_change()
        if change == ImageChange():
            folder.check()
            return folder
        folder = replace(folder, loose=frozenset(self.image_settings()))
        folder.check()
        _log.warning(
            "%s: %s since its models were trained; only what this changes is trained",
            folder.folder,
            change,
        )
        return folder

    @property
    def packages(self) -> Iterable[str]:
        """The packages that train."""
        return self.folder_settings.made_with

    @property
    def recorded_view(self) -> Content:
        """What ``metrics.json`` has of the view: a threshold that follows from shares in training is each table's."""
        view = self.view.recorded(self.images.classes)
        if self.images.by_share:
            view["thresholds"] = list(self.view.thresholds)
        return view

    def image_settings(self) -> Content:
        """Return the settings of a folder that depend on the images and may change with them."""
        return {
            "folds_sha256": self.plan.sha256,
            "images_sha256": self.images.digest,
            "classes": list(self.images.classes),
            "images": len(self.plan.image_ids),
        }

    def check(self) -> None:
        """Refuse a folder with other settings, other folds of the same images, or other images.

        Added or removed images and corrected labels or groups are not a conflict. A warning lists the changes, and only
        the units that they affect are trained again.

        Raises
        ------
        SettingsConflictError
            The message lists the differences.
        """
        _ = self.checked_folder  # found once, since it warns of changes

    def _image_change(self) -> ImageChange:
        """Return how the images differ from those of the fold list in the folder."""
        old = {
            row["image_id"]: (row["label"], row["group"]) for row in read_rows(self.folder / _FOLDS)
        }
        new: dict[str, tuple[str, str]] = {}
        if old:
            for image in sorted(self.plan.image_ids):
                new[image] = (self.images.labels[image], self.images.groups[image] or "")
        change = ImageChange.between(old, new)
        if len(change.removed) > _MOST_REMOVED * len(old):
            raise SettingsConflictError(
                "{}: trained on other images: {}",
                self.folder,
                change,
                remedies=["use the same images", Message("another {out}"), Message("{overwrite}")],
            )
        return change

    def begin(self) -> None:
        """Write the settings of the folder."""
        self.checked_folder.begin()

    def units(self, *, merges: bool) -> Sequence[Any]:
        """Return all units, and log the warnings of their folds."""
        for warning in self.plan.warnings:
            _log.warning("%s: %s", self.plan.name, warning)
        return self.all_units

    def describe(self, units: Sequence[Any]) -> None:
        """Write the fold list; if images have changed, first note that the outputs must be made again."""
        if self.checked_folder.loose:
            self.list_units(units)
        write_fold_list(
            self.folder / _FOLDS, self.plan, labels=self.images.labels, groups=self.images.groups
        )

    def note_work(self, units: Sequence[Any], environments: Sequence[Mapping[str, str]]) -> None:
        """Record the environment in which the missing units are trained, and warn if models are replaced."""
        missing = [unit.file for unit in units if not unit.file.exists()]
        # names end with the key of what a model was trained from
        if any(any(file.parent.glob(f"{file.stem[:-16]}{'?' * 16}.npz")) for file in missing):
            _log.warning("%s: models whose inputs changed are trained again", self.folder)
        self.checked_folder.note_work(environments, **self.resources.recorded)

    def list_units(self, units: Sequence[Any]) -> None:
        """Write the list of the files of all units."""
        files = [
            [unit.file.relative_to(self.folder).as_posix() for unit in group]
            for group in self.groups(units)
        ]
        write_listing(self.folder, self.unit, files)

    def is_written(self, kept: Sequence[Any]) -> bool:
        """Return whether all outputs are there, with this two-class view and these numbers of images."""
        if read_listing(self.folder) is not None:
            # units were trained whose outputs were not written
            return False
        facts = read_facts(self.folder / "predictions.csv").run
        flow = self.images.facts.used(len(self.plan.image_ids))
        recorded = {"flow": flow, "call": self.settings.call, "two_class": self.recorded_view}
        if any(facts.get(name) != value for name, value in recorded.items()):
            return False
        names = ["model.bchisto", "model-card.md", "report.html", *self.tables]
        if any(self.plan.images(fold, "test") for fold in self.plan.folds):
            names += ["predictions.csv", "../../choice.json", "../../report.html"]
        return all((self.folder / name).is_file() for name in names)

    def write(self, kept: Sequence[Any], made: Sequence[Any]) -> CrossValidation:
        """Write the outputs of all units.

        Raises
        ------
        OverwrittenError
            Another command has overwritten the folder meanwhile.
        BchistoError
            Units are missing although all were trained.
        """
        self.checked_folder.hold()
        outcomes = []
        for unit, outcome in zip(self.all_units, kept, strict=True):
            if outcome is None:
                # trained just now
                outcome = self.read(unit)
            if outcome is not None:
                outcomes.append(outcome)
        missing = len(self.all_units) - len(outcomes)
        if missing:
            raise BchistoError(
                f"{self.folder}: {missing} of {len(self.all_units)} {self.unit} are missing; run the same command again"
            )
        result = self.finish(self.result(finished=True), self.all_units, outcomes)
        remove_listing(self.folder)
        return result

    def result(self, *, finished: bool, share: Share | None = None) -> CrossValidation:
        """Return the result of a training without its outputs.

        Parameters
        ----------
        finished : bool
            Whether all units are trained.
        share : Share, optional
            For a shard, its share of the work.
        """
        image_ids = self.plan.image_ids
        unknown = unknown_groups([self.images.groups[image] for image in image_ids])
        notes_of_choice = chosen_notes(self.images.facts.columns.get(CHOSEN, {}), image_ids)
        return CrossValidation(
            folder=self.folder,
            protocol=protocol_text(self.plan, seed=self.settings.seed),
            models=len(self.all_units),
            unit=self.unit,
            finished=finished,
            banners=tuple(
                as_banner(text).public().limited(())
                for text in (*self.notes, *unknown, *notes_of_choice, *self.plan.warnings)
            ),
            failures=self.images.failures,
            share=share,
        )


def cross_validate(
    trainings: Sequence[Training], *, run: Path, record: RunRecord
) -> list[CrossValidation]:
    """Run several trainings, write the report of the run, and record the results.

    Parameters
    ----------
    trainings : sequence of Training
        All are checked, and the settings of their folders are written, before the first one starts.
    run : Path
        The run folder.
    record : RunRecord

    Returns
    -------
    list of CrossValidation

    Raises
    ------
    SettingsConflictError
        A folder contains results of other settings.
    OverwrittenError, BchistoError
        See `Training.write`.
    ReportError
        A report could not be written. Models, predictions, metrics and model files are complete, and the attribute
        ``results`` of the error holds the list.
    """
    images = trainings[0].images
    owners = {image: (label, images.groups[image]) for image, label in images.labels.items()}
    report_findings(pixel_findings(images.pixels, images.blank, owners))
    results = []
    for training, computed in zip(trainings, compute_all(trainings), strict=True):
        result = computed.result
        if result is None:
            share = computed.share
            finished = computed.unchanged
            if share is not None:
                finished = share.done == share.units
            result = training.result(finished=finished, share=share)
        results.append(result)
    record.note(
        results={
            str(result.folder.relative_to(run)): {
                "protocol": result.protocol,
                result.unit: result.models,
                "finished": result.finished,
                "accuracy": result.metrics and result.metrics["accuracy"]["value"],
            }
            for result in results
        }
    )
    return _report_results(results, run=run, images_sha256=images.digest)


def _report_results(
    results: Sequence[CrossValidation], *, run: Path, images_sha256: str
) -> list[CrossValidation]:
    """Write the report of the run, and return the results with the choice among all results of the run.

    Raises
    ------
    ReportError
        A report, of the run or of a training, could not be written.
    """
    misses = [line for result in results for line in result.unreported]
    panels = {result.folder: result.panel for result in results if result.panel is not None}
    if panels:
        with reporting(run / "report.html", misses):
            write_run_report(run, images=images_sha256, made=panels)
        results = chosen_anew(results)
    if misses:
        folders = ", ".join(str(result.folder) for result in results if result.assembled)
        text = f"{'; '.join(misses)}; models, predictions.csv, metrics.json and model.bchisto are written in {folders}"
        raise ReportError(text, results)
    return list(results)
