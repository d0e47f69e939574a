"""``bchisto demo``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from .ending import done, results
from .options import OUT_FOLDER, Command, flag, options_of


def _options() -> Iterator[click.Parameter]:
    from ..core.jobs import Work

    yield flag("--out", group="Output", type=OUT_FOLDER, default="demo-run", help="The run folder.")
    yield flag("--images-per-class", group="Input", type=int, default=6, help="At least 5.")
    yield flag("--seed", type=int, default=0, help="Random seed.")
    yield from options_of(Work, "jobs")


@click.command(cls=Command, options=_options)
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
