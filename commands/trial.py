"""``bchisto trial`` and ``bchisto demo``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from .encoder import fetch_missing, yes_flag
from .ending import done, echo, quoted, reported_last, results
from .featurize import featurize
from .options import OUT_FOLDER, Command, flag, options_of
from .then import given_options


def _demo_options() -> Iterator[click.Parameter]:
    from ..core.jobs import Work

    yield flag("--out", group="Output", type=OUT_FOLDER, default="demo-run", help="The run folder.")
    yield flag("--images-per-class", group="Input", type=int, default=6, help="At least 5.")
    yield flag("--seed", type=int, default=0, help="Random seed.")
    yield from options_of(Work, "jobs")


@click.command(cls=Command, options=_demo_options)
def demo(out: Path, images_per_class: int, seed: int, jobs: int | None) -> None:
    """Try all of it on synthetic tissue, in minutes on a laptop.

    \b
    Example: bchisto demo --out demo-run
    """
    from ..apps.recipes import demo as run
    from ..core.jobs import Work

    boosted = run(out, images_per_class=images_per_class, seed=seed, work=Work(jobs=jobs)).boost
    results(boosted.summary(), set())
    done(
        [boosted.report, boosted.model],
        then="bchisto trial --images DIR",
    )


def _options() -> Iterator[click.Parameter]:
    from ..core.jobs import Work
    from ..data import ImageSelection
    from ..featurize import FeaturizeSettings

    yield from options_of(ImageSelection, "images")
    yield flag("--out", group="Output", type=OUT_FOLDER, default="trial", help="The run folder.")
    yield from options_of(ImageSelection, but=("images", "only"))
    yield from options_of(FeaturizeSettings, "encoders", "weights", encoders={"default": ()}, weights={"default": ()})
    yield from options_of(Work, "skip_errors", "jobs")
    yield yes_flag()


@click.command(cls=Command, options=_options, first=("images", "out", "group_from", "encoders", "jobs"))
@click.pass_context
def trial(context: click.Context, /, yes: bool, **options: Any) -> None:
    """Give a first answer on your images, in minutes to an hour.

    Checks them, extracts features, trains two classifiers and writes a report. Takes the preset quick, views that
    fit, and folds that the images allow.

    \b
    Example: bchisto trial --images DIR --out trial
    """
    from ..apps.recipes import trial as run
    from ..core import from_options
    from ..core.jobs import Work
    from ..data import ImageSelection
    from ..encoders import EncoderChoice

    selection, work, out = from_options(ImageSelection, options), from_options(Work, options), options["out"]
    encoders, weights = options["encoders"], options["weights"]
    fetch_missing([EncoderChoice.parse(name) for name in encoders], weights, yes=yes)
    outcome, failed = reported_last(lambda: run(selection, out=out, encoders=encoders, weights=weights, work=work))
    first, *others = outcome.results
    for result in others:
        results(result.figures(brief=True), set(), most=1)
    results(first.figures(brief=True), set())
    if len(set(outcome.balanced)) > 1:
        scores = [f"{100 * score:.1f} %" for score in outcome.balanced]
        echo(f"{first.folder.name} has the higher balanced accuracy: {scores[0]} against {', '.join(scores[1:])}.")
    if failed is not None:
        raise failed
    then = [f"bchisto predict {quoted(first.model)} --images DIR --out predictions.csv"]
    if not (encoders or weights):
        given = given_options(context, featurize, but=("out",))
        then.insert(0, f"bchisto featurize{given} --out {quoted(f'{out}-standard')} --preset standard")
    done([out / "report.html"], then=then, failures=len(first.failures), listed=out / "failures.csv")
