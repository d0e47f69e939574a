"""The CNN road of a recipe: each variant over its folds, frozen features beside it, and the tables of the source."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..boost import BoostSettings, train
from ..data import Dataset, FoldPlan, fold_plan, only_listed
from ..errors import InputError, SettingsConflictError
from ..evaluate import Panel, PredictionTable, compare_pairs
from ..experiment import CrossValidation, FoldChoice, ImageSelection
from ..featurize import featurize
from ..finetune import finetune
from ..jobs import ensure_folder, write_rows
from ..options import from_options
from .boosted import featurize_settings
from .cnn_figures import Obtained, compare_cnn
from .cnn_settings import network_settings, variant_values
from .estimate import Estimate, estimate_cnn
from .quick import quick_banner, write_few
from .recipe import Recipe
from .work import Order, Outcome, comparable_note, reported_later

__all__ = ["plan_cnn", "run_cnn"]

_log = logging.getLogger(__name__)

_REPLICATES = 2000
"""Bootstrap replicates of paired differences (ours)."""

_OFFICIAL_FOLDS = 5
"""Hold-outs of the authors of BreakHis; other published lists test once."""


@dataclass(frozen=True)
class _Part:
    """The images of one magnification, or all."""

    magnification: int | None
    layout: str
    only: Path | None
    run: Path

    def selection(self, images: Path, values: Mapping[str, Any]) -> ImageSelection:
        """Return these images, read as the settings of a variant say."""
        return _selection(images, self.layout, self.magnification, values, only=self.only)


def _selection(
    images: Path,
    layout: str | None,
    magnification: int | None,
    values: Mapping[str, Any],
    *,
    only: Path | None = None,
) -> ImageSelection:
    shown = {name: values[name] for name in ("lesion", "context") if name in values}
    return from_options(
        ImageSelection,
        shown,
        images=images,
        dataset=layout,
        magnifications=() if magnification is None else (magnification,),
        only=only,
    )


def run_cnn(recipe: Recipe, order: Order) -> Outcome:
    """Train every chosen variant, at each magnification where the recipe has them, and compare.

    Raises
    ------
    InputError
        See `reproduce`. A quick run goes on where a variant or magnification has too few images, and says so.
    """
    chosen = recipe.chosen(order.variants)
    notes = list(recipe.notes)
    obtained: dict[tuple[str, int | None], Obtained] = {}
    protocols: list[CrossValidation] = []
    failed: list[str] = []
    left_out: dict[tuple[int | None, str], list[str]] = {}
    parts: list[tuple[_Part, list[str]]] = []
    layout = _layout(recipe, order)
    for magnification in recipe.magnifications or (None,):
        try:
            parts.append(_part(recipe, order, magnification, layout=layout))
        except InputError as error:
            if not order.quick or magnification is None:
                raise
            notes.append(f"{magnification}x was left out: {error}")
    if not order.quick:  # a whole run refuses what does not fit before it trains for days
        for part, _ in parts:
            for variant in chosen:
                _plan_folds(recipe, order, variant, part)
    for part, quick in parts:
        magnification = part.magnification
        for variant in chosen:
            _log.info("%s: %s%s", recipe.name, variant, "" if magnification is None else f" at {magnification}x")
            try:
                result = _run_variant(recipe, order, variant, part, notes=[*quick, *recipe.notes], failed=failed)
            except InputError as error:
                alone = len(chosen) == 1 and magnification is None
                if not order.quick or alone or isinstance(error, SettingsConflictError):
                    raise
                left_out.setdefault((magnification, str(error)), []).append(variant)
                continue
            if result is None:
                continue
            panel = _named(result.panel, variant, magnification)
            protocols.append(replace(result, panel=panel))
            if panel is not None:
                obtained[variant, magnification] = Obtained(result.folder, panel)
    for (magnification, reason), names in left_out.items():
        what = "every variant" if names == chosen else ", ".join(names)
        where = "" if magnification is None else f" at {magnification}x"
        notes.append(f"{what}{where} was left out: {reason}")
        _log.warning(notes[-1])
    if not protocols and order.how.shard is None:
        raise InputError(f"{order.images}: too few images for --quick: {notes[-1]}")
    banners = tuple(dict.fromkeys([*(banner for result in protocols for banner in result.banners), *notes]))
    if order.how.shard is not None:
        return Outcome(protocols, [], banners)
    comparisons = compare_cnn(recipe, obtained, note=comparable_note(banners))
    return Outcome(protocols, comparisons, banners, _pairs(obtained), tuple(failed))


def _named(panel: Panel | None, variant: str, magnification: int | None) -> Panel | None:
    """Name the table after its variant, since variants may share a netorder."""
    name = variant if magnification is None else f"{variant} at {magnification}x"
    return None if panel is None else replace(panel, table=replace(panel.table, name=name))


def _pairs(obtained: Mapping[tuple[str, int | None], Obtained]) -> list[dict[str, Any]]:
    """Test the first variant against each other one, at the same magnification and where both test the same images."""
    first: dict[int | None, PredictionTable] = {}
    for (_, magnification), run in obtained.items():
        first.setdefault(magnification, run.panel.table)
    return [
        pair
        for (_, magnification), run in obtained.items()
        if run.panel.table is not first[magnification]
        for pair in compare_pairs([first[magnification], run.panel.table], replicates=_REPLICATES)
    ]


def _layout(recipe: Recipe, order: Order) -> str:
    """Return the layout of the images.

    Raises
    ------
    InputError
        No images, or in none of the recipe's layouts.
    """
    only = recipe.datasets[0] if len(recipe.datasets) == 1 else None
    dataset = _read(order, only, None, recipe.values("finetune"))
    if dataset.name not in recipe.datasets:
        raise InputError(f"{order.images}: {recipe.name} takes the layout {' or '.join(recipe.datasets)}")
    return dataset.name


def _part(recipe: Recipe, order: Order, magnification: int | None, *, layout: str) -> tuple[_Part, list[str]]:
    """Return the images of a magnification, cut down for a quick run, and what must be said of that."""
    run = order.run if magnification is None else order.run / f"{magnification}x"
    dataset = _read(order, layout, magnification, recipe.values("finetune"))
    part = _Part(magnification, layout, None, run)
    if not order.quick:
        return part, []
    only = write_few(dataset, count=recipe.quick["images_per_class"], folder=ensure_folder(run / "quick"))
    few = len(only_listed(dataset, only).records)
    smaller = {key: value for key, value in recipe.quick["finetune"].items() if key in ("epochs", "size", "crops")}
    where = "" if magnification is None else f" at {magnification}x"
    return replace(part, only=only), [quick_banner(few, recipe.images, smaller, part=where)]


def _read(order: Order, layout: str | None, magnification: int | None, values: Mapping[str, Any]) -> Dataset:
    dataset = _selection(order.images, layout, magnification, values).read()
    if not dataset.records:
        raise InputError(f"{order.images}: no image{'' if magnification is None else f' of {magnification}x'} is here")
    return dataset


def _run_variant(
    recipe: Recipe, order: Order, variant: str, part: _Part, *, notes: list[str], failed: list[str]
) -> CrossValidation | None:
    change = recipe.variants[variant]
    if "featurize" in change:
        return _run_frozen(recipe, order, change, part, notes, failed)
    values = variant_values(recipe, variant, quick=order.quick)
    settings, said = network_settings(values, variant, weights=order.weights)
    (result,) = reported_later(
        failed,
        finetune,
        part.selection(order.images, values),
        out=part.run,
        settings=settings,
        folds=FoldChoice(
            folds=values["folds"],
            group_by=values.get("group_by"),
            test_list=_test_list(recipe, order, part, fold=change["test_fold"]) if "test_fold" in change else None,
        ),
        work=order.how,
        notes=[*notes, *said],
        tensorboard=values.get("tensorboard", False),
    )
    return result


def _run_frozen(
    recipe: Recipe, order: Order, change: Mapping[str, Any], part: _Part, notes: list[str], failed: list[str]
) -> CrossValidation | None:
    """Describe the images with a frozen encoder and train a classifier on that: the boosted road on the same folds.

    A shard describes its share, and leaves the training to the run without ``--shard``.
    """
    boost = {**change["boost"], **(recipe.quick.get("boost", {}) if order.quick else {})}
    featurize(
        part.selection(order.images, {}),
        out=part.run,
        settings=featurize_settings(change["featurize"], weights=order.weights),
        work=order.how,
    )
    if order.how.shard is not None:
        return None
    (result,) = reported_later(
        failed,
        train,
        out=part.run,
        settings=from_options(BoostSettings, boost, seed=recipe.values("finetune")["seed"]),
        folds=boost["folds"],
        work=replace(order.how, overwrite=False),
        notes=notes,
    )
    return result


def _test_list(recipe: Recipe, order: Order, part: _Part, *, fold: int) -> Path:
    """Write the images that the recipe's own folds test in one fold: the fixed test list of another variant."""
    plan = _plan_folds(recipe, order, next(iter(recipe.variants)), part)
    path = ensure_folder(part.run / "reproduce" / recipe.name) / "test-list.csv"
    write_rows(path, ["image_id"], [[image] for image in plan.images(fold, "test")])
    return path


def _plan_folds(recipe: Recipe, order: Order, variant: str, part: _Part) -> FoldPlan:
    """Make the folds of a variant.

    Raises
    ------
    InputError
        The images do not fit them.
    """
    change = recipe.variants[variant]
    frozen = "featurize" in change
    values = variant_values(recipe, next(iter(recipe.variants)) if frozen else variant, quick=order.quick)
    dataset = _read(order, part.layout, part.magnification, values)
    if part.only is not None:
        dataset = only_listed(dataset, part.only)
    return fold_plan(
        (change["boost"] if frozen else values)["folds"][0],
        image_ids=[record.image_id for record in dataset.records],
        labels=[record.label or "" for record in dataset.records],
        groups=[record.group for record in dataset.records],
        group_by=values.get("group_by"),
        seed=values["seed"],
    )


def plan_cnn(recipe: Recipe, order: Order) -> list[Estimate]:
    """Estimate what `run_cnn` would take, without writing anything; frozen features are not counted.

    Raises
    ------
    InputError
        See `reproduce`.
    """
    estimates = []
    seen: set[tuple[Any, ...]] = set()
    layout = _layout(recipe, order)
    for variant in recipe.chosen(order.variants):
        if "featurize" in recipe.variants[variant]:
            continue
        values = variant_values(recipe, variant, quick=order.quick)
        settings, _ = network_settings(values, variant, weights=order.weights)
        dataset = _read(order, layout, None, values)
        records = dataset.records
        if order.quick:
            parts = max(1, len(recipe.magnifications))
            records = records[: recipe.quick["images_per_class"] * len(dataset.classes) * parts]
        folds = values["folds"][0]
        count = int(folds) if folds.isdecimal() else _OFFICIAL_FOLDS if dataset.name == "breakhis" else 1
        kept = (settings.stain, settings.size if settings.rule.kind == "resize" else 0, values.get("context"))
        estimates.append(
            estimate_cnn(
                records,
                new_images=kept not in seen,
                stage=variant,
                settings=settings,
                classes=len(dataset.classes),
                folds=count,
                parts=max(1, len(recipe.magnifications)),
                how=order.how,
            )
        )
        seen.add(kept)
    return estimates
