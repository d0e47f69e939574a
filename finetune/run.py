"""Fine-tuning as a whole: the folds of a protocol with one network, to the same tables as the boosted road."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..boost import protocol_text
from ..data import Dataset, FoldPlan, fold_plan, read_dataset, unique_images, write_fold_list
from ..errors import InputError, SettingsConflictError
from ..evaluate import Panel, PredictionTable, measure, write_predictions, write_report
from ..jobs import Shard, default_jobs, ensure_folder, read_json, remove_tree, run_units, write_json
from ..runs import describe_differences, record_run
from .images import prepare_images
from .model import network_of, resolved
from .networks import NETWORKS
from .settings import FinetuneSettings
from .units import FoldUnit, read_fold, train_fold

__all__ = ["FinetuneResult", "finetune"]

_log = logging.getLogger(__name__)

_VALIDATION_FOLDS = 8
"""An eighth of a training part validates where the protocol names no validation part (ours)."""

_PRETRAINED = frozenset({"alexnet", "googlenet"})
"""Networks that their source starts from ImageNet weights, which Keras does not have."""


@dataclass(frozen=True)
class FinetuneResult:
    """What was trained for one protocol.

    Attributes
    ----------
    folder : Path
        ``RUN/finetune/<folds>-<network>``.
    protocol : str
        In words.
    folds : int
    finished : bool
    metrics : dict or None
        Where finished.
    banners : tuple of str
        What a reader must know first.
    """

    folder: Path
    protocol: str
    folds: int
    finished: bool
    metrics: dict[str, Any] | None
    banners: tuple[str, ...]


def finetune(
    images: str | Path,
    *,
    out: str | Path,
    settings: FinetuneSettings,
    folds: Sequence[str] = ("10",),
    group_by: str | None = None,
    dataset: str | None = None,
    classes: Sequence[str] = (),
    label_level: str = "class",
    magnifications: Sequence[int] = (),
    lesions: Sequence[str] = (),
    context: str = "tight",
    jobs: int | None = None,
    shard: Shard | None = None,
    dask: str | None = None,
    overwrite: bool = False,
) -> list[FinetuneResult]:
    """Train a network on the folds of each protocol; does only what is missing.

    Parameters
    ----------
    images : str or Path
        A folder or manifest, see `bchisto.data.read_dataset`.
    out : str or Path
        The run folder.
    settings : FinetuneSettings
    folds : sequence of str
        Protocols, see `bchisto.data.fold_plan`. A validation part of the protocol is used; else an eighth of each
        training part, groups whole, stops the training.
    group_by, dataset, classes, label_level, magnifications, lesions, context
        See `bchisto.data.fold_plan` and `bchisto.data.read_dataset`.
    jobs, shard, dask, overwrite
        As in `bchisto.boost.train`; a unit is a fold.

    Returns
    -------
    list of FinetuneResult
        One per protocol.

    Raises
    ------
    InputError
        Images, folds or settings that do not fit; an existing folder of others.
    ImageError
        An image that cannot be decoded.
    """
    run = Path(out)
    network_of(settings.network)
    config = {
        "images": str(images), "out": str(out), "folds": list(folds), "group_by": group_by, "dataset": dataset,
        "classes": ",".join(classes) or None, "label_level": label_level, "magnification": list(magnifications),
        "lesion": list(lesions), "context": context, **_config(settings),
    }  # fmt: skip
    with record_run(run, command="finetune", config=config) as record:
        source = read_dataset(
            images, dataset=dataset, classes=classes, label_level=label_level, magnifications=magnifications,
            lesions=lesions, context=context,
        )  # fmt: skip
        source.raise_errors()
        folder = ensure_folder(run / "finetune")
        unique = unique_images(source, cache=folder / "images.csv")
        labelled = unique.dataset
        if any(item.label is None for item in labelled.records):
            raise InputError(f"{images}: finetune needs a label for every image")
        ids = [item.image_id for item in labelled.records]
        plans = [
            fold_plan(
                spec,
                image_ids=ids,
                labels=[item.label or "" for item in labelled.records],
                groups=[item.group for item in labelled.records],
                group_by=group_by,
                seed=settings.seed,
            )
            for spec in dict.fromkeys(folds)
        ]
        size = resolved(settings)["size"]
        array = prepare_images(labelled.records, digest=unique.digest, size=size, stain=settings.stain, folder=folder)
        workshop = _Workshop(folder, labelled, unique.digest, array, settings, overwrite)
        jobs = default_jobs() if jobs is None else jobs
        results = [workshop.protocol(plan, jobs=jobs, shard=shard, dask=dask) for plan in plans]
        record.note(results={r.folder.name: r.metrics["accuracy"] if r.metrics else None for r in results})
    return results


def _config(settings: FinetuneSettings) -> dict[str, Any]:
    """Return the settings under the names of the command's options."""
    plain = asdict(settings)
    plain["rate_multiplier"] = [f"{name}={factor}" for name, factor in plain.pop("multipliers")]
    plain["augment"] = list(plain.pop("augmentations"))
    plain["class_weights"] = plain.pop("weighted")
    return plain


@dataclass(frozen=True)
class _Workshop:
    folder: Path
    dataset: Dataset
    digest: str
    images: Path
    settings: FinetuneSettings
    overwrite: bool

    def protocol(self, plan: FoldPlan, *, jobs: int, shard: Shard | None, dask: str | None) -> FinetuneResult:
        """Train the folds of a protocol and write its outputs if it is whole."""
        folder = self.folder / f"{plan.name}-{self.settings.network}"
        if self.overwrite:
            remove_tree(folder)
        ensure_folder(folder)
        self._check_settings(folder, plan)
        for warning in plan.warnings:
            _log.warning("%s: %s", plan.name, warning)
        labels = {item.image_id: item.label or "" for item in self.dataset.records}
        groups = {item.image_id: item.group for item in self.dataset.records}
        write_fold_list(folder / "folds.csv", plan, labels=labels, groups=groups)
        units = self._units(plan, folder)
        share = units if shard is None else shard.select(units)
        todo = [unit for unit in share if read_fold(unit) is None]
        run_units(
            train_fold,
            todo,
            steps=_epochs,
            jobs=jobs,
            dask=dask,
            label=f"finetune {folder.name}",
            step_name="epochs",
        )
        protocol = protocol_text(plan.name, seed=self.settings.seed, dataset=self.dataset.name)
        banners = (*self._banners(), *plan.warnings)
        found = [read_fold(unit) for unit in units]
        whole = [values for values in found if values is not None]
        if shard is not None or len(whole) < len(units):
            return FinetuneResult(folder, protocol, len(units), len(whole) == len(units), None, banners)
        metrics = self._write(folder, units, np.concatenate(whole), protocol, banners, labels, groups)
        return FinetuneResult(folder, protocol, len(units), True, metrics, banners)

    def _units(self, plan: FoldPlan, folder: Path) -> list[FoldUnit]:
        position = {item.image_id: place for place, item in enumerate(self.dataset.records)}
        order = {label: place for place, label in enumerate(self.dataset.classes)}
        labels = tuple(order[item.label or ""] for item in self.dataset.records)
        units = []
        for fold in plan.folds:
            train = [position[image] for image in plan.images(fold, "train")]
            validate = [position[image] for image in plan.images(fold, "val")]
            if not validate:
                train, validate = self._split(train, labels, fold)
            tested = plan.images(fold, "test")
            units.append(
                FoldUnit(
                    settings=self.settings,
                    fold=fold,
                    images=self.images,
                    labels=labels,
                    train=tuple(train),
                    validate=tuple(validate),
                    test=tuple(position[image] for image in tested),
                    test_ids=tuple(tested),
                    classes=len(self.dataset.classes),
                    folder=folder,
                )
            )
        return units

    def _split(self, train: list[int], labels: tuple[int, ...], fold: int) -> tuple[list[int], list[int]]:
        """Set an eighth of the training images aside to validate; groups stay whole, every class goes on training."""
        from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

        chosen = [labels[place] for place in train]
        groups = [self.dataset.records[place].group for place in train]
        grouped = all(group is not None for group in groups)
        units = len(set(groups)) if grouped else min(np.bincount(chosen)[np.unique(chosen)])
        count = int(min(_VALIDATION_FOLDS, units))
        if count < 2:
            raise InputError(
                f"fold {fold}: too few images to set some aside to validate; use fewer folds or a fold list"
            )
        splitter = (StratifiedGroupKFold if grouped else StratifiedKFold)(
            count, shuffle=True, random_state=self.settings.seed
        )
        for kept, held in splitter.split(np.zeros(len(train)), chosen, groups if grouped else None):
            if {chosen[k] for k in kept} == set(chosen) and len(held):
                return [train[k] for k in kept], [train[k] for k in held]
        raise InputError(
            f"fold {fold}: no group can validate without taking a whole class out of training; add patients"
        )

    def _banners(self) -> list[str]:
        notes = []
        if self.dataset.synthetic:
            notes.append(
                "SYNTHETIC IMAGES: generated tissue, made to try the software; the numbers say nothing about medicine."
            )
        name = self.settings.network
        if name in _PRETRAINED:
            notes.append(f"RANDOM START: {name} began untrained; its source starts from ImageNet weights.")
        elif name not in NETWORKS and self.settings.weights == "random":
            notes.append(f"RANDOM WEIGHTS: {name} began untrained.")
        return notes

    def _write(
        self,
        folder: Path,
        units: Sequence[FoldUnit],
        probabilities: np.ndarray[Any, np.dtype[np.float64]],
        protocol: str,
        banners: tuple[str, ...],
        labels: dict[str, str],
        groups: dict[str, str | None],
    ) -> dict[str, Any]:
        keys = [(image, unit.fold) for unit in units for image in unit.test_ids]
        write_predictions(
            folder / "predictions.csv",
            classes=self.dataset.classes,
            rows=[(image, labels[image], groups[image], fold) for image, fold in keys],
            probabilities=probabilities,
        )
        table = PredictionTable.from_probabilities(
            name=self.settings.network,
            classes=self.dataset.classes,
            image_ids=[image for image, _ in keys],
            labels=[labels[image] for image, _ in keys],
            probabilities=probabilities,
            folds=[fold for _, fold in keys],
            groups=[groups[image] for image, _ in keys],
            protocol=protocol,
        )
        metrics = measure(table)
        facts = {"protocol": protocol, "classes": list(self.dataset.classes), "banners": list(banners)}
        write_json(folder / "metrics.json", {"tables": {table.name: metrics}, "run": facts})
        shown = {key: str(value) for key, value in {**asdict(self.settings), **resolved(self.settings)}.items()}
        write_report(
            folder / "report.html",
            title=f"bchisto finetune: {folder.name}",
            panels=[Panel(table, metrics)],
            banners=banners,
            settings={"source": network_of(self.settings.network).source, **shown},
        )
        return metrics

    def _check_settings(self, folder: Path, plan: FoldPlan) -> None:
        """Refuse a folder of other folds, images or settings."""
        wanted = {
            "folds_sha256": hashlib.sha256(json.dumps(sorted(plan.rows)).encode()).hexdigest(),
            "images_sha256": self.digest,
            "classes": list(self.dataset.classes),
            **json.loads(json.dumps(asdict(self.settings))),
            **resolved(self.settings),
        }
        path = folder / "settings.json"
        found: dict[str, Any] = read_json(path) if path.is_file() else wanted
        if clash := describe_differences(found, wanted):
            raise SettingsConflictError(
                f"{folder}: made with other settings: {clash}; use the same settings, another --out, or --overwrite"
            )
        if not path.is_file():
            write_json(path, wanted)


def _epochs(unit: FoldUnit) -> int:
    return unit.settings.epochs
