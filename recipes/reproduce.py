"""``bchisto reproduce``: a published system by its recipe, published and obtained figures side by side."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..boost import BoostResult, train
from ..data import Dataset, published_folds, read_dataset
from ..errors import InputError
from ..evaluate import Comparison, write_comparisons, write_report
from ..featurize import FeaturizeSettings, featurize, parse_encoder, parse_view
from ..jobs import Shard, default_jobs, ensure_folder
from ..runs import record_run
from .estimate import Estimate, estimate_boosted
from .figures import compare_boosted
from .quick import quick_banner, write_quick
from .recipe import Recipe, load_recipe

__all__ = ["ReproduceResult", "plan_recipe", "reproduce"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReproduceResult:
    """What a recipe made.

    Attributes
    ----------
    recipe : Recipe
    folder : Path
        ``RUN/reproduce/<name>``: the tables as CSV and LaTeX, and ``report.html``.
    protocols : list of BoostResult
    comparisons : list of Comparison
        Of the published variant; empty for a shard, or where that variant was not run.
    banners : tuple of str
        What a reader must know first.
    """

    recipe: Recipe
    folder: Path
    protocols: list[BoostResult]
    comparisons: list[Comparison]
    banners: tuple[str, ...]


@dataclass(frozen=True)
class _Experiment:
    """A recipe brought to these images."""

    recipe: Recipe
    dataset: Dataset
    settings: FeaturizeSettings
    protocols: tuple[str, ...]
    boost: dict[str, Any]
    quick: bool


def _experiment(
    recipe: Recipe,
    images: str | Path,
    *,
    quick: bool,
    full_scale: bool,
    variants: Sequence[str],
    weights: Sequence[str],
) -> _Experiment:
    chosen = list(variants) or list(recipe.variants)[:1]
    unknown = [name for name in chosen if name not in recipe.variants]
    if unknown:
        raise InputError(f"--variant {unknown[0]}: {recipe.name} has the variants {', '.join(recipe.variants)}")
    dataset = read_dataset(images, dataset=recipe.dataset)
    dataset.raise_errors()
    found = {**recipe.values("featurize")}
    boost = recipe.values("boost")
    if full_scale:
        found["view"] = [*found["view"], *recipe.full_scale["view"]]
    if quick:
        found.update({name: recipe.quick[name] for name in ("augmentations", "crops")})
        boost["seeds"] = recipe.quick["seeds"]
    low, high = found["color_range"]
    settings = FeaturizeSettings(
        encoders=tuple(map(parse_encoder, found["encoder"])),
        views=tuple(map(parse_view, found["view"])),
        weights=(*found["weights"], *weights),
        augmentations=found["augmentations"],
        crops=found["crops"],
        pool=float(found["pool"]),
        color_range=(float(low), float(high)),
        stain=found["stain"],
        stain_fallback=found["stain_fallback"],
        precision=found["precision"],
        batch_size=found["batch_size"],
        seed=found["seed"],
    )
    protocols = tuple(dict.fromkeys(name for variant in chosen for name in recipe.variants[variant]["folds"]))
    return _Experiment(recipe, dataset, settings, protocols, boost, quick)


def plan_recipe(
    name: str,
    images: str | Path,
    *,
    quick: bool = False,
    full_scale: bool = False,
    variants: Sequence[str] = (),
    jobs: int | None = None,
) -> list[Estimate]:
    """Estimate what `reproduce` would take, without writing anything.

    Parameters
    ----------
    name, images, quick, full_scale, variants, jobs
        As in `reproduce`.

    Returns
    -------
    list of Estimate
    """
    experiment = _experiment(
        load_recipe(name), images, quick=quick, full_scale=full_scale, variants=variants, weights=("random",)
    )
    records = experiment.dataset.records
    folds = 0
    for protocol in experiment.protocols:
        listed = published_folds(protocol)
        folds += len({fold for _, fold, _ in listed})
    if quick:
        count = experiment.recipe.quick["images_per_class_and_fold"]
        records = records[: min(len(records), count * folds * len(experiment.dataset.classes))]
    return estimate_boosted(
        records,
        settings=experiment.settings,
        folds=folds,
        seeds=experiment.boost["seeds"],
        preset=experiment.boost["preset"],
        classes=len(experiment.dataset.classes),
        jobs=default_jobs() if jobs is None else jobs,
    )


def reproduce(
    name: str,
    images: str | Path,
    *,
    out: str | Path,
    quick: bool = False,
    full_scale: bool = False,
    variants: Sequence[str] = (),
    weights: Sequence[str] = (),
    jobs: int | None = None,
    shard: Shard | None = None,
    dask: str | None = None,
    overwrite: bool = False,
    skip_errors: bool = False,
) -> ReproduceResult:
    """Run a published system by its recipe; does only what is missing.

    Parameters
    ----------
    name : str
        Of `list_recipes`, or the path of a recipe of your own.
    images : str or Path
        The dataset, in its official layout.
    out : str or Path
        The run folder.
    quick : bool
        The same road on a fraction, which every output says.
    full_scale : bool
        Add the views at full scale.
    variants : sequence of str
        Of the recipe; the published one by default.
    weights : sequence of str
        As ``bchisto featurize --weights``; those of the recipe by default.
    jobs, shard, dask, overwrite, skip_errors
        As in `bchisto.featurize.featurize` and `bchisto.boost.train`.

    Returns
    -------
    ReproduceResult

    Raises
    ------
    InputError
        No such recipe or variant, or images that are not the published ones.
    """
    recipe = load_recipe(name)
    experiment = _experiment(recipe, images, quick=quick, full_scale=full_scale, variants=variants, weights=weights)
    run = Path(out)
    config = {
        "name": name,
        "images": str(images),
        "out": str(out),
        "quick": quick,
        "full_scale": full_scale,
        "variants": list(variants),
        "weights": list(weights),
        "skip_errors": skip_errors,
    }
    with record_run(run, command="reproduce", config=config) as record:
        folds, only, notes = list(experiment.protocols), None, []
        if quick:
            count = recipe.quick["images_per_class_and_fold"]
            folds, only = write_quick(experiment.dataset, folds, count=count, folder=ensure_folder(run / "quick"))
            fraction = {key: recipe.quick[key] for key in ("augmentations", "crops", "seeds")}
            notes.append(quick_banner(_rows(only), recipe.images, fraction))
        _log.info("%s, 1/3: describing the images", name)
        featurize(
            images,
            out=run,
            settings=experiment.settings,
            dataset=recipe.dataset,
            only=only,
            jobs=jobs,
            shard=shard,
            dask=dask,
            overwrite=overwrite,
            skip_errors=skip_errors,
        )
        folder = run / "reproduce" / recipe.name
        if shard is not None:
            return ReproduceResult(recipe, folder, [], [], tuple(notes))
        _log.info("%s, 2/3: training the ensembles", name)
        protocols = train(
            out=run,
            folds=folds,
            heads=experiment.boost["head"],
            seeds=experiment.boost["seeds"],
            preset=experiment.boost["preset"],
            seed=experiment.boost["seed"],
            jobs=jobs,
            dask=dask,
            overwrite=overwrite,
            notes=notes,
        )
        _log.info("%s, 3/3: comparing with the published figures", name)
        banners = tuple(dict.fromkeys(banner for result in protocols for banner in result.banners))
        published = [result for result in protocols if result.folder.name.startswith(_published(recipe))]
        comparisons = [
            comparison
            for result in published
            for comparison in compare_boosted(result.folder, recipe.published, note=_note(result.banners))
        ]
        write_comparisons(ensure_folder(folder), comparisons)
        write_report(
            folder / "report.html",
            title=f"{recipe.name}: published and obtained",
            panels=[result.panel for result in protocols if result.panel is not None],
            banners=banners,
            published=comparisons,
            settings={
                "system": f"{recipe.title}. {recipe.citation}",
                **{
                    f"{section} {key}": f"{setting.value} ({setting.source})"
                    for section, settings in recipe.sections.items()
                    for key, setting in settings.items()
                },
            },
        )
        record.note(results={result.folder.name: result.metrics["accuracy"] for result in protocols if result.metrics})
    return ReproduceResult(recipe, folder, protocols, comparisons, banners)


def _published(recipe: Recipe) -> str:
    first = next(iter(recipe.variants.values()))
    return str(first["folds"][0])


def _note(banners: Sequence[str]) -> str:
    kinds = [banner.partition(":")[0] for banner in banners if banner.partition(":")[0].isupper()]
    return f"Not comparable ({', '.join(kinds).lower()})." if kinds else ""


def _rows(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines()) - 1
