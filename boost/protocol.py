"""One protocol with one head: train what is missing, put it together, report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..data import FoldPlan, write_fold_list
from ..errors import SettingsConflictError
from ..evaluate import Panel, PaperTable
from ..featurize import compared_settings
from ..jobs import Shard, ensure_folder, read_json, remove_tree, run_units, write_json
from ..runs import describe_differences
from .ensemble import gather, plan_units
from .heads import STACK
from .outputs import protocol_text, write_outputs
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
    """

    folder: Path
    protocol: str
    models: int
    finished: bool
    paper: PaperTable | None
    metrics: dict[str, Any] | None
    banners: tuple[str, ...]
    panel: Panel | None = None


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

    def protocol(self, plan: FoldPlan, head: str, *, jobs: int, shard: Shard | None, dask: str | None) -> BoostResult:
        """Train a protocol and write its outputs if it is whole."""
        sources = self.sources
        folder = self.run / "boost" / f"{plan.name}-{head}"
        if self.overwrite:
            remove_tree(folder)
        ensure_folder(folder)
        classes = [name for name in sources.classes if name in sources.labels]
        self._check_settings(folder, plan, head, classes)
        for warning in plan.warnings:
            _log.warning("%s: %s", plan.name, warning)
        labels = dict(zip(sources.image_ids, sources.labels, strict=True))
        groups = dict(zip(sources.image_ids, sources.groups, strict=True))
        write_fold_list(folder / "folds.csv", plan, labels=labels, groups=groups)
        units = plan_units(
            sources,
            plan,
            head=head,
            preset=self.preset,
            seeds=self.seeds,
            inner_seed=self.seed,
            classes=classes,
            folder=folder,
        )
        batches = group_units(units)
        share = [unit for batch in (batches if shard is None else shard.select(batches)) for unit in batch.units]
        trained = {unit.model: read_unit(unit) for unit in share}
        todo = [unit for unit in share if trained[unit.model] is None]
        if len(todo) < len(share):
            _log.info("%s: %d of %d models are trained already", folder.name, len(share) - len(todo), len(share))
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
        protocol = protocol_text(plan.name, seed=self.seed, dataset="".join(datasets) if len(datasets) == 1 else "")
        banners = (*self.notes, *sources.banners(), *plan.warnings)
        # read what was trained just now, or by other shards; the rest is read already
        trained.update({unit.model: read_unit(unit) for unit in units if trained.get(unit.model) is None})
        predictions = [found for unit in units if (found := trained[unit.model]) is not None]
        if shard is not None or len(predictions) < len(units):
            finished = len(predictions) == len(units)
            return BoostResult(folder, protocol, len(units), finished, None, None, banners)
        ensemble = gather(units, predictions, sources=sources, classes=classes, protocol=protocol, folder=folder)
        panel = write_outputs(
            folder,
            title=f"bchisto boost: {folder.name}",
            ensemble=ensemble,
            units=units,
            sources=sources,
            preset=self.preset,
            classes=classes,
            banners=banners,
            pictures=self.run / "features" / "images.csv",
            head=head,
        )
        named = Panel(_renamed(panel, folder.name), panel.metrics, panel.paper)
        return BoostResult(folder, protocol, len(units), True, ensemble.paper, panel.metrics, banners, named)

    def _check_settings(self, folder: Path, plan: FoldPlan, head: str, classes: Sequence[str]) -> None:
        """Refuse a folder of other folds, parameters or descriptors; further seeds and stores extend it."""
        settings: dict[str, Any] = {"folds_sha256": plan.sha256, "classes": list(classes)}
        if head in ("lightgbm", STACK):
            settings |= {"rounds": self.preset.rounds, **self.preset.params}
        if head != "lightgbm":
            settings |= {"inner_seed": self.seed}
        stores = {name: compared_settings(header) for name, header in self.sources.headers.items()}
        path = folder / "settings.json"
        found: dict[str, Any] = read_json(path) if path.is_file() else {"settings": settings, "stores": {}}
        clashes = [describe_differences(found["settings"], settings)]
        for name in sorted(stores.keys() & found["stores"].keys()):
            clash = describe_differences(found["stores"][name], stores[name])
            clashes.append(f"{name}: {clash}" if clash else "")
        if any(clashes):
            raise SettingsConflictError(
                f"{folder}: made with other settings: {'; '.join(filter(None, clashes))}; use the same settings, "
                "another --out, or --overwrite"
            )
        merged = {"settings": settings, "stores": {**found["stores"], **stores}}
        if not path.is_file() or merged != found:
            write_json(path, merged)


def _renamed(panel: Panel, name: str) -> Any:
    return replace(panel.table, name=name)


def _models(group: ModelGroup) -> int:
    return len(group.units)
