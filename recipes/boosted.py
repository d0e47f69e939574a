"""The boosted road of a recipe: descriptors, ensembles, and the tables of the paper."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..boost import BoostSettings, train
from ..data import Dataset, published_folds
from ..evaluate import TwoClassView
from ..experiment import ImageSelection
from ..featurize import FeaturizeSettings, featurize
from ..jobs import ensure_folder
from ..options import from_options
from .estimate import Estimate, estimate_boosted
from .figures import compare_boosted
from .quick import quick_banner, write_quick
from .recipe import Recipe
from .work import Order, Outcome, comparable_note, reported_later

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
    return from_options(FeaturizeSettings, {**found, "weights": (*found.get("weights", ()), *weights)})


def _experiment(recipe: Recipe, order: Order) -> _Experiment:
    chosen = recipe.chosen(order.variants)
    dataset = ImageSelection(order.images, dataset=recipe.datasets[0]).read()
    found = recipe.values("featurize")
    boost = recipe.values("boost")
    if order.full_scale:
        found["view"] = [*found["view"], *recipe.full_scale["view"]]
    if order.quick:
        found.update({name: recipe.quick[name] for name in ("augmentations", "crops")})
        boost["seeds"] = recipe.quick["seeds"]
    protocols = tuple(dict.fromkeys(name for variant in chosen for name in recipe.variants[variant]["folds"]))
    return _Experiment(dataset, featurize_settings(found, weights=order.weights), protocols, boost)


def plan_boosted(recipe: Recipe, order: Order) -> list[Estimate]:
    """Estimate what `run_boosted` would take, without writing anything."""
    experiment = _experiment(recipe, order)
    records = experiment.dataset.records
    folds = sum(len({fold for _, fold, _ in published_folds(name)}) for name in experiment.protocols)
    if order.quick:
        count = recipe.quick["images_per_class_and_fold"]
        records = records[: min(len(records), count * folds * len(experiment.dataset.classes))]
    return estimate_boosted(
        records,
        settings=experiment.settings,
        folds=folds,
        seeds=experiment.boost["seeds"],
        preset=experiment.boost["preset"],
        classes=len(experiment.dataset.classes),
        how=order.how,
    )


def run_boosted(recipe: Recipe, order: Order) -> Outcome:
    """Describe the images, train the ensembles, compare with the published figures.

    Raises
    ------
    InputError
        See `reproduce`.
    """
    experiment = _experiment(recipe, order)
    folds, only, notes = list(experiment.protocols), None, list(recipe.notes)
    if order.quick:
        count = recipe.quick["images_per_class_and_fold"]
        folds, only = write_quick(experiment.dataset, folds, count=count, folder=ensure_folder(order.run / "quick"))
        fraction = {key: recipe.quick[key] for key in ("augmentations", "crops", "seeds")}
        notes.append(quick_banner(_rows(only), recipe.images, fraction))
    _log.info("%s, 1/3: describing the images", recipe.name)
    selection = ImageSelection(order.images, dataset=recipe.datasets[0], only=only)
    featurize(selection, out=order.run, settings=experiment.settings, work=order.how)
    if order.how.shard is not None:
        return Outcome([], [], tuple(notes))
    _log.info("%s, 2/3: training the ensembles", recipe.name)
    failed: list[str] = []
    protocols = reported_later(
        failed,
        train,
        out=order.run,
        settings=from_options(BoostSettings, experiment.boost),
        folds=folds,
        work=order.how,
        view=from_options(TwoClassView, experiment.boost),
        notes=notes,
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


def _rows(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines()) - 1
