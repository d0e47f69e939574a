"""``bchisto trial``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from .ending import print_results, quoted
from .options import OUT_FOLDER, Command, flag, options_of
from .then import given_options


def _options() -> Iterator[click.Parameter]:
    from ..data import ImageSelection
    from ..featurize import FeaturizeSettings
    from ..jobs import Work

    yield from options_of(ImageSelection, "images")
    yield flag("--out", group="Output", type=OUT_FOLDER, default="trial", help="The run folder.")
    yield from options_of(ImageSelection, but=("images", "only"))
    yield from options_of(FeaturizeSettings, "encoders", "weights", encoders={"default": ()}, weights={"default": ()})
    yield from options_of(Work, "skip_errors", "jobs")


@click.command(cls=Command, options=_options, first=("images", "out", "group_from", "encoders", "jobs"))
@click.pass_context
def trial(context: click.Context, /, **options: Any) -> None:
    """Give a first answer on your images, in minutes to an hour.

    Checks them, describes them, trains two classifiers and writes a report. Takes the preset quick, views that
    fit, and folds that the images allow.

    \b
    Example: bchisto trial --images DIR --out trial
    """
    from ..core import from_options
    from ..data import ImageSelection
    from ..jobs import Work
    from ..recipes import trial as run
    from .featurize import featurize

    selection, work, out = from_options(ImageSelection, options), from_options(Work, options), options["out"]
    print_results(
        lambda: run(selection, out=out, encoders=options["encoders"], weights=options["weights"], work=work).results,
        shown=out / "report.html",
        then=lambda model: (
            f"bchisto featurize{given_options(context, featurize, but=('out',))} --out {quoted(f'{out}-standard')} "
            "--preset standard",
            f"bchisto predict {quoted(model)} --images DIR --out predictions.csv",
        ),
        listed=out / "failures.csv",
    )
