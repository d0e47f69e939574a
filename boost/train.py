"""Stage 2 as a whole: for each protocol train what is missing, put it together, report."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from ..data import FoldPlan, fold_plan, write_fold_list
from ..errors import InputError, SettingsConflictError
from ..evaluate import Panel, PaperTable, ProtocolGap, compare_pairs, protocol_gap, write_report
from ..featurize import compared_settings
from ..jobs import Shard, default_jobs, ensure_folder, read_json, remove_tree, run_units, write_json
from ..runs import RunRecord, describe_differences, record_run
from .ensemble import gather, plan_units
from .heads import HEADS, STACK
from .outputs import protocol_text, write_outputs
from .presets import PRESETS, Preset
from .sources import Sources, read_sources
from .units import ModelGroup, group_units, read_unit, train_group

__all__ = ["BoostResult", "train"]

_log = logging.getLogger(__name__)

_BACH_IMAGES = 400
_REPLICATES = 2000
"""Bootstrap replicates of paired differences (ours)."""


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


def train(
    *,
    out: str | Path,
    features: Sequence[str | Path] = (),
    folds: Sequence[str] = (),
    group_by: str | None = None,
    heads: Sequence[str] = ("lightgbm",),
    seeds: int = 5,
    preset: str = "rakhlin2018",
    params: Mapping[str, Any] | None = None,
    classes: Sequence[str] = (),
    seed: int = 0,
    jobs: int | None = None,
    shard: Shard | None = None,
    dask: str | None = None,
    overwrite: bool = False,
    notes: Sequence[str] = (),
) -> list[BoostResult]:
    """Train cross-validated ensembles on the stores of a run; does only what is missing.

    Parameters
    ----------
    out : str or Path
        The run folder.
    features : sequence of path
        Stores or folders of them; ``out/features`` by default.
    folds : sequence of str
        Protocols: a number, a published list, or a fold list; by default ``rakhlin10`` for the 400 BACH images and
        10 else.
    group_by : {"group", "none"}, optional
        Whether split folds keep groups whole; by default where groups are known.
    heads : sequence of str
        Of `HEADS`: ``lightgbm``; ``logistic`` and ``svm`` (scikit-learn's, on standardised descriptors); ``stack``,
        which blends one model of each of these over all stores by weights fitted inside the training part.
    seeds : int
        Ensemble members per fold, of LightGBM; the other heads have no seed.
    preset : str
        Of `PRESETS`.
    params : mapping, optional
        LightGBM parameters on top of the preset.
    classes : sequence of str
        Class order; by default that of the stores.
    seed : int
        Moves split folds, not the seeds of LightGBM.
    jobs : int, optional
        Processes, one LightGBM thread each; one per core by default.
    shard : Shard, optional
        Train this share of the models and do not put together.
    dask : str, optional
        Address of a Dask scheduler.
    overwrite : bool
        Remove what is in the folders of these protocols first.
    notes : sequence of str
        What a reader of any number must know, beside what the stores say: put into every output.

    Returns
    -------
    list of BoostResult
        One per protocol and head.

    Raises
    ------
    InputError
        Stores, folds or parameters that do not fit; an existing folder of other folds or parameters.
    StoreError
        A damaged or unmerged store.
    """
    run = Path(out)
    if seeds < 1:
        raise InputError(f"--seeds {seeds}: give at least 1")
    if preset not in PRESETS:
        raise InputError(f"--preset {preset}: no such preset; choose one of {', '.join(PRESETS)}")
    unknown = [head for head in heads if head not in HEADS]
    if unknown:
        raise InputError(f"--head {unknown[0]}: no such head; choose one of {', '.join(HEADS)}")
    if overwrite and shard is not None:
        raise InputError("--overwrite with --shard would remove the models of other shards; overwrite without --shard")
    if not features and not run.is_dir():
        raise InputError(f"{run}: no such run folder; run bchisto featurize --out {run} first")
    chosen = PRESETS[preset].with_params(params or {})
    config = {
        "out": str(out),
        "features": [str(path) for path in features],
        "folds": list(folds),
        "group_by": group_by,
        "head": list(heads),
        "seeds": seeds,
        "preset": preset,
        "param": [f"{key}={json.dumps(value)}" for key, value in (params or {}).items()],
        "classes": ",".join(classes) or None,
        "seed": seed,
    }
    with record_run(run, command="boost", config=config) as record:
        sources = read_sources(features or [run / "features"], classes=classes)
        specs = list(dict.fromkeys(folds)) or [_default_folds(sources)]
        plans = [
            fold_plan(
                spec,
                image_ids=sources.image_ids,
                labels=sources.labels,
                groups=sources.groups,
                group_by=group_by,
                seed=seed,
            )
            for spec in specs
        ]
        jobs = default_jobs() if jobs is None else jobs
        workshop = _Workshop(run, sources, chosen, seeds, seed, overwrite, tuple(notes))
        done = [workshop.protocol(plan, head, jobs=jobs, shard=shard, dask=dask) for plan in plans for head in heads]
        panels = [result.panel for result in done if result.panel is not None]
        if len(panels) == len(done):
            banners = dict.fromkeys(banner for result in done for banner in result.banners)
            gap = _gap(plans, done, heads)
            write_report(
                run / "report.html",
                title="bchisto boost",
                panels=panels,
                banners=list(banners),
                comparisons=compare_pairs([panel.table for panel in panels], replicates=_REPLICATES),
                gap=gap,
            )
            if gap is not None:
                gap.write(run / "protocols.csv")
        _note(record, done, run)
    return done


def _default_folds(sources: Sources) -> str:
    bach = all(header["dataset"] == "bach" for header in sources.headers.values())
    if bach and len(sources.image_ids) == _BACH_IMAGES and not sources.synthetic:
        _log.info("the 400 BACH images: using the published folds, --folds rakhlin10")
        return "rakhlin10"
    return "10"


def _gap(plans: Sequence[FoldPlan], results: Sequence[BoostResult], heads: Sequence[str]) -> ProtocolGap | None:
    """Put the protocols of this run in neighbouring columns."""
    found = []
    sentences = {}
    for (plan, head), result in zip(product(plans, heads), results, strict=True):
        if result.paper is not None:
            found.append((plan.name, head, result.paper))
            sentences[plan.name] = ". ".join((result.protocol, *plan.warnings))
    return protocol_gap(found, sentences=sentences)


def _note(record: RunRecord, results: Sequence[BoostResult], run: Path) -> None:
    record.note(
        results={
            str(result.folder.relative_to(run)): {
                "protocol": result.protocol,
                "models": result.models,
                "finished": result.finished,
                "accuracy": None if result.metrics is None else result.metrics["accuracy"],
            }
            for result in results
        }
    )


@dataclass(frozen=True)
class _Workshop:
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
        rows = json.dumps(sorted(plan.rows)).encode()
        settings: dict[str, Any] = {
            "folds_sha256": hashlib.sha256(rows).hexdigest(),
            "classes": list(classes),
        }
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
