"""``bchisto reproduce``: run a published system by its recipe, and compare published and obtained figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...core import (
    Banner,
    Entries,
    InputError,
    Many,
    PathInput,
    ReportError,
    TextInput,
    converted,
    plain_options,
)
from ...core.jobs import Work
from ...core.runs import record_run
from ...crossval import CrossValidation
from ...encoders import check_encoder_names, weight_options
from ...evaluate.report import PublishedTable, reporting, write_published, write_report
from .estimate import Estimate
from .form import load_recipe
from .pictures import make_pictures, pictures_of
from .recipe import Recipe, ReproduceRequest, Scope
from .runner import estimate_variants, pairs_of, run_variants
from .settings import describe_settings, differing


@dataclass(frozen=True)
class ReproduceResult:
    """The result of a recipe.

    Attributes
    ----------
    recipe : Recipe
    folder : Path
        ``RUN/reproduce/<name>``, with the tables as CSV, and ``report.html``.
    protocols : sequence of CrossValidation
        Results of each variant and cross-validation scheme.
    published : list of PublishedTable
        Published and obtained figures; empty for a shard, or if no published variant was run.
    banners : tuple of Banner
        Warnings at the top of the report.
    pictures : tuple of Path
        HTML pages of explanations.
    merged : bool
        Whether all is put together, which a shard leaves to a later call.
    """

    recipe: Recipe
    folder: Path
    protocols: Sequence[CrossValidation]
    published: list[PublishedTable]
    banners: tuple[Banner, ...]
    pictures: tuple[Path, ...] = ()
    merged: bool = True


def estimate_recipe(
    name: str,
    images: PathInput,
    *,
    scope: Scope | None = None,
    weights: Many[TextInput] = (),
    work: Work | None = None,
) -> list[Estimate]:
    """Estimate units, time and disk space of `reproduce`, without writing anything.

    Parameters
    ----------
    name, images, scope, weights, work
        As in `reproduce`. Weights are used only for an encoder that the recipe measures; other networks have random
        weights, since the time does not depend on them.

    Returns
    -------
    list of Estimate
    """
    recipe, request = _prepared(name, images, scope=scope, weights=weights, work=work)
    if not recipe.measures_encoder:
        request = replace(request, weights=("random",))
    return estimate_variants(recipe, request)


def describe_recipe(name: str, *, scope: Scope, weights: Many[TextInput]) -> list[str]:
    """Return lines with every setting that `reproduce` would use, defaults included, and its source.

    Parameters
    ----------
    name, scope, weights
        As in `reproduce`. The first chosen variant has all its settings, the others what differs from it.

    Raises
    ------
    InputError
        The recipe or a variant does not exist.
    """
    recipe, request = _prepared(name, scope=scope, weights=weights)
    return [f"{recipe.name}: {recipe.title}", recipe.citation, *describe_settings(recipe, request)]


def reproduce(
    name: str,
    images: PathInput,
    *,
    out: PathInput,
    scope: Scope | None = None,
    weights: Many[TextInput] = (),
    work: Work | None = None,
) -> ReproduceResult:
    """Run a published system by its recipe, and compare its figures with the published ones.

    Work that was finished by an earlier call is not repeated.

    Parameters
    ----------
    name : str
        One of `list_recipes`, or the path of your own recipe.
    images : str or Path
        The dataset, in its official layout.
    out : str or Path
        The run folder.
    scope : Scope, optional
        Which parts of the system are run, and how often; by default the complete published variant, once.
    weights : sequence of str, or mapping
        Weights of encoders and networks, as in `bchisto.featurize.FeaturizeSettings`; by default those of the recipe.
    work : Work, optional
        As in `bchisto.featurize.featurize`, `bchisto.boost.train` and `bchisto.finetune.finetune`.

    Returns
    -------
    ReproduceResult

    Raises
    ------
    InputError
        The recipe or a variant does not exist, or the images are not the published ones.
    ReportError
        A report could not be written, but everything else was; its ``results`` is the return value.
    """
    recipe, request = _prepared(name, images, out, scope=scope, weights=weights, work=work)
    run = request.run
    work = request.work
    config = {"name": name, "out": str(run), **plain_options(request), **plain_options(work)}
    folder = run / "reproduce" / recipe.name
    with record_run(run, command="reproduce", config=config, work=work) as record:
        recipe_run = run_variants(recipe, request)
        result = ReproduceResult(
            recipe, folder, recipe_run.results, recipe_run.published, recipe_run.banners
        )
        if work.shard is not None:
            return replace(result, merged=False)
        failed = recipe_run.failed
        with reporting(folder, failed):
            write_published(folder, recipe_run.published)
        pictures = pictures_of(recipe, quick=request.quick)
        pages = make_pictures(pictures, recipe_run.trained, work=work, failed=failed)
        result = replace(result, pictures=tuple(pages))
        with reporting(folder / "report.html", failed):
            _report(folder / "report.html", request, result, pairs=pairs_of(recipe_run.obtained))
        accuracies = {
            str(protocol.folder.relative_to(run)): protocol.metrics["accuracy"]["value"]
            for protocol in result.protocols
            if protocol.metrics
        }
        record.note(results=accuracies)
        if failed:
            raise ReportError(f"{'; '.join(failed)}; all else is written below {run}", result)
    return result


def _report(
    path: Path,
    request: ReproduceRequest,
    result: ReproduceResult,
    *,
    pairs: Sequence[Entries],
) -> None:
    """Write the HTML report, with the settings of each variant and their sources."""
    recipe = result.recipe
    settings: dict[str, str] = {}
    for variant, differences in differing(recipe, request):
        prefix = f"{variant}: " if settings else ""
        for setting in differences:
            name = f"{prefix}{setting.step} {setting.name}"
            settings[name] = f"{setting.value} ({setting.source})"
    if request.fresh_draws:
        settings["featurize draws"] = "new colours and crops for each feature file (code)"
    if result.pictures:
        pages = (page.relative_to(request.run).as_posix() for page in result.pictures)
        settings["images, in the run folder"] = ", ".join(pages)
    write_report(
        path,
        title=f"{recipe.name}: published and obtained",
        banners=result.banners,
        published=result.published,
        panels=[protocol.panel for protocol in result.protocols if protocol.panel is not None],
        pairs=pairs,
        settings={"system": f"{recipe.title}. {recipe.citation}", **settings},
    )


def _prepared(
    name: str,
    images: PathInput = ".",
    out: PathInput = ".",
    *,
    scope: Scope | None,
    weights: Many[TextInput],
    work: Work | None = None,
) -> tuple[Recipe, ReproduceRequest]:
    """Return the recipe and the request, after checking that the recipe supports the request."""
    request = ReproduceRequest(
        images=converted(images, "images", Path),
        run=converted(out, "out", Path),
        work=Work.of(work),
        weights=weight_options(weights),
        **vars(Scope.of(scope)),
    )
    check_encoder_names((), request.weights)
    recipe = load_recipe(name)
    if recipe.measures_encoder and not request.encoders:
        raise InputError("{}: measures an encoder; name it with {encoders:NAME}", recipe.name)
    if request.encoders and not recipe.measures_encoder:
        raise InputError("{encoders} {}: {} names its own", request.scope.encoders[0], recipe.name)
    if request.full_scale and "views" not in recipe.full_scale:
        raise InputError("{full_scale}: {} has no views at full scale", recipe.name)
    if request.fresh_draws and "featurize" not in recipe.sections:
        raise InputError("{fresh_draws}: {} extracts no features with frozen encoders", recipe.name)
    return recipe, request
