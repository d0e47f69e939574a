"""``bchisto reproduce``: a published system by its recipe, published and obtained figures side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..arguments import Many, PathInput, TextInput, as_path, as_texts
from ..boost import BoostResult
from ..errors import InputError, ReportError
from ..evaluate import Comparison, reporting, write_comparisons, write_report
from ..finetune import FinetuneResult
from ..jobs import Shard, ensure_folder
from ..runs import record_run
from .boosted import plan_boosted, run_boosted
from .cnn import plan_cnn, run_cnn
from .estimate import Estimate
from .recipe import Recipe, load_recipe
from .work import Outcome, Work

__all__ = ["ReproduceResult", "plan_recipe", "reproduce"]


@dataclass(frozen=True)
class ReproduceResult:
    """What a recipe made.

    Attributes
    ----------
    recipe : Recipe
    folder : Path
        ``RUN/reproduce/<name>``: the tables as CSV and LaTeX, and ``report.html``.
    protocols : sequence of BoostResult or FinetuneResult
    comparisons : list of Comparison
        Empty for a shard, or where no published variant was run.
    banners : tuple of str
        What a reader must know first.
    """

    recipe: Recipe
    folder: Path
    protocols: Sequence[BoostResult | FinetuneResult]
    comparisons: list[Comparison]
    banners: tuple[str, ...]


def plan_recipe(
    name: str,
    images: PathInput,
    *,
    quick: bool = False,
    full_scale: bool = False,
    variants: Many[TextInput] = (),
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
    images = as_path(images, "images")
    variants = as_texts(variants, "variants")
    recipe = _recipe(name, full_scale=full_scale)
    work = Work(
        images=Path(images),
        run=Path(),
        quick=quick,
        full_scale=full_scale,
        variants=tuple(variants),
        weights=("random",),
        jobs=jobs,
    )
    return plan_cnn(recipe, work) if recipe.road == "cnn" else plan_boosted(recipe, work)


def reproduce(
    name: str,
    images: PathInput,
    *,
    out: PathInput,
    quick: bool = False,
    full_scale: bool = False,
    variants: Many[TextInput] = (),
    weights: Many[TextInput] = (),
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
        Add the views at full scale, where the recipe has some.
    variants : sequence of str
        Of the recipe; the published one by default.
    weights : sequence of str
        As ``bchisto featurize --weights``, for encoders and networks; those of the recipe by default.
    jobs, shard, dask, overwrite, skip_errors
        As in `bchisto.featurize.featurize`, `bchisto.boost.train` and `bchisto.finetune.finetune`.

    Returns
    -------
    ReproduceResult

    Raises
    ------
    InputError
        No such recipe or variant, or images that are not the published ones.
    ReportError
        A report could not be written; all else is, and ``results`` holds what would have been returned.
    """
    images = as_path(images, "images")
    out = as_path(out, "out")
    variants = as_texts(variants, "variants")
    weights = as_texts(weights, "weights")
    recipe = _recipe(name, full_scale=full_scale)
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
    work = Work(
        images=Path(images),
        run=run,
        quick=quick,
        full_scale=full_scale,
        variants=tuple(variants),
        weights=tuple(weights),
        jobs=jobs,
        shard=shard,
        dask=dask,
        overwrite=overwrite,
        skip_errors=skip_errors,
    )
    folder = run / "reproduce" / recipe.name
    with record_run(run, command="reproduce", config=config) as record:
        outcome = run_cnn(recipe, work) if recipe.road == "cnn" else run_boosted(recipe, work)
        result = ReproduceResult(recipe, folder, outcome.protocols, outcome.comparisons, outcome.banners)
        if shard is None:
            failed = list(outcome.unreported)
            with reporting(folder, failed):
                write_comparisons(ensure_folder(folder), outcome.comparisons)
            with reporting(folder / "report.html", failed):
                _report(folder / "report.html", recipe, outcome)
            done = {result.folder.name: result.metrics for result in outcome.protocols}
            record.note(results={key: metrics["accuracy"] for key, metrics in done.items() if metrics})
            if failed:
                raise ReportError(f"{'; '.join(failed)}; all else is written below {run}", result)
    return result


def _report(path: Path, recipe: Recipe, outcome: Outcome) -> None:
    settings = {
        f"{section} {key}": f"{setting.value} ({setting.source})"
        for section, found in recipe.sections.items()
        for key, setting in found.items()
    }
    write_report(
        path,
        title=f"{recipe.name}: published and obtained",
        panels=[result.panel for result in outcome.protocols if result.panel is not None],
        banners=outcome.banners,
        published=outcome.comparisons,
        comparisons=outcome.pairs,
        settings={"system": f"{recipe.title}. {recipe.citation}", **settings},
    )


def _recipe(name: str, *, full_scale: bool) -> Recipe:
    recipe = load_recipe(name)
    if full_scale and "view" not in recipe.full_scale:
        raise InputError(f"--full-scale: {recipe.name} has no views at full scale")
    return recipe
