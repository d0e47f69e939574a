"""``bchisto boost`` and ``bchisto finetune``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..core import from_options
from ..core.jobs import Work
from .ending import print_results, quoted
from .options import OUT_FOLDER, Command, flag, options_of, preset_flag


def _finetune_options() -> Iterator[click.Parameter]:
    from ..data import FoldChoice, ImageSelection
    from ..evaluate import TwoClassView
    from ..finetune import FinetuneSettings

    yield from options_of(ImageSelection, "images")
    yield flag("--out", group="Output", type=OUT_FOLDER, required=True, help="The run folder.")
    yield from options_of(FinetuneSettings, "network")
    yield from options_of(FoldChoice, "folds", "test_list", "repeats", "group_by", folds={"default": ("10",)})
    yield from options_of(ImageSelection, "only")
    yield from options_of(FinetuneSettings, but=("network", "seed"))
    yield flag("--tensorboard", is_flag=True, help="Also write curves, weights and the graph for TensorBoard.")
    yield from options_of(FinetuneSettings, "seed")
    yield from options_of(Work, "skip_errors")
    yield from options_of(TwoClassView)
    yield from options_of(ImageSelection, but=("images", "only"))
    yield from options_of(Work, "jobs", "shard", "dask", "overwrite", "threads", "checks")


@click.command(cls=Command, options=_finetune_options, first=("images", "out", "network", "folds", "epochs"))
def finetune(**options: Any) -> None:
    """Train a CNN over folds, for the same tables as boost.

    \b
    Example: bchisto finetune --images BreaKHis_v1 --network breakhis-resnet --folds 5 --out run
    """
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


def _options() -> Iterator[click.Parameter]:
    from ..boost import PRESET_OPTIONS, BoostSettings, FeatureChoice
    from ..data import FoldChoice
    from ..evaluate import TwoClassView

    yield flag("--out", group="Output", type=OUT_FOLDER, required=True, help="The run folder.")
    yield from options_of(FeatureChoice, "features", "labels")
    yield from options_of(FoldChoice, "folds", "repeats", "group_by")
    with_preset = preset_flag(lambda name: PRESET_OPTIONS.get(name, {}))
    yield from options_of(BoostSettings, "preset", "heads", "seeds", "params", "name", preset=with_preset)
    yield from options_of(FeatureChoice, "classes")
    yield from options_of(BoostSettings, "seed")
    yield from options_of(TwoClassView)
    yield from options_of(Work, "jobs", "shard", "dask", "overwrite", "checks")


@click.command(cls=Command, options=_options, first=("out", "preset", "heads", "folds", "jobs"))
def boost(**options: Any) -> None:
    """Stage 2: train classifiers on features, cross-validated.

    \b
    Example: bchisto boost --out run --folds 10 --seeds 5
    """
    from ..boost import BoostSettings, FeatureChoice, train
    from ..data import FoldChoice
    from ..evaluate import TwoClassView

    print_results(
        lambda: train(
            out=options["out"],
            features=from_options(FeatureChoice, options),
            settings=from_options(BoostSettings, options),
            folds=from_options(FoldChoice, options),
            work=from_options(Work, options),
            view=from_options(TwoClassView, options),
        ),
        shown=options["out"] / "report.html",
        then=lambda model: f"bchisto predict {quoted(model)} {_new(model)} --out predictions.csv",
    )


def _new(model: Path) -> str:
    """Return the option for the input of a model file: images, or a file of features for each imported feature file."""
    from ..core.models import bundle_stores
    from ..featurize import IMPORTED

    imported = [settings for settings in bundle_stores(model).values() if settings.get("mode") == IMPORTED]
    return " ".join(["--features FILE"] * len(imported)) or "--images DIR"
