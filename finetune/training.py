"""One protocol with one network, as a training of `bchisto.crossval`: folds are its units."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..core import InputError, Message, plain_options
from ..crossval import CrossValidation, Training
from ..data import SYNTHETIC_BANNER, Dataset, inner_splits
from ..formats import file_sha256
from ..jobs import Resources, Work, key_of, prepare_backend, visible_gpus
from ..runs import FolderSettings, versions_of
from .balance import BEFORE
from .batches import Source
from .images import ImageBank
from .model import resolved, untrained_notice
from .outputs import write_outputs
from .settings import FinetuneSettings
from .units import FoldUnit, fit_batch_size, read_fold, train_folds

_log = logging.getLogger(__name__)

FOLD_KIND = "fold 1"
"""What the key of a fold begins with; another number when training or predicting changes."""

_VALIDATION_FOLDS = 8
"""An eighth of a training part validates where the protocol names no validation part."""


@dataclass(frozen=True)
class CnnTraining(Training[FoldUnit, npt.NDArray[np.float64]]):
    """One protocol with one network.

    Attributes
    ----------
    networks : Path
        ``RUN/finetune``.
    dataset : Dataset
        Every image, in the order of the file of images.
    bank : Path
        See `prepare_images`.
    settings : FinetuneSettings
    reading : dict
        How the dataset was read, for the bundle.
    tensorboard : bool
    """

    networks: Path
    dataset: Dataset
    bank: Path
    settings: FinetuneSettings
    reading: dict[str, Any]
    tensorboard: bool

    unit: ClassVar[str] = "folds"
    step_name: ClassVar[str] = "epochs"
    command: ClassVar[str] = "finetune"

    def fitted(self) -> CnnTraining:
        """Return the training with settings that fit its images, see `fit_batch_size`; writes nothing.

        Raises
        ------
        InputError
            Folds that cannot be trained: see `fit_batch_size`, or no images to validate.
        """
        return replace(self, settings=fit_batch_size(self.settings, self._units(self.networks, workers=1)))

    @functools.cached_property
    def deciding(self) -> dict[str, Any]:
        """What decides how folds are trained, JSON-ready; weights by their hash, wherever they lie."""
        weights = Path(self.settings.weights)
        return {
            **{name: getattr(self.settings, name) for name in plain_options(self.settings, deciding=True)},
            **resolved(self.settings),
            **({"weights": file_sha256(weights)} if weights.is_file() else {}),
            "backend": prepare_backend(),
        }

    def folder(self) -> FolderSettings:
        """Return the folder with what its networks are trained under."""
        return FolderSettings(
            folder=self.networks / "-".join(filter(None, (self.plan.name, self.settings.network, self.settings.name))),
            settings={**self.deciding, **self.image_settings()},
            work=("models/*", "predictions.csv"),
            made_with={
                **versions_of(("bchisto", "keras", "numpy", prepare_backend())),
                "device": "GPU" if visible_gpus() else "CPU",
            },
            otherwise=Message("another {name} or {out}"),
        )

    def resources(self, work: Work, folder: FolderSettings) -> Resources:
        """Return what the folds get; a folder that is begun goes on with its threads."""
        begun, folds = folder.begun_with("threads"), len(self.plan.folds)
        resources = work.training(folds, begun=None if begun is None else int(begun) if begun.isdecimal() else 1)
        if resources.threads and resources.threads > 1:
            _log.info(
                "%s: %d fold(s), %d cores: each trains with %d threads, as settings.json notes; results differ by it",
                folder.folder.name, folds, resources.cores, resources.threads,
            )  # fmt: skip
        return resources

    def units(self, folder: Path, resources: Resources) -> Sequence[FoldUnit]:
        """Return all folds."""
        return self._units(folder, workers=resources.helpers(len(self.plan.folds)))

    train = staticmethod(train_folds)
    read = staticmethod(read_fold)

    def steps(self, unit: FoldUnit) -> int:
        """Return the epochs at most."""
        return unit.settings.epochs

    def banners(self) -> Sequence[str]:
        """Say what a reader must know of the images, the start and the validation."""
        notes = [SYNTHETIC_BANNER] if self.dataset.synthetic else []
        settings = self.settings
        if settings.sampling == BEFORE:
            notes.append(
                "BALANCED BEFORE THE SPLIT: random images of the larger classes were removed until all were as "
                "large as the smallest, also in the test sets; every result is of a balanced set, not of classes "
                "as they occur."
            )
        noted = any(note.startswith("RANDOM START") for note in self.notes)  # by a recipe, of its source
        if not noted and (untrained := untrained_notice(settings)) is not None:
            notes.append(untrained)
        if not settings.validation:
            notes.append(
                f"NO VALIDATION: trained for all {settings.epochs} epochs on every training image; nothing but the "
                "last epoch chose the weights."
            )
        return notes

    def finish(
        self, result: CrossValidation, units: Sequence[FoldUnit], outcomes: Sequence[npt.NDArray[np.float64]]
    ) -> CrossValidation:
        """Write the outputs."""
        probabilities = np.concatenate(outcomes)
        return write_outputs(self, result, units, probabilities, dataset=self.dataset, reading=self.reading)

    def _units(self, folder: Path, *, workers: int) -> list[FoldUnit]:
        records, settings = self.dataset.records, self.settings
        position = {record.image_id: number for number, record in enumerate(records)}
        labels = tuple(self.dataset.classes.index(record.label or "") for record in records)
        source = Source.of(settings, ImageBank.open(self.bank), np.array(labels))
        units = []
        for fold in self.plan.folds:
            train, validate, test = (
                [position[image] for image in self.plan.images(fold, part)] for part in ("train", "val", "test")
            )
            if not settings.validation:
                train, validate = train + validate, []
            elif not validate:
                train, validate = self._split(train, labels, fold)
            names = tuple(
                (records[image].image_id, settings.rule.name(number, corner))
                for image in test
                for number, corner in enumerate(source.corners(image))
            )
            units.append(
                FoldUnit(
                    settings=settings,
                    fold=fold,
                    images=self.bank,
                    labels=labels,
                    train=tuple(train),
                    validate=tuple(validate),
                    test=tuple(test),
                    test_names=names,
                    classes=self.dataset.classes,
                    folder=folder,
                    workers=workers,
                    tensorboard=self.tensorboard,
                    key=self._key(fold, train, validate, names),
                )
            )
        return units

    def _key(self, fold: int, train: Sequence[int], validate: Sequence[int], names: Sequence[tuple[str, str]]) -> str:
        """Return the key of a fold: how it is trained, and on which contents and labels."""
        records, files = self.dataset.records, self.images.files

        def content(positions: Sequence[int]) -> list[tuple[str, str, str | None]]:
            some = [records[position] for position in positions]
            return [(record.image_id, files[record.image_id], record.label) for record in some]

        return key_of(
            FOLD_KIND,
            settings=self.deciding,
            reading=self.reading,
            classes=self.dataset.classes,
            fold=fold,
            train=content(train),
            validate=content(validate),
            tests=[(image, patch, files[image]) for image, patch in names],
        )

    def _split(self, train: Sequence[int], labels: Sequence[int], fold: int) -> tuple[list[int], list[int]]:
        """Set an eighth of the training images aside to validate; groups stay whole, every class goes on training.

        The first of eight divisions whose validation part holds every class, too, if there is one: the loss of one
        class alone falls as long as a network calls everything so.
        """
        chosen = np.array([labels[position] for position in train], dtype=np.int64)
        records = [self.dataset.records[position] for position in train]
        groups = self.plan.kept_whole([record.image_id for record in records], [record.group for record in records])
        splits = inner_splits(chosen, groups, count=_VALIDATION_FOLDS, seed=self.settings.seed)
        whole = [split for split in splits if len(set(chosen[split[1]])) == len(set(chosen))]
        for kept, held in (*whole, *splits):
            return [train[number] for number in kept], [train[number] for number in held]
        raise InputError(
            "fold {}: no images (patients) can be set aside to validate without taking a whole class "
            "out of training; add some, use fewer {folds}, a list with val parts, or "
            "{validation:False}",
            fold,
        )
