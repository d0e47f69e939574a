"""Cross-validation, whatever is trained: hold a folder to its settings, do what is missing, put it together, report.

A `Training` is one protocol with one classifier. Its subclasses say what a unit is, how it is trained and read, and
what the whole leaves; all else is here, once.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from ..core import BchistoError, ReportError, SettingsConflictError, public
from ..data import DatasetFacts, FoldPlan, protocol_text, unknown_groups, write_fold_list
from ..evaluate import FoldNote, PredictionTable, TwoClassView, fold_notes
from ..formats import read_rows
from ..jobs import Resources, Share, Ticker, Work, do_missing, singly
from ..report import reporting, write_run_report
from ..runs import FolderSettings, ImageChange, Known, RunRecord
from .result import CrossValidation

_log = logging.getLogger(__name__)

_FOLDS = "folds.csv"

_MOST_REMOVED = 0.5
"""Share of the images whose removal is growth; if more are gone, these are other images."""

U = TypeVar("U")
F = TypeVar("F")


@dataclass(frozen=True)
class Tested:
    """The labelled images that a protocol divides.

    Attributes
    ----------
    digest : str
        Their identity.
    dataset : str
        The layout they come from; empty where it is not one.
    classes : tuple of str
        Order of the probabilities.
    labels : dict of str to str
        Image id to class.
    groups : dict of str to (str or None)
        Image id to patient or slide.
    failures : tuple of (image_id, message)
        Images that could not be used.
    known : DatasetFacts
        What else is known of them.
    pixels, files : dict of str to str
        Image id to the SHA-256 of its decoded pixels, where that is known, and of its file.
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

    def rows(self, keys: Iterable[tuple[str, Any]]) -> list[tuple[str, str, str | None, Any]]:
        """Return image, label, group and fold of each key, which is an image and the fold that tests it."""
        return [(image, self.labels[image], self.groups[image], fold) for image, fold in keys]

    def table(
        self,
        name: str,
        keys: Sequence[tuple[str, int]],
        probabilities: npt.NDArray[np.float64],
        *,
        protocol: str,
        trained: tuple[Mapping[int, int], tuple[FoldNote, ...]],
    ) -> PredictionTable:
        """Return a table of predictions.

        Parameters
        ----------
        name : str
        keys : sequence of (image_id, fold), n of them
        probabilities : ndarray of float64, shape (n, classes)
        protocol : str
        trained : tuple
            See `trained`.
        """
        image_ids, labels, groups, folds = zip(*self.rows(keys), strict=True)
        made = PredictionTable.from_probabilities(
            name=name,
            classes=self.classes,
            image_ids=image_ids,
            labels=labels,
            probabilities=probabilities,
            folds=folds,
            groups=groups,
            protocol=protocol,
        )
        counts, notes = trained
        return replace(made, fold_notes=notes, trained=tuple(counts[fold] for fold in made.fold_numbers))

    def trained(self, labels: Mapping[int, Sequence[int]]) -> tuple[dict[int, int], tuple[FoldNote, ...]]:
        """Return how many images each fold trains on, and what to note of them; of the class position of each."""
        named = {fold: [self.classes[place] for place in some] for fold, some in labels.items()}
        return {fold: len(some) for fold, some in labels.items()}, fold_notes(named, self.classes)


@dataclass(frozen=True)
class Training(ABC, Generic[U, F]):
    """One protocol with one classifier: units of type U, of which a finished one leaves an F.

    Attributes
    ----------
    plan : FoldPlan
    images : Tested
    settings : BoostSettings or FinetuneSettings
        Their ``seed`` is that of split folds.
    view : TwoClassView
        The two-class view of every table.
    notes : tuple of str
        What the caller wants a reader to know first.
    overwrite : bool
    """

    plan: FoldPlan
    images: Tested
    settings: Any
    view: TwoClassView
    notes: tuple[str, ...]
    overwrite: bool

    unit: ClassVar[str]
    """What a unit is called, in the plural."""

    step_name: ClassVar[str]
    """What a step of the progress bar is called."""

    command: ClassVar[str]
    """The command, and the folder of a run that holds what it trains."""

    @abstractmethod
    def folder(self) -> FolderSettings:
        """Return the folder, with the settings that decide what is in it."""

    @abstractmethod
    def resources(self, how: Work, folder: FolderSettings) -> Resources:
        """Return what the work gets of this machine."""

    @abstractmethod
    def units(self, folder: Path, resources: Resources) -> Sequence[U]:
        """Return all units, each with its key."""

    @staticmethod
    @abstractmethod
    def train(units: tuple[U, ...], ticker: Ticker) -> Any:
        """Train some units in one go; runs in a worker."""

    @abstractmethod
    def read(self, unit: U) -> F | None:
        """Return what a finished unit left; None where it is not finished or does not hold."""

    @abstractmethod
    def finish(self, result: CrossValidation, units: Sequence[U], found: Sequence[F]) -> CrossValidation:
        """Put the units together and write the outputs; return the result with them."""

    def steps(self, unit: U) -> int:
        """Return the progress steps of a unit."""
        return 1

    def together(self, units: Sequence[U]) -> Sequence[tuple[U, ...]]:
        """Return units that are trained in one go and belong to one shard."""
        return singly(units)

    def banners(self) -> Sequence[str]:
        """Return what a reader must know first."""
        return ()

    def of_images(self) -> dict[str, Any]:
        """Return what a folder notes of the images, and which may differ when these have changed."""
        images = sorted({image for image, _, _ in self.plan.rows})
        return {
            "folds_sha256": self.plan.sha256,
            "images_sha256": self.images.digest,
            "classes": list(self.images.classes),
            "images": len(images),
        }

    def check(self, folder: FolderSettings) -> ImageChange:
        """Refuse a folder of other settings, of other folds over the same images, or of other images.

        Images that were added or removed, and corrected labels and groups, are no conflict: only what they change is
        trained.

        Returns
        -------
        ImageChange
            How the images of the protocol differ from those that the folder's fold list names.

        Raises
        ------
        SettingsConflictError
            The message lists the differences.
        """
        if self.overwrite:
            return ImageChange()
        old = _tested_before(folder)
        images = sorted({image for image, _, _ in self.plan.rows}) if old else ()
        change = ImageChange.between(
            old, {image: (self.images.labels[image], self.images.groups[image] or "") for image in images}
        )
        if len(change.removed) > _MOST_REMOVED * len(old):
            raise SettingsConflictError(
                "{}: trained on other images: {}; use another {out}, or {overwrite}", folder.folder, change
            )
        self._allowing(change, folder).check()
        return change

    def begin(self, folder: FolderSettings, change: ImageChange) -> None:
        """Write the settings of the folder, emptied if it is to be overwritten, and say how its images changed."""
        if change:
            _log.warning(
                "%s: %s since its models were trained; only what this changes is trained", folder.folder, change
            )
        self._allowing(change, folder).begin(overwrite=self.overwrite)

    def _allowing(self, change: ImageChange, folder: FolderSettings) -> FolderSettings:
        """Return the folder, in which what follows from the images may differ if these have changed."""
        return replace(folder, loose=frozenset(self.of_images())) if change else folder

    def cross_validate(self, how: Work, folder: FolderSettings) -> CrossValidation:
        """Train what is missing, and write the outputs if all is there.

        Parameters
        ----------
        how : Work
        folder : FolderSettings
            That of `folder`, begun.

        Raises
        ------
        OverwrittenError
            Another command has overwritten the folder meanwhile.
        BchistoError
            Units are missing at the end though all were trained.
        """
        path, resources = folder.folder, self.resources(how, folder)
        units = self.units(path, resources)
        for warning in self.plan.warnings:
            _log.warning("%s: %s", self.plan.name, warning)
        write_fold_list(path / _FOLDS, self.plan, labels=self.images.labels, groups=self.images.groups)
        before, _ = do_missing(
            self.train,
            units,
            read=self.read,
            steps=self.steps,
            label=f"{self.command} {path.name}",
            finished=f"{self.unit} are trained",
            step_name=self.step_name,
            dealt=self.together,
            work=how,
            resources=resources,
            begin=lambda: folder.note_work(how.environments(path, folder.made_with), **resources.recorded),
        )
        # those trained just now, or by other shards
        found = [self.read(unit) if one is None else one for unit, one in zip(units, before, strict=True)]
        whole = [one for one in found if one is not None]
        images = dict.fromkeys(image for image, _, _ in self.plan.rows)
        unknown = unknown_groups([self.images.groups[image] for image in images])
        banners = (*self.notes, *self.banners(), *unknown, *map(public, self.plan.warnings))
        protocol = protocol_text(self.plan, seed=self.settings.seed, dataset=self.images.dataset)
        result = CrossValidation(
            path, protocol, len(units), self.unit, len(whole) == len(units), banners, path.name,
            failures=self.images.failures,
        )  # fmt: skip
        if how.shard is not None:
            own = sum(map(len, how.shard.select(self.together(units))))
            return replace(result, share=Share(how.shard, own, len(whole), len(units), self.unit))
        folder.hold()
        if len(whole) < len(units):
            missing = len(units) - len(whole)
            raise BchistoError(f"{path}: {missing} of {len(units)} {self.unit} are missing; run the same command again")
        return self.finish(result, units, whole)


def _tested_before(folder: FolderSettings) -> dict[str, Known]:
    """Return the images of the folder's fold list; empty if nothing was trained yet."""
    rows = read_rows(folder.folder / _FOLDS) if folder.begun else ()
    return {row["image_id"]: (row["label"], row["group"]) for row in rows}


def cross_validate(
    trainings: Sequence[Training[Any, Any]], *, run: Path, how: Work, record: RunRecord
) -> list[CrossValidation]:
    """Do every training, write the report of the run, and note the results in its record.

    Parameters
    ----------
    trainings : sequence of Training
        All are checked, and the settings of their folders written, before any is begun.
    run : Path
        The run folder.
    how : Work
    record : RunRecord

    Returns
    -------
    list of CrossValidation

    Raises
    ------
    SettingsConflictError
        A folder holds the work of other settings.
    OverwrittenError, BchistoError
        See `Training.cross_validate`.
    ReportError
        A report could not be written; models, predictions, metrics and bundles are, and ``results`` holds the list.
    """
    pairs = [(training, training.folder()) for training in trainings]
    changes = [training.check(folder) for training, folder in pairs]
    # all that is overwritten is, before anything is trained: what follows can be resumed
    for (training, folder), change in zip(pairs, changes, strict=True):
        training.begin(folder, change)
    results = [training.cross_validate(how, folder) for training, folder in pairs]
    record.note(
        results={
            str(result.folder.relative_to(run)): {
                "protocol": result.protocol,
                result.unit: result.models,
                "finished": result.finished,
                "accuracy": None if result.metrics is None else result.metrics["accuracy"],
            }
            for result in results
        }
    )
    if shares := [result.share for result in results if result.share is not None]:
        record.note(share=shares[0].total(shares).content())
    failed = [line for result in results for line in result.unreported]
    if any(result.panel is not None for result in results):
        with reporting(run / "report.html", failed):
            write_run_report(run, images=trainings[0].images.digest)
    if failed:
        wrote = ", ".join(str(result.folder) for result in results if result.assembled)
        raise ReportError(
            f"{'; '.join(failed)}; models, predictions.csv, metrics.json and model.bchisto are written in {wrote}",
            results,
        )
    return results
