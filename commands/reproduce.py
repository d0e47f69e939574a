"""``bchisto reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .ending import done, echo, quoted
from .options import common_options, explain_option, threads_option, work_options


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--images", type=click.Path(path_type=Path), help="The dataset, in its official layout.")
@click.option("--out", type=click.Path(path_type=Path), help="The run folder.")
@click.option("--quick", is_flag=True, help="The same road on a fraction, in minutes; every output says so.")
@click.option("--plan", is_flag=True, help="Print units, estimated time and disk from a few timed units, and stop.")
@click.option(
    "--variant", "variants", multiple=True, help="A variant of the recipe; repeatable; default: as published."
)
@click.option("--all-variants", is_flag=True, help="Every variant of the recipe.")
@click.option("--full-scale", is_flag=True, help="Add the views at full scale.")
@click.option(
    "--fresh-draws",
    is_flag=True,
    help="Draw colours and crops anew for each store, as the published code did; default: shared by all.",
)
@click.option("--settings", "show", is_flag=True, help="Print every setting of the recipe with its source, and stop.")
@click.option("--weights", multiple=True, help="imagenet, random, PATH, or ENCODER=PATH; default: those of the recipe.")
@click.option(
    "--seeds",
    type=int,
    default=1,
    show_default=True,
    help="How often all of it is run, with seeds that follow each other; conclusions are judged from three on.",
)
@click.option("--skip-errors", is_flag=True, help="Leave out images that cannot be used, and exit with 1.")
@explain_option
@work_options
@threads_option
@common_options
@click.pass_context
def reproduce(context: click.Context, /, name: str, **options: Any) -> None:
    """Run a published system by its recipe: published and obtained figures side by side.

    NAME is rakhlin2018, breakhis-resnet, idc-patches, inbreast-inception, ddsm-masses, or the path of a recipe of your
    own.

    \b
    Example: bchisto reproduce rakhlin2018 --images ICIAR2018_BACH_Challenge --out run --quick
    """
    from ..errors import ReportError
    from ..experiment import Work
    from ..options import from_options
    from ..recipes import estimate_recipe, estimate_text, load_recipe
    from ..recipes import reproduce as run

    recipe = load_recipe(name)
    if options["show"]:
        echo(f"{recipe.name}: {recipe.title}\n{recipe.citation}", lines=True)
        echo("\n".join(recipe.describe()), lines=True)
        return
    if options["images"] is None:
        raise click.UsageError("give --images, the dataset in its official layout")
    variants = tuple(recipe.variants) if options["all_variants"] else options["variants"]
    how = from_options(Work, options)
    if options["plan"]:
        stages = estimate_recipe(
            name,
            options["images"],
            quick=options["quick"],
            full_scale=options["full_scale"],
            fresh_draws=options["fresh_draws"],
            variants=variants,
            seeds=options["seeds"],
            work=how,
        )
        echo(estimate_text(stages, jobs=how.networks().processes), lines=True)
        return
    if options["out"] is None:
        raise click.UsageError("give --out, the run folder")
    failed: ReportError | None = None
    try:
        result = run(
            name,
            options["images"],
            out=options["out"],
            quick=options["quick"],
            full_scale=options["full_scale"],
            fresh_draws=options["fresh_draws"],
            variants=variants,
            weights=options["weights"],
            seeds=options["seeds"],
            explain=options["explain"] or 0,
            work=how,
        )
    except ReportError as error:
        failed, result = error, error.results
    if how.shard is not None:
        done(context, wrote=[], then="the other shards, then the same command without --shard")
        return
    for banner in result.banners:
        echo(banner)
    for one in result.protocols:
        for line in one.figures(str(one.folder.relative_to(options["out"]))):
            echo(line)
    for table in result.published:
        echo(f"\n{table.text()}", lines=True)
    if failed is not None:
        raise failed
    report = result.folder / "report.html"
    done(context, wrote=[*result.pictures, report], then=f"open {quoted(report)}")
