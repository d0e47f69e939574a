"""``bchisto reproduce``, ``bchisto trial`` and ``bchisto demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..core import InputError, Message, from_options
from ..core.jobs import Work, network_resources
from .ending import (
    advice,
    done,
    echo,
    end_check,
    given_options,
    quoted,
    recommended_options,
    reported_last,
    results,
    room_above,
)
from .options import PATH, Options, argument, command, flag, options_of, out_flag
from .train import featurize, fetch_missing, prediction_with, yes_flag


def _demo_options() -> Options:
    yield out_flag("The run folder.", required=False, default="demo-run")
    yield from options_of(Work, "jobs")


@command(options=_demo_options)
def demo(**options: Any) -> None:
    """Try it on 472 patches of breast tissue that come along, in a minute on a laptop.

    Trains a model, writes its report, and predicts and maps a slide that it has not seen. Needs no network.

    \b
    Example: bchisto demo --out demo-run
    """
    from ..apps.recipes import demo as run
    from ..crossval import summary_of

    outcome = from_options(run, options)
    outputs = [options["out"] / "report.html", outcome.predictions, outcome.maps]
    then = "bchisto trial --images DIR"
    results(summary_of(outcome.trial.results, room=room_above(outputs, then)))
    done(outputs, then=then)


def _trial_options() -> Options:
    from ..data import ImageSelection
    from ..evaluate import TwoClassView
    from ..featurize import FeaturizeSettings

    yield from options_of(ImageSelection, "images")
    yield out_flag("The run folder.", required=False, default="trial")
    yield from options_of(ImageSelection, but=("images", "only"))
    yield from options_of(
        FeaturizeSettings, "encoders", "weights", encoders={"default": ()}, weights={"default": ()}
    )
    yield from options_of(TwoClassView, "positive")
    yield from options_of(Work, "skip_errors", "jobs")
    yield yes_flag()


@command(options=_trial_options, first=("images", "out", "group_from", "encoders", "jobs"))
@click.pass_context
def trial(context: click.Context, /, yes: bool, **options: Any) -> None:
    """Give a first answer on your images, in minutes to an hour.

    Checks them, extracts features, trains three classifiers and writes a report. Takes the preset quick with 4
    augmentations, views that fit, and folds that the images allow.

    \b
    Example: bchisto trial --images DIR --out trial
    """
    from ..apps.recipes import trial as run
    from ..crossval import offered, summary_of

    out = options["out"]
    encoders = options["encoders"]
    weights = options["weights"]
    fetch_missing(encoders, weights, yes=yes)
    outcome, error = reported_last(lambda: from_options(run, options))
    protocols = outcome.results
    commands: list[str] = []
    if not encoders and not weights:
        flags = given_options(context, featurize, but=("out",))
        flags += "".join(recommended_options(outcome.check.findings).values())
        standard = quoted(f"{out}-standard")
        commands.append(f"bchisto featurize{flags} --out {standard} --preset standard")
    best = offered(protocols)
    line = outcome.patients
    # if no patient is known, but names may hold them
    if isinstance(line, Message) and "{group_from:" in line.template:
        *_, pattern = line.parts
        flags = given_options(context, context.command, but=("out",))
        commands = [f"bchisto trial{flags} --group-from {quoted(pattern)} --out {quoted(out)}"]
    elif best is None:
        commands.append(advice(protocols))
    else:
        commands.append(prediction_with(out, best.model))
    outputs = [out / "report.html"]
    failures = len(protocols[0].failures)
    results(summary_of(protocols, room=room_above(outputs, commands, failures)))
    if error is not None:
        raise error
    done(outputs, then=commands, failures=failures, listed=out / "failures.csv")


def _options() -> Options:
    from ..apps.recipes import Scope

    yield argument("name", metavar="NAME")
    yield flag("--images", group="Input", type=PATH, help="The dataset, in its official layout.")
    yield out_flag("The run folder.", required=False)
    yield from options_of(Scope, "quick")
    yield flag(
        "--plan",
        group="Speed",
        is_flag=True,
        help="Print units, estimated time and disk from a few timed units, and stop.",
    )
    yield from options_of(Scope, "encoders", "variants")
    yield flag("--all-variants", is_flag=True, help="Every variant of the recipe.")
    yield from options_of(Scope, "full_scale", "fresh_draws")
    yield flag(
        "--settings",
        "show",
        group="Output",
        is_flag=True,
        help="Print every setting that would be used, defaults included, with its source, and stop.",
    )
    yield flag(
        "--weights",
        multiple=True,
        help="imagenet, random, PATH or ENCODER=PATH; default: those of the recipe.",
    )
    yield from options_of(Scope, "test_images", "seeds", "engine")
    yield from options_of(Work, in_file=("threads",))
    yield yes_flag()


@command(options=_options, first=("images", "out", "quick", "plan", "jobs"))
def reproduce(
    name: str,
    images: Path | None,
    out: Path | None,
    weights: tuple[str, ...],
    yes: bool,
    **options: Any,
) -> None:
    """Run a published system, and compare published and obtained results.

    NAME is rakhlin2018, breakhis-resnet, idc-patches, inbreast-inception, ddsm-masses; with --encoder bach-encoder,
    breakhis-encoder, idc-encoder; or the path of a recipe of your own.

    \b
    Example: bchisto reproduce rakhlin2018 --images ICIAR2018_BACH_Challenge \\
        --out run --quick
    """
    from ..apps.recipes import Scope, describe_recipe, estimate_recipe, estimate_text, load_recipe
    from ..apps.recipes import reproduce as run
    from ..crossval import summary_of

    recipe = load_recipe(name)
    if options["all_variants"]:
        options["variants"] = tuple(recipe.variants)
    scope = from_options(Scope, options)
    if options["show"]:
        echo(*describe_recipe(name, scope=scope, weights=weights), lines=True)
        return
    if images is None:
        raise InputError(Message("give {images}, the dataset in its official layout"))
    work = from_options(Work, options)
    fetch_missing(scope.encoders, weights, yes=yes)
    if options["plan"]:
        stages = estimate_recipe(name, images, scope=scope, weights=weights, work=work)
        echo(estimate_text(stages, jobs=network_resources(work.jobs).processes), lines=True)
        return
    if out is None:
        raise InputError(Message("give {out}, the run folder"))
    result, error = reported_last(
        lambda: run(name, images, out=out, weights=weights, scope=scope, work=work)
    )
    end_check()
    if not result.merged:
        done([], then=Message("the other shards, then the same command without {shard}"))
        return
    outputs = [*result.pictures, result.folder / "report.html"]
    room = room_above(outputs)
    results(summary_of(result.protocols, out, room=room, notes=result.banners))
    echo(*(f"\n{table.text()}" for table in result.published), lines=True)
    if error is not None:
        raise error
    done(outputs)
