"""One protocol with one head: train what is missing, put it together, report."""

from __future__ import annotations

import csv
import logging
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..data import FoldPlan, protocol_text, write_fold_list
from ..errors import BchistoError, SettingsConflictError
from ..evaluate import Panel, PaperTable, TwoClassView
from ..featurize import ABSENT_SETTINGS, compared_settings
from ..jobs import Shard, run_units
from ..runs import Claim, versions_of
from .bundle import Bundle
from .ensemble import count_models, gather, plan_units
from .head import TrainingTerms
from .heads import ABSENT_HEAD_SETTINGS, STACK_MEMBERS, head_packages, head_settings, members_of
from .learning import learning_banner, models_without_split
from .outputs import write_outputs
from .presets import Preset
from .sources import Sources
from .units import ModelGroup, group_units, read_unit, train_group

__all__ = ["BoostResult", "Workshop"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BoostResult:
    """What stage 2 did for one protocol and head.

    Attributes
    ----------
    folder : Path
        ``RUN/boost/<folds>-<head>``.
    protocol : str
        In words.
    models : int
        Models in all.
    finished : bool
        Whether all models are there; a shard leaves the rest to the run without ``--shard``.
    paper : PaperTable or None
        Accuracy per fold, where finished.
    metrics : dict or None
        Of the fusion, where finished.
    banners : tuple of str
        What a reader must know first.
    panel : Panel or None
        The fusion as a report shows it, where finished.
    unreported : tuple of str
        One line for each table or report that could not be written.
    """

    folder: Path
    protocol: str
    models: int
    finished: bool
    paper: PaperTable | None
    metrics: dict[str, Any] | None
    banners: tuple[str, ...]
    panel: Panel | None = None
    unreported: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workshop:
    """Trains protocols on the same stores with the same settings."""

    run: Path
    sources: Sources
    preset: Preset
    seeds: int
    seed: int
    overwrite: bool
    notes: tuple[str, ...]
    view: TwoClassView = field(default_factory=TwoClassView)

    def protocol(self, plan: FoldPlan, head: str, *, jobs: int, shard: Shard | None, dask: str | None) -> BoostResult:
        """Train a protocol and write its outputs if it is whole; after `check`.

        Raises
        ------
        SettingsConflictError
            See `Claim.check`.
        OverwrittenError
            Another command has overwritten the folder meanwhile.
        BchistoError
            Models are missing at the end though all were trained.
        """
        sources, classes, folder = self.sources, self._classes, self._folder(plan, head)
        terms, claim = self._terms(plan), self._claim(plan, head)
        claim.take()
        for warning in plan.warnings:
            _log.warning("%s: %s", plan.name, warning)
        labels = dict(zip(sources.image_ids, sources.labels, strict=True))
        groups = dict(zip(sources.image_ids, sources.groups, strict=True))
        write_fold_list(folder / "folds.csv", plan, labels=labels, groups=groups)
        marks = {name: claim.mark(name) for name in sources.paths}
        units = plan_units(
            sources,
            plan,
            head=head,
            terms=terms,
            seeds=self.seeds,
            classes=classes,
            marks=marks,
            folder=folder,
        )
        batches = group_units(units)
        share = [unit for batch in (batches if shard is None else shard.select(batches)) for unit in batch.units]
        trained = {unit.model: read_unit(unit) for unit in share}
        todo = [unit for unit in share if trained[unit.model] is None]
        if len(todo) < len(share):
            _log.info("%s: %d of %d models are trained already", folder.name, len(share) - len(todo), len(share))
        if todo:
            claim.note_versions()
        run_units(
            train_group,
            group_units(todo),
            steps=_models,
            jobs=jobs,
            dask=dask,
            label=f"boost {folder.name}",
            step_name="models",
        )
        datasets = {header["dataset"] for header in sources.headers.values()}
        protocol = protocol_text(plan, seed=self.seed, dataset="".join(datasets) if len(datasets) == 1 else "")
        banners = (*self.notes, *sources.banners(), *plan.warnings)
        # read what was trained just now, or by other shards; the rest is read already
        trained.update({unit.model: read_unit(unit) for unit in units if trained.get(unit.model) is None})
        predictions = [found for unit in units if (found := trained[unit.model]) is not None]
        if shard is not None:
            finished = len(predictions) == len(units)
            return BoostResult(folder, protocol, len(units), finished, None, None, banners)
        for mark in marks.values():
            mark.hold()
        if len(predictions) < len(units):
            missing = len(units) - len(predictions)
            raise BchistoError(f"{folder}: {missing} of {len(units)} models are missing; run the same command again")
        ensemble = gather(units, predictions, sources=sources, classes=classes, protocol=protocol, folder=folder)
        failed: list[str] = []
        augmentations = {name: int(header["augmentations"]) for name, header in sources.headers.items()}
        learning = models_without_split(units, augmentations=augmentations)
        banners = (*banners, *(notice for spec in members_of(head) if (notice := spec.notice(terms))))
        if learning:
            banners = (*banners, learning_banner(learning))
        panel = write_outputs(
            folder,
            title=f"bchisto boost: {folder.name}",
            ensemble=ensemble,
            units=units,
            sources=sources,
            terms=terms,
            classes=classes,
            banners=banners,
            plan=plan,
            pictures=self.run / "features" / "images.csv",
            head=head,
            view=self.view,
            failed=failed,
            learning=learning,
        )
        named = Panel(_renamed(panel, folder.name), panel.metrics, panel.paper)
        return BoostResult(
            folder, protocol, len(units), True, ensemble.paper, panel.metrics, banners, named, tuple(failed)
        )

    def check(self, plan: FoldPlan, head: str) -> None:
        """Refuse a folder of other folds, parameters or descriptors, or of a larger result; writes nothing.

        Raises
        ------
        InputError
            See `Bundle.check`.
        SettingsConflictError
            The message lists the differences. Further seeds and stores extend a folder, fewer are refused.
        """
        count = count_models(len(self.sources.paths), len(plan.folds), head=head, seeds=self.seeds)
        Bundle.check(stores=list(self.sources.paths), models=count)
        self._claim(plan, head).check()
        if not self.overwrite:
            _refuse_fewer(self._folder(plan, head), stores=self.sources.paths, seeds=self.seeds)

    def _terms(self, plan: FoldPlan) -> TrainingTerms:
        return TrainingTerms(self.preset, self.seed, max(len(plan.images(fold, "train")) for fold in plan.folds))

    @property
    def _classes(self) -> list[str]:
        return [name for name in self.sources.classes if name in self.sources.labels]

    def _folder(self, plan: FoldPlan, head: str) -> Path:
        return self.run / "boost" / f"{plan.name}-{head}"

    def _claim(self, plan: FoldPlan, head: str) -> Claim:
        return Claim(
            self._folder(plan, head),
            settings={
                "folds_sha256": plan.sha256,
                "classes": self._classes,
                **head_settings(head, self._terms(plan)),
            },
            stores={name: compared_settings(header) for name, header in self.sources.headers.items()},
            work=("models/*/*", "predictions.csv"),
            overwrite=self.overwrite,
            absent={**ABSENT_SETTINGS, **ABSENT_HEAD_SETTINGS},
            made_with=versions_of(["bchisto", "numpy", *head_packages(head)]),
        )


def _refuse_fewer(folder: Path, *, stores: Collection[str], seeds: int) -> None:
    """Refuse to replace the result of more stores or seeds by one of fewer.

    Raises
    ------
    SettingsConflictError
        The message names what the result holds.
    """
    table = folder / "predictions-by-model.csv"
    if not table.is_file():
        return
    with table.open(newline="", encoding="utf-8") as handle:
        held = {(row["store"], int(row["seed"])) for row in csv.DictReader(handle)}
    more = max((seed for _, seed in held), default=-1) + 1
    # the rows of a stack are named "<store> <head>"
    lost = sorted({name for name, _ in held if not any(name in (one, *_members(one)) for one in stores)})
    if lost or more > seeds:
        has = [f"{len(lost)} more stores ({', '.join(lost)})"] if lost else []
        has += [f"{more} seeds, not {seeds}"] if more > seeds else []
        raise SettingsConflictError(
            f"{folder}: holds a larger result: {' and '.join(has)}; ask for all of it, or use another --out, or "
            "--overwrite to replace it by this smaller one"
        )


def _members(store: str) -> list[str]:
    return [f"{store} {head}" for head in STACK_MEMBERS]


def _renamed(panel: Panel, name: str) -> Any:
    return replace(panel.table, name=name)


def _models(group: ModelGroup) -> int:
    return len(group.units)
