"""``bchisto reproduce``: a published system by its recipe, published and obtained figures side by side."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..arguments import Many, PathInput, TextInput, as_path, as_texts
from ..errors import InputError, ReportError
from ..evaluate import PublishedTable, reporting, write_published, write_report
from ..experiment import CrossValidation, Work
from ..explain import check_count, show_cases
from ..jobs import ensure_folder
from ..moved import takes_fields
from ..options import plain_options
from ..runs import record_run
from .estimate import Estimate
from .form import load_recipe
from .pictures import make_pictures, pictures_of
from .recipe import Order, Recipe
from .runner import estimate_variants, run_variants


@dataclass(frozen=True)
class ReproduceResult:
    """What a recipe made.

    Attributes
    ----------
    recipe : Recipe
    folder : Path
        ``RUN/reproduce/<name>``: the tables as CSV and LaTeX, and ``report.html``.
    protocols : sequence of CrossValidation
    published : list of PublishedTable
        Published figures beside those of this run; empty for a shard, or where no published variant was run.
    banners : tuple of str
        What a reader must know first.
    pictures : tuple of Path
        Contact sheets of the pictures of the source, as pages.
    """

    recipe: Recipe
    folder: Path
    protocols: Sequence[CrossValidation]
    published: list[PublishedTable]
    banners: tuple[str, ...]
    pictures: tuple[Path, ...] = ()

    @property
    def comparisons(self) -> list[PublishedTable]:
        """The name that `published` had before 0.2."""
        warnings.warn("comparisons is published now; the old name goes with the next release", DeprecationWarning, 2)
        return self.published


@takes_fields(work=Work.of)
def estimate_recipe(
    name: str,
    images: PathInput,
    *,
    quick: bool = False,
    full_scale: bool = False,
    fresh_draws: bool = False,
    variants: Many[TextInput] = (),
    seeds: int = 1,
    work: Work | None = None,
) -> list[Estimate]:
    """Estimate what `reproduce` would take, without writing anything.

    Parameters
    ----------
    name, images, quick, full_scale, fresh_draws, variants, seeds, work
        As in `reproduce`.

    Returns
    -------
    list of Estimate
    """
    asked = {"quick": quick, "full_scale": full_scale, "fresh_draws": fresh_draws, "seeds": seeds}
    return estimate_variants(*_prepared(name, images, Path(), variants=variants, weights="random", work=work, **asked))


@takes_fields(work=Work.of)
def reproduce(
    name: str,
    images: PathInput,
    *,
    out: PathInput,
    quick: bool = False,
    full_scale: bool = False,
    fresh_draws: bool = False,
    variants: Many[TextInput] = (),
    weights: Many[TextInput] = (),
    seeds: int = 1,
    explain: int = 0,
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
    fresh_draws : bool
        Draw colours and crops anew for each store, as the code of the source did; by default all stores share them.
    variants : sequence of str
        Of the recipe; the published one by default.
    weights : sequence of str
        As ``bchisto featurize --weights``, for encoders and networks; those of the recipe by default.
    seeds : int
        How often all of it is run, with seeds that follow each other; further ones in ``seed-1``, ... of the run
        folder. Conclusions of the source are judged from three on.
    explain : int
        Show so many of the surest right cases of each class in the reports, and as many wrong ones, with maps; see
        `bchisto.explain.show_cases`.
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
    if explain:
        check_count(explain)
    asked = {"quick": quick, "full_scale": full_scale, "fresh_draws": fresh_draws, "seeds": seeds}
    recipe, order = _prepared(name, images, out, variants=variants, weights=weights, work=work, **asked)
    run, how = order.run, order.how
    config = {"name": name, **plain_options(order), "explain": explain or None, **plain_options(how)}
    folder = run / "reproduce" / recipe.name
    with record_run(run, command="reproduce", config=config) as record:
        outcome = run_variants(recipe, order)
        result = ReproduceResult(recipe, folder, outcome.protocols, outcome.published, outcome.banners)
        if how.shard is None:
            failed = list(outcome.unreported)
            with reporting(folder, failed):
                write_published(ensure_folder(folder), outcome.published)
            drawn = make_pictures(pictures_of(recipe, quick=quick), outcome.trained, how=how, failed=failed)
            result = replace(result, pictures=tuple(drawn))
            if explain:
                result = replace(result, protocols=show_cases(result.protocols, explain=explain, failed=failed))
            with reporting(folder / "report.html", failed):
                _report(folder / "report.html", order, result, pairs=outcome.pairs)
            accuracies = {one.folder.name: one.metrics["accuracy"] for one in outcome.protocols if one.metrics}
            record.note(results=accuracies)
            if failed:
                raise ReportError(f"{'; '.join(failed)}; all else is written below {run}", result)
    return result


def _report(path: Path, order: Order, result: ReproduceResult, *, pairs: Sequence[Mapping[str, Any]]) -> None:
    recipe = result.recipe
    settings = {
        f"{section} {key}": f"{setting.value} ({setting.source})"
        for section, found in recipe.sections.items()
        for key, setting in found.items()
    }
    if order.fresh_draws:
        settings["featurize draws"] = "colours and crops anew for each store (code)"
    if result.pictures:
        pages = (page.relative_to(order.run).as_posix() for page in result.pictures)
        settings["pictures, in the run folder"] = ", ".join(pages)
    write_report(
        path,
        title=f"{recipe.name}: published and obtained",
        panels=[one.panel for one in result.protocols if one.panel is not None],
        banners=result.banners,
        published=result.published,
        pairs=pairs,
        settings={"system": f"{recipe.title}. {recipe.citation}", **settings},
    )


def _prepared(
    name: str,
    images: PathInput,
    out: PathInput,
    *,
    variants: Many[TextInput],
    weights: Many[TextInput],
    work: Work | None,
    **asked: Any,
) -> tuple[Recipe, Order]:
    """Return a recipe and what is asked of it, where the recipe has that."""
    asked |= {"variants": as_texts(variants, "variants"), "weights": as_texts(weights, "weights")}
    order = Order(as_path(images, "images"), as_path(out, "out"), how=Work.of(work), **asked)
    recipe = load_recipe(name)
    if order.full_scale and "view" not in recipe.full_scale:
        raise InputError(f"`full_scale`: {recipe.name} has no views at full scale")
    if order.fresh_draws and "featurize" not in recipe.sections:
        raise InputError(f"`fresh_draws`: {recipe.name} describes no images with frozen encoders")
    return recipe, order
