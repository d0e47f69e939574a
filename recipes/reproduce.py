"""``bchisto reproduce``: a published system by its recipe, published and obtained figures side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core import InputError, Many, PathInput, ReportError, TextInput, as_path, as_texts, plain_options
from ..crossval import CrossValidation
from ..explain import check_count, show_cases
from ..jobs import Work, ensure_folder
from ..report import PublishedTable, reporting, write_published, write_report
from ..runs import record_run
from .estimate import Estimate
from .form import load_recipe
from .pictures import make_pictures, pictures_of
from .recipe import Recipe, ReproduceRequest, Scope
from .runner import estimate_variants, run_variants
from .settings import build_steps
from .steps import FeaturizeStep


@dataclass(frozen=True)
class ReproduceResult:
    """What a recipe made.

    Attributes
    ----------
    recipe : Recipe
    folder : Path
        ``RUN/reproduce/<name>``: the tables as CSV, and ``report.html``.
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


def estimate_recipe(
    name: str,
    images: PathInput,
    *,
    scope: Scope | None = None,
    weights: Many[TextInput] = (),
    work: Work | None = None,
) -> list[Estimate]:
    """Estimate what `reproduce` would take, without writing anything.

    Parameters
    ----------
    name, images, scope, weights, work
        As in `reproduce`. Weights are those of an encoder that is measured; others are random, since time does not
        depend on them.

    Returns
    -------
    list of Estimate
    """
    recipe, request = _prepared(name, images, Path(), scope=scope, weights=weights, work=work)
    return estimate_variants(recipe, request if recipe.measures_encoder else replace(request, weights=("random",)))


def reproduce(
    name: str,
    images: PathInput,
    *,
    out: PathInput,
    scope: Scope | None = None,
    weights: Many[TextInput] = (),
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
    scope : Scope, optional
        Which parts of the system are run, and how often; by default the published variant, whole and once.
    weights : sequence of str
        As ``bchisto featurize --weights``, for encoders and networks; those of the recipe by default.
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
    recipe, request = _prepared(name, images, out, scope=scope, weights=weights, work=work)
    run, work = request.run, request.work
    config = {
        "name": name, "out": str(run), **plain_options(request), "explain": explain or None,
        **plain_options(work),
    }  # fmt: skip
    folder = run / "reproduce" / recipe.name
    with record_run(run, command=work.recorded_as("reproduce"), config=config, shard=work.shard) as record:
        outcome = run_variants(recipe, request)
        result = ReproduceResult(recipe, folder, outcome.protocols, outcome.published, outcome.banners)
        if work.shard is None:
            failed = list(outcome.unreported)
            with reporting(folder, failed):
                write_published(ensure_folder(folder), outcome.published)
            drawn = make_pictures(pictures_of(recipe, quick=request.quick), outcome.trained, work=work, failed=failed)
            result = replace(result, pictures=tuple(drawn))
            if explain:
                result = replace(result, protocols=show_cases(result.protocols, explain=explain, failed=failed))
            with reporting(folder / "report.html", failed):
                _report(folder / "report.html", request, result, pairs=outcome.pairs)
            accuracies = {
                protocol.folder.name: protocol.metrics["accuracy"] for protocol in outcome.protocols if protocol.metrics
            }
            record.note(results=accuracies)
            if failed:
                raise ReportError(f"{'; '.join(failed)}; all else is written below {run}", result)
    return result


def _report(
    path: Path, request: ReproduceRequest, result: ReproduceResult, *, pairs: Sequence[Mapping[str, Any]]
) -> None:
    recipe = result.recipe
    settings = {
        f"{section} {key}": f"{setting.value} ({setting.source})"
        for section, settings_of_section in recipe.sections.items()
        for key, setting in settings_of_section.items()
    }
    if recipe.measures_encoder:
        features = next(step for step in build_steps(recipe, request, recipe.first) if isinstance(step, FeaturizeStep))
        used = plain_options(features.settings)
        settings |= {f"featurize {key}": f"{used[key]} (brought by the encoder)" for key in features.brought}
        settings["featurize encoders"] = str(used["encoders"])
    if request.fresh_draws:
        settings["featurize draws"] = "new colours and crops for each feature file (code)"
    if result.pictures:
        pages = (page.relative_to(request.run).as_posix() for page in result.pictures)
        settings["images, in the run folder"] = ", ".join(pages)
    write_report(
        path,
        title=f"{recipe.name}: published and obtained",
        panels=[protocol.panel for protocol in result.protocols if protocol.panel is not None],
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
    scope: Scope | None,
    weights: Many[TextInput],
    work: Work | None,
) -> tuple[Recipe, ReproduceRequest]:
    """Return a recipe and what is asked of it, where the recipe has that."""
    asked = {**vars(Scope.of(scope)), "weights": as_texts(weights, "weights")}
    request = ReproduceRequest(images=as_path(images, "images"), run=as_path(out, "out"), work=Work.of(work), **asked)
    recipe = load_recipe(name)
    if recipe.measures_encoder and not request.encoders:
        raise InputError("{}: measures an encoder; name it with {encoders:NAME}", recipe.name)
    if request.encoders and not recipe.measures_encoder:
        raise InputError("{encoders} {}: {} names its own", request.encoders[0], recipe.name)
    if request.full_scale and "views" not in recipe.full_scale:
        raise InputError("{full_scale}: {} has no views at full scale", recipe.name)
    if request.fresh_draws and "featurize" not in recipe.sections:
        raise InputError("{fresh_draws}: {} extracts no features with frozen encoders", recipe.name)
    return recipe, request
