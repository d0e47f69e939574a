"""One protocol with one network, as a training of `bchisto.crossval`: folds are its units."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..crossval import CrossValidation, Training
from ..data import MAMMOGRAMS, SYNTHETIC_BANNER, Dataset, file_sha256, inner_splits
from ..errors import InputError
from ..jobs import Resources, Ticker, Work, prepare_backend, visible_gpus
from ..runs import Claim, Mark, versions_of
from .balance import BEFORE
from .batches import Source
from .images import ImageBank
from .model import resolved, untrained_notice
from .outputs import write_outputs
from .settings import FinetuneSettings, as_stored
from .units import FoldUnit, fit_batch_size, read_fold, train_fold

_log = logging.getLogger(__name__)

_VALIDATION_FOLDS = 8
"""An eighth of a training part validates where the protocol names no validation part (ours)."""


@dataclass(frozen=True)
class CnnTraining(Training[FoldUnit, npt.NDArray[np.float64]]):
    """One protocol with one network.

    Attributes
    ----------
    folder : Path
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

    folder: Path
    dataset: Dataset
    bank: Path
    settings: FinetuneSettings
    reading: dict[str, Any]
    tensorboard: bool

    unit: ClassVar[str] = "folds"
    step_name: ClassVar[str] = "epochs"
    road: ClassVar[str] = "finetune"

    def fitted(self) -> CnnTraining:
        """Return the training with settings that fit its images, see `fit_batch_size`; writes nothing.

        Raises
        ------
        InputError
            Folds that cannot be trained: see `fit_batch_size`, or no images to validate.
        """
        return replace(self, settings=fit_batch_size(self.settings, self._units(self.folder, workers=1)))

    def claim(self) -> Claim:
        """Return the claim of the folder."""
        found_weights = Path(self.settings.weights)
        anew = self.settings.turned or ("noise" in self.settings.augmentations and self.dataset.name in MAMMOGRAMS)
        backend = prepare_backend()
        settings = {
            "folds_sha256": self.plan.sha256,
            "images_sha256": self.images.digest,
            "classes": list(self.dataset.classes),
            **as_stored({**asdict(self.settings), **resolved(self.settings)}),
            "weights_file_sha256": file_sha256(found_weights) if found_weights.is_file() else "",
            "backend": backend,
            "augmentation_rules": 2 if anew else 1,
        }
        defaults = as_stored({f.name: f.default for f in fields(self.settings) if f.default is not MISSING})
        return Claim(
            self.folder / "-".join(filter(None, (self.plan.name, self.settings.network, self.settings.name))),
            settings=settings,
            work=("models/*", "predictions.csv"),
            overwrite=self.overwrite,
            # 0.1 did not say which backend; it normalised by batches, coloured the noise of mammograms, and turned what
            # was squeezed
            absent={
                **defaults,
                "precision": "float32",
                "batch_norm": "batch",
                "backend": backend,
                "augmentation_rules": 1,
            },
            made_with={
                **versions_of(("bchisto", "keras", "numpy", backend)),
                "device": "GPU" if visible_gpus() else "CPU",
            },
            otherwise="another `name` or `out`",
        )

    def resources(self, how: Work, claim: Claim) -> Resources:
        """Return what the folds get; a folder that is begun goes on with its threads."""
        begun, folds = claim.begun_with("threads"), len(self.plan.folds)
        found = how.training(folds, begun=None if begun is None else int(begun) if begun.isdecimal() else 1)
        if found.threads and found.threads > 1:
            _log.info(
                "%s: %d fold(s), %d cores: each trains with %d threads, as settings.json notes; results differ by it",
                claim.folder.name, folds, found.cores, found.threads,
            )  # fmt: skip
        return found

    def units(self, claim: Claim, resources: Resources) -> Sequence[FoldUnit]:
        """Return all folds."""
        return self._units(claim.folder, workers=resources.helpers(len(self.plan.folds)), mark=claim.mark())

    @staticmethod
    def train(units: tuple[FoldUnit, ...], ticker: Ticker) -> None:
        """Train folds."""
        for unit in units:
            train_fold(unit, ticker)

    def read(self, unit: FoldUnit) -> npt.NDArray[np.float64] | None:
        """Return the predictions of a finished fold."""
        return read_fold(unit)

    def steps(self, unit: FoldUnit) -> int:
        """Return the epochs at most."""
        return unit.settings.epochs

    def marks(self, units: Sequence[FoldUnit]) -> Sequence[Mark]:
        """Return the mark that all folds share."""
        return [unit.mark for unit in units[:1] if unit.mark is not None]

    def banners(self) -> Sequence[str]:
        """Say what a reader must know of the images, the start and the validation."""
        notes = [SYNTHETIC_BANNER] if self.dataset.synthetic else []
        settings = self.settings
        if settings.sampling == BEFORE:
            notes.append(
                "BALANCED BEFORE THE SPLIT: images of the larger classes were left out at random until all were as "
                "large as the smallest, also among what is tested; every figure is of a balanced set, and not of "
                "classes as they occur."
            )
        said = any(note.startswith("RANDOM START") for note in self.notes)  # by a recipe, of its source
        if not said and (untrained := untrained_notice(settings)) is not None:
            notes.append(untrained)
        if not settings.validation:
            notes.append(
                f"NO VALIDATION: trained for all {settings.epochs} epochs on every training image; nothing but the "
                "last epoch chose the weights."
            )
        return notes

    def finish(
        self, result: CrossValidation, units: Sequence[FoldUnit], found: Sequence[npt.NDArray[np.float64]]
    ) -> CrossValidation:
        """Write the outputs."""
        return write_outputs(self, result, units, np.concatenate(found))

    def _units(self, folder: Path, *, workers: int, mark: Mark | None = None) -> list[FoldUnit]:
        position = {item.image_id: place for place, item in enumerate(self.dataset.records)}
        labels = tuple(self.dataset.classes.index(item.label or "") for item in self.dataset.records)
        settings = self.settings
        source = Source.of(settings, ImageBank.open(self.bank), np.array(labels))
        units = []
        for fold in self.plan.folds:
            train = [position[image] for image in self.plan.images(fold, "train")]
            validate = [position[image] for image in self.plan.images(fold, "val")]
            if not settings.validation:
                train, validate = train + validate, []
            elif not validate:
                train, validate = self._split(train, labels, fold)
            tested = [(image, position[image]) for image in self.plan.images(fold, "test")]
            names = tuple(
                (image, settings.rule.name(number, corner))
                for image, place in tested
                for number, corner in enumerate(source.places(place))
            )
            units.append(
                FoldUnit(
                    settings=settings,
                    fold=fold,
                    images=self.bank,
                    labels=labels,
                    train=tuple(train),
                    validate=tuple(validate),
                    test=tuple(place for _, place in tested),
                    test_names=names,
                    classes=self.dataset.classes,
                    folder=folder,
                    workers=workers,
                    tensorboard=self.tensorboard,
                    mark=mark,
                )
            )
        return units

    def _split(self, train: Sequence[int], labels: Sequence[int], fold: int) -> tuple[list[int], list[int]]:
        """Set an eighth of the training images aside to validate; groups stay whole, every class goes on training.

        The first of eight divisions whose validation part holds every class, too, if there is one: the loss of one
        class alone falls as long as a network calls everything so.
        """
        chosen = np.array([labels[place] for place in train], dtype=np.int64)
        records = [self.dataset.records[place] for place in train]
        groups = self.plan.kept_whole([item.image_id for item in records], [item.group for item in records])
        splits = inner_splits(chosen, groups, count=_VALIDATION_FOLDS, seed=self.settings.seed)
        whole = [split for split in splits if len(set(chosen[split[1]])) == len(set(chosen))]
        for kept, held in (*whole, *splits):
            return [train[k] for k in kept], [train[k] for k in held]
        raise InputError(
            f"fold {fold}: no images (patients) can be set aside to validate without taking a whole class out of "
            "training; add some, use fewer `folds`, a list with val parts, or `validation=False`"
        )
