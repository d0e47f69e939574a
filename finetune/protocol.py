"""One protocol with one network: folds as units, settings guarded, outputs written when all are there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data import SYNTHETIC_BANNER, Dataset, FoldPlan, file_sha256, inner_splits, protocol_text, write_fold_list
from ..errors import BchistoError, InputError
from ..evaluate import Panel, TwoClassView
from ..jobs import Resources, Shard, prepare_backend, run_units, visible_gpus
from ..runs import Claim, versions_of
from .batches import Source
from .images import ImageBank
from .model import resolved, untrained_notice
from .outputs import write_outputs
from .settings import FinetuneSettings
from .units import FoldUnit, fit_batch_size, read_fold, train_fold

__all__ = ["FinetuneResult", "Workshop"]

_log = logging.getLogger(__name__)

_VALIDATION_FOLDS = 8
"""An eighth of a training part validates where the protocol names no validation part (ours)."""


@dataclass(frozen=True)
class FinetuneResult:
    """What was trained for one protocol.

    Attributes
    ----------
    folder : Path
        ``RUN/finetune/<folds>-<network>[-<name>]``.
    protocol : str
        In words.
    folds : int
    finished : bool
        Whether all folds are there; a shard leaves the rest to the run without ``--shard``.
    panel : Panel or None
        Predictions of images and their metrics, where finished and images were tested.
    banners : tuple of str
        What a reader must know first.
    failures : tuple of (image_id, message)
        Images left out.
    unreported : tuple of str
        One line for each report that could not be written.
    """

    folder: Path
    protocol: str
    folds: int
    finished: bool
    panel: Panel | None
    banners: tuple[str, ...]
    failures: tuple[tuple[str, str], ...] = ()
    unreported: tuple[str, ...] = ()

    @property
    def metrics(self) -> dict[str, Any] | None:
        """Metrics of images, where there are any."""
        return None if self.panel is None else self.panel.metrics


@dataclass(frozen=True)
class Workshop:
    """What all protocols of a run share.

    Attributes
    ----------
    folder : Path
        ``RUN/finetune``.
    dataset : Dataset
        Every image, in the order of the file of images.
    digest : str
        Its identity.
    images : Path
        See `prepare_images`.
    settings : FinetuneSettings
    reading : dict
        How the dataset was read, for the bundle.
    failures : dict of str to str
        Images that could not be used.
    notes : tuple of str
        Banners of the caller.
    overwrite, tensorboard : bool
    view : TwoClassView
        The two-class view of every table.
    """

    folder: Path
    dataset: Dataset
    digest: str
    images: Path
    settings: FinetuneSettings
    reading: dict[str, Any]
    failures: dict[str, str]
    notes: tuple[str, ...]
    overwrite: bool
    tensorboard: bool
    view: TwoClassView = field(default_factory=TwoClassView)

    def protocol(
        self, plan: FoldPlan, *, resources: Resources, shard: Shard | None, dask: str | None
    ) -> FinetuneResult:
        """Train the folds of a protocol and write its outputs if it is whole; after `check`.

        Raises
        ------
        SettingsConflictError
            See `Claim.check`.
        OverwrittenError
            Another command has overwritten the folder meanwhile.
        BchistoError
            Folds are missing at the end though all were trained.
        """
        claim = self._claim(plan)
        folder = claim.folder
        for warning in plan.warnings:
            _log.warning("%s: %s", plan.name, warning)
        units = self._units(
            plan, folder, workers=resources.helpers(len(plan.folds))
        )  # refuses what cannot be split before anything is written
        claim.take()
        mark = claim.mark()
        units = [replace(unit, mark=mark) for unit in units]
        labels = {item.image_id: item.label or "" for item in self.dataset.records}
        groups = {item.image_id: item.group for item in self.dataset.records}
        write_fold_list(folder / "folds.csv", plan, labels=labels, groups=groups)
        share = units if shard is None else shard.select(units)
        todo = [unit for unit in share if read_fold(unit) is None]
        if todo:
            claim.note_versions()
        run_units(
            train_fold,
            todo,
            steps=_epochs,
            jobs=resources.processes,
            gpus=resources.gpus,
            dask=dask,
            label=f"finetune {folder.name}",
            step_name="epochs",
        )
        protocol = protocol_text(plan, seed=self.settings.seed, dataset=self.dataset.name)
        banners = (*self.notes, *self._banners(), *plan.warnings)
        found = [read_fold(unit) for unit in units]
        whole = [values for values in found if values is not None]
        finished = len(whole) == len(units)
        panel = None
        failed: list[str] = []
        if shard is None:
            mark.hold()
            if not finished:
                missing = len(units) - len(whole)
                raise BchistoError(f"{folder}: {missing} of {len(units)} folds are missing; run the same command again")
            panel = write_outputs(
                folder,
                units=units,
                probabilities=np.concatenate(whole),
                dataset=self.dataset,
                reading=self.reading,
                plan=plan,
                digest=self.digest,
                protocol=protocol,
                banners=banners,
                view=self.view,
                failed=failed,
            )
        left_out = tuple(self.failures.items())
        return FinetuneResult(folder, protocol, len(units), finished, panel, banners, left_out, tuple(failed))

    def fitted(self, plan: FoldPlan) -> Workshop:
        """Return the workshop with settings that fit a protocol's data, see `fit_batch_size`; writes nothing.

        Raises
        ------
        InputError
            Folds that cannot be trained: see `fit_batch_size`, or no images to validate.
        """
        return replace(self, settings=fit_batch_size(self.settings, self._units(plan, self.folder, workers=1)))

    def _units(self, plan: FoldPlan, folder: Path, *, workers: int) -> list[FoldUnit]:
        position = {item.image_id: place for place, item in enumerate(self.dataset.records)}
        order = {label: place for place, label in enumerate(self.dataset.classes)}
        labels = tuple(order[item.label or ""] for item in self.dataset.records)
        settings = self.settings
        rule = settings.rule
        source = Source(
            bank=ImageBank.open(self.images),
            labels=np.array(labels),
            rule=rule,
            size=0,
            seed=settings.seed,
            batch_size=1,
        )
        units = []
        for fold in plan.folds:
            train = [position[image] for image in plan.images(fold, "train")]
            validate = [position[image] for image in plan.images(fold, "val")]
            if not settings.validation:
                train, validate = train + validate, []
            elif not validate:
                train, validate = self._split(train, labels, fold)
            tested = [(image, position[image]) for image in plan.images(fold, "test")]
            names = tuple(
                (image, rule.name(number, corner))
                for image, place in tested
                for number, corner in enumerate(source.places(place))
            )
            units.append(
                FoldUnit(
                    settings=settings,
                    fold=fold,
                    images=self.images,
                    labels=labels,
                    train=tuple(train),
                    validate=tuple(validate),
                    test=tuple(place for _, place in tested),
                    test_names=names,
                    classes=len(self.dataset.classes),
                    folder=folder,
                    workers=workers,
                    tensorboard=self.tensorboard,
                )
            )
        return units

    def _split(self, train: Sequence[int], labels: Sequence[int], fold: int) -> tuple[list[int], list[int]]:
        """Set an eighth of the training images aside to validate; groups stay whole, every class goes on training."""
        chosen = np.array([labels[place] for place in train], dtype=np.int64)
        groups = [self.dataset.records[place].group for place in train]
        for kept, held in inner_splits(chosen, groups, count=_VALIDATION_FOLDS, seed=self.settings.seed):
            return [train[k] for k in kept], [train[k] for k in held]
        raise InputError(
            f"fold {fold}: no images (patients) can be set aside to validate without taking a whole class out of "
            "training; add some, use fewer --folds, a list with val parts, or --no-validation"
        )

    def _banners(self) -> list[str]:
        notes = [SYNTHETIC_BANNER] if self.dataset.synthetic else []
        settings = self.settings
        if (untrained := untrained_notice(settings)) is not None:
            notes.append(untrained)
        if not settings.validation:
            notes.append(
                f"NO VALIDATION: trained for all {settings.epochs} epochs on every training image; nothing but the "
                "last epoch chose the weights."
            )
        return notes

    def check(self, plan: FoldPlan) -> None:
        """Refuse a folder of other folds, images or settings; writes nothing.

        Raises
        ------
        SettingsConflictError
            The message lists the differences.
        """
        self._claim(plan).check()

    def _claim(self, plan: FoldPlan) -> Claim:
        found_weights = Path(self.settings.weights)
        backend = prepare_backend()
        settings = {
            "folds_sha256": plan.sha256,
            "images_sha256": self.digest,
            "classes": list(self.dataset.classes),
            **asdict(self.settings),
            **resolved(self.settings),
            "weights_file_sha256": file_sha256(found_weights) if found_weights.is_file() else "",
            "backend": backend,
        }
        defaults = {f.name: f.default for f in fields(self.settings) if f.default is not MISSING}
        return Claim(
            self.folder / "-".join(filter(None, (plan.name, self.settings.network, self.settings.name))),
            settings=settings,
            work=("models/*", "predictions.csv"),
            overwrite=self.overwrite,
            absent={**defaults, "backend": backend},  # 0.1 did not say which
            made_with={
                **versions_of(("bchisto", "keras", "numpy", backend)),
                "device": "GPU" if visible_gpus() else "CPU",
            },
            otherwise="another --name or --out",
        )


def _epochs(unit: FoldUnit) -> int:
    return unit.settings.epochs
