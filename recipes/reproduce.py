"""``bchisto reproduce``: a published system by its recipe, published and obtained figures side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..arguments import Many, PathInput, TextInput, as_path, as_texts
from ..errors import InputError, ReportError
from ..evaluate import Comparison, reporting, write_comparisons, write_report
from ..experiment import CrossValidation, Work
from ..jobs import ensure_folder
from ..moved import takes_fields
from ..options import plain_options
from ..runs import record_run
from .boosted import plan_boosted, run_boosted
from .cnn import plan_cnn, run_cnn
from .estimate import Estimate
from .recipe import Recipe, load_recipe
from .work import Order, Outcome

__all__ = ["ReproduceResult", "plan_recipe", "reproduce"]


@dataclass(frozen=True)
class ReproduceResult:
    """What a recipe made.

    Attributes
    ----------
    recipe : Recipe
    folder : Path
        ``RUN/reproduce/<name>``: the tables as CSV and LaTeX, and ``report.html``.
    protocols : sequence of CrossValidation
    comparisons : list of Comparison
        Empty for a shard, or where no published variant was run.
    banners : tuple of str
        What a reader must know first.
    """

    recipe: Recipe
    folder: Path
    protocols: Sequence[CrossValidation]
    comparisons: list[Comparison]
    banners: tuple[str, ...]


@takes_fields(work=Work.of)
def plan_recipe(
    name: str,
    images: PathInput,
    *,
    quick: bool = False,
    full_scale: bool = False,
    variants: Many[TextInput] = (),
    work: Work | None = None,
) -> list[Estimate]:
    """Estimate what `reproduce` would take, without writing anything.

    Parameters
    ----------
    name, images, quick, full_scale, variants, work
        As in `reproduce`.

    Returns
    -------
    list of Estimate
    """
    recipe = _recipe(name, full_scale=full_scale)
    order = Order(
        images=as_path(images, "images"),
        run=Path(),
        quick=quick,
        full_scale=full_scale,
        variants=as_texts(variants, "variants"),
        weights=("random",),
        how=Work.of(work),
    )
    return plan_cnn(recipe, order) if recipe.road == "cnn" else plan_boosted(recipe, order)


@takes_fields(work=Work.of)
def reproduce(
    name: str,
    images: PathInput,
    *,
    out: PathInput,
    quick: bool = False,
    full_scale: bool = False,
    variants: Many[TextInput] = (),
    weights: Many[TextInput] = (),
    work: Work | None = None,
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
    work : Work, optional
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
    how = Work.of(work)
    order = Order(
        images=as_path(images, "images"),
        run=as_path(out, "out"),
        quick=quick,
        full_scale=full_scale,
        variants=as_texts(variants, "variants"),
        weights=as_texts(weights, "weights"),
        how=how,
    )
    recipe, run = _recipe(name, full_scale=full_scale), order.run
    config = {
        "name": name,
        "images": str(order.images),
        "out": str(run),
        "quick": quick,
        "full_scale": full_scale,
        "variants": list(order.variants),
        "weights": list(order.weights),
        **plain_options(how),
    }
    folder = run / "reproduce" / recipe.name
    with record_run(run, command="reproduce", config=config) as record:
        outcome = run_cnn(recipe, order) if recipe.road == "cnn" else run_boosted(recipe, order)
        result = ReproduceResult(recipe, folder, outcome.protocols, outcome.comparisons, outcome.banners)
        if how.shard is None:
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
