"""The boosted road of a recipe: descriptors, ensembles, and the tables of the paper."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..boost import train
from ..data import Dataset, published_folds, read_dataset
from ..encoders import parse_encoder
from ..evaluate import TwoClassView
from ..featurize import FeaturizeSettings, featurize, parse_view
from ..jobs import ensure_folder
from .estimate import Estimate, estimate_boosted
from .figures import compare_boosted
from .quick import quick_banner, write_quick
from .recipe import Recipe
from .work import Outcome, Work, comparable_note, reported_later

__all__ = ["featurize_settings", "plan_boosted", "run_boosted"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Experiment:
    """A recipe brought to these images."""

    dataset: Dataset
    settings: FeaturizeSettings
    protocols: tuple[str, ...]
    boost: dict[str, Any]


def featurize_settings(found: Mapping[str, Any], *, weights: Sequence[str]) -> FeaturizeSettings:
    """Return the settings that a recipe names by the options of ``bchisto featurize``; the rest are defaults."""
    known = {field.name for field in fields(FeaturizeSettings)}
    plain = {name: value for name, value in found.items() if name in known}
    if "pool" in plain:
        plain["pool"] = float(plain["pool"])
    if "color_range" in plain:
        low, high = plain["color_range"]
        plain["color_range"] = (float(low), float(high))
    return FeaturizeSettings(
        **{
            **plain,
            "encoders": tuple(map(parse_encoder, found["encoder"])),
            "views": tuple(map(parse_view, found["view"])),
            "weights": (*found.get("weights", ()), *weights),
        }
    )


def _experiment(recipe: Recipe, work: Work) -> _Experiment:
    chosen = recipe.chosen(work.variants)
    dataset = read_dataset(work.images, dataset=recipe.datasets[0])
    dataset.raise_errors()
    found = recipe.values("featurize")
    boost = recipe.values("boost")
    if work.full_scale:
        found["view"] = [*found["view"], *recipe.full_scale["view"]]
    if work.quick:
        found.update({name: recipe.quick[name] for name in ("augmentations", "crops")})
        boost["seeds"] = recipe.quick["seeds"]
    protocols = tuple(dict.fromkeys(name for variant in chosen for name in recipe.variants[variant]["folds"]))
    return _Experiment(dataset, featurize_settings(found, weights=work.weights), protocols, boost)


def plan_boosted(recipe: Recipe, work: Work) -> list[Estimate]:
    """Estimate what `run_boosted` would take, without writing anything."""
    experiment = _experiment(recipe, work)
    records = experiment.dataset.records
    folds = sum(len({fold for _, fold, _ in published_folds(name)}) for name in experiment.protocols)
    if work.quick:
        count = recipe.quick["images_per_class_and_fold"]
        records = records[: min(len(records), count * folds * len(experiment.dataset.classes))]
    return estimate_boosted(
        records,
        settings=experiment.settings,
        folds=folds,
        seeds=experiment.boost["seeds"],
        preset=experiment.boost["preset"],
        classes=len(experiment.dataset.classes),
        jobs=work.jobs,
    )


def run_boosted(recipe: Recipe, work: Work) -> Outcome:
    """Describe the images, train the ensembles, compare with the published figures.

    Raises
    ------
    InputError
        See `reproduce`.
    """
    experiment = _experiment(recipe, work)
    folds, only, notes = list(experiment.protocols), None, list(recipe.notes)
    if work.quick:
        count = recipe.quick["images_per_class_and_fold"]
        folds, only = write_quick(experiment.dataset, folds, count=count, folder=ensure_folder(work.run / "quick"))
        fraction = {key: recipe.quick[key] for key in ("augmentations", "crops", "seeds")}
        notes.append(quick_banner(_rows(only), recipe.images, fraction))
    _log.info("%s, 1/3: describing the images", recipe.name)
    featurize(
        work.images,
        out=work.run,
        settings=experiment.settings,
        dataset=recipe.datasets[0],
        only=only,
        jobs=work.jobs,
        shard=work.shard,
        dask=work.dask,
        overwrite=work.overwrite,
        skip_errors=work.skip_errors,
    )
    if work.shard is not None:
        return Outcome([], [], tuple(notes))
    _log.info("%s, 2/3: training the ensembles", recipe.name)
    failed: list[str] = []
    protocols = reported_later(
        failed,
        train,
        out=work.run,
        folds=folds,
        heads=experiment.boost["head"],
        seeds=experiment.boost["seeds"],
        preset=experiment.boost["preset"],
        seed=experiment.boost["seed"],
        jobs=work.jobs,
        dask=work.dask,
        overwrite=work.overwrite,
        notes=notes,
        view=_view(experiment.boost),
    )
    _log.info("%s, 3/3: comparing with the published figures", recipe.name)
    first = str(next(iter(recipe.variants.values()))["folds"][0])
    comparisons = [
        comparison
        for result in protocols
        if result.folder.name.startswith(first)
        for comparison in compare_boosted(result.folder, recipe.published, note=comparable_note(result.banners))
    ]
    banners = tuple(dict.fromkeys(banner for result in protocols for banner in result.banners))
    return Outcome(protocols, comparisons, banners, unreported=tuple(failed))


def _view(boost: Mapping[str, Any]) -> TwoClassView:
    """Return the two-class view that a recipe names by the options of ``bchisto boost``; the rest are defaults."""
    found = TwoClassView()
    return TwoClassView(
        tuple(boost.get("positive", found.positive)),
        boost.get("two_class", found.rule),
        tuple(boost.get("threshold", found.thresholds)),
    )


def _rows(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines()) - 1
