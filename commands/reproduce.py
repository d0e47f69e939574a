"""``bchisto reproduce``."""

from __future__ import annotations

from typing import Any

import click

from .ending import done, echo, reported_last
from .images import skip_errors_option
from .options import OUT_FOLDER, PATH, Command, explain_option, option, threads_option, work_options


@click.command(cls=Command)
@click.argument("name", metavar="NAME")
@option("--images", type=PATH, help="The dataset, in its official layout.")
@option("--out", type=OUT_FOLDER, help="The run folder.")
@option("--quick", is_flag=True, help="The same road on a fraction, in minutes; every output says so.")
@option("--plan", is_flag=True, help="Print units, estimated time and disk from a few timed units, and stop.")
@option("--variant", "variants", multiple=True, help="A variant of the recipe; repeatable; default: as published.")
@option("--all-variants", is_flag=True, help="Every variant of the recipe.")
@option("--full-scale", is_flag=True, help="Add the views at full scale.")
@option(
    "--fresh-draws",
    is_flag=True,
    help="Draw colours and crops anew for each store, as the published code did; default: shared by all.",
)
@option("--settings", "show", is_flag=True, help="Print every setting of the recipe with its source, and stop.")
@option("--weights", multiple=True, help="imagenet, random, PATH, or ENCODER=PATH; default: those of the recipe.")
@option(
    "--seeds",
    type=int,
    default=1,
    help="How often all of it is run, with seeds that follow each other; conclusions are judged from three on.",
)
@skip_errors_option
@explain_option
@work_options
@threads_option
def reproduce(name: str, **options: Any) -> None:
    """Run a published system by its recipe: published and obtained figures side by side.

    NAME is rakhlin2018, breakhis-resnet, idc-patches, inbreast-inception, ddsm-masses, or the path of a recipe of your
    own.

    \b
    Example: bchisto reproduce rakhlin2018 --images ICIAR2018_BACH_Challenge --out run --quick
    """
    from ..jobs import Work
    from ..options import from_options
    from ..recipes import Scope, estimate_recipe, estimate_text, load_recipe
    from ..recipes import reproduce as run

    recipe = load_recipe(name)
    if options["show"]:
        echo(f"{recipe.name}: {recipe.title}\n{recipe.citation}", *recipe.describe(), lines=True)
        return
    if options["images"] is None:
        raise click.UsageError("give --images, the dataset in its official layout")
    how = from_options(Work, options)
    if options["all_variants"]:
        options["variants"] = tuple(recipe.variants)
    scope = from_options(Scope, options)
    if options["plan"]:
        stages = estimate_recipe(name, options["images"], scope=scope, work=how)
        echo(estimate_text(stages, jobs=how.networks().processes), lines=True)
        return
    if options["out"] is None:
        raise click.UsageError("give --out, the run folder")
    result, failed = reported_last(
        lambda: run(
            name,
            options["images"],
            out=options["out"],
            weights=options["weights"],
            explain=options["explain"] or 0,
            scope=scope,
            work=how,
        )
    )
    if how.shard is not None:
        done([], then="the other shards, then the same command without --shard")
        return
    echo(*result.banners)
    for one in result.protocols:
        echo(*one.figures(str(one.folder.relative_to(options["out"]))))
    echo(*(f"\n{table.text()}" for table in result.published), lines=True)
    if failed is not None:
        raise failed
    report = result.folder / "report.html"
    done([*result.pictures, report])
