"""``bchisto demo``."""

from __future__ import annotations

from pathlib import Path

import click

from .ending import done, echo
from .options import OUT_FOLDER, Command, jobs_option, option


@click.command(cls=Command)
@option("--out", type=OUT_FOLDER, default="demo-run", help="The run folder.")
@option("--images-per-class", type=int, default=12, help="At least 5.")
@option("--seed", type=int, default=0)
@jobs_option
def demo(out: Path, images_per_class: int, seed: int, jobs: int | None) -> None:
    """Run the whole main road on generated tissue, in minutes on a laptop.

    \b
    Example: bchisto demo --out demo-run
    """
    from ..jobs import Work
    from ..recipes import demo as run

    boosted = run(out, images_per_class=images_per_class, seed=seed, work=Work(jobs=jobs)).boost
    echo(*boosted.summary(), "chance is 25.0")
    done(
        [boosted.report, boosted.model],
        then="bchisto featurize --images DIR --out RUN",
    )
