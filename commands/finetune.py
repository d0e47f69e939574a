"""``bchisto finetune``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from .ending import print_results, quoted
from .options import OUT_FOLDER, Command, flag, options_of


def _options() -> Iterator[click.Parameter]:
    from ..core.jobs import Work
    from ..data import FoldChoice, ImageSelection
    from ..evaluate import TwoClassView
    from ..finetune import FinetuneSettings

    yield from options_of(ImageSelection, "images")
    yield flag("--out", group="Output", type=OUT_FOLDER, required=True, help="The run folder.")
    yield from options_of(FinetuneSettings, "network")
    yield from options_of(FoldChoice, "folds", "test_list", "repeats", "group_by", folds={"default": ("10",)})
    yield from options_of(ImageSelection, "only")
    yield from options_of(FinetuneSettings, but=("network", "seed"))
    yield flag(
        "--tensorboard", is_flag=True, help="Also write curves, histograms of weights and the graph for TensorBoard."
    )
    yield from options_of(FinetuneSettings, "seed")
    yield from options_of(Work, "skip_errors")
    yield from options_of(TwoClassView)
    yield from options_of(ImageSelection, but=("images", "only"))
    yield from options_of(Work, "jobs", "shard", "dask", "overwrite", "threads")


@click.command(cls=Command, options=_options, first=("images", "out", "network", "folds", "epochs"))
def finetune(**options: Any) -> None:
    """Train a CNN over folds, for the same tables as boost.

    \b
    Example: bchisto finetune --images BreaKHis_v1 --network breakhis-residual --folds 5 --out run
    """
    from ..core import from_options
    from ..core.jobs import Work
    from ..data import FoldChoice, ImageSelection
    from ..evaluate import TwoClassView
    from ..finetune import FinetuneSettings
    from ..finetune import finetune as run

    out: Path = options["out"]
    print_results(
        lambda: run(
            from_options(ImageSelection, options),
            out=out,
            settings=from_options(FinetuneSettings, options),
            folds=from_options(FoldChoice, options),
            work=from_options(Work, options),
            view=from_options(TwoClassView, options),
            tensorboard=options["tensorboard"],
        ),
        shown=out / "report.html",
        then=lambda model: f"bchisto evaluate {quoted(out)} --out {quoted(out / 'evaluation')}",
        listed=out / "finetune" / "failures.csv",
    )
