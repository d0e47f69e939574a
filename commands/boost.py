"""``bchisto boost``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .ending import quoted, said_results
from .options import (
    OUT_FOLDER,
    PATH,
    Command,
    OpenChoice,
    choice_option,
    explain_option,
    option,
    split_names,
    split_options,
    two_class_options,
    work_options,
)


def _heads() -> list[str]:
    from ..boost import list_heads

    return list_heads()


@click.command(cls=Command)
@option("--out", type=OUT_FOLDER, required=True, help="The run folder.")
@option(
    "--features",
    multiple=True,
    type=PATH,
    help="Stores or folders of them; default RUN/features. Or embeddings of other programs: .npz, .parquet, .h5, or a "
    "folder of .h5, one a slide.",
)
@option("--labels", type=PATH, help="Labels of embeddings that hold none: a table image_id,label[,group].")
@option(
    "--folds",
    multiple=True,
    help="A number, shares (70/30, 80/10/10), folder (the split the images came in), site:COLUMN of the manifest, a "
    "published list (rakhlin10, eva, official, "
    "official-corrected, idc-published) or a file; repeatable. Default: rakhlin10 for BACH, else 10.",
)
@split_options
@option(
    "--head",
    multiple=True,
    type=OpenChoice(["lightgbm", "logistic", "svm", "stack"], every=_heads),
    default=("lightgbm",),
    help="Classifier; stack blends the others over all stores; repeatable.",
)
@option("--seeds", type=int, default=5, help="Ensemble members per fold.")
@choice_option(
    "--preset", choices=["rakhlin2018", "fast"], help="LightGBM settings; fast takes a tenth to a quarter of the time."
)
@option(
    "--param",
    multiple=True,
    metavar="KEY=VALUE",
    help="A LightGBM parameter on top of the preset; repeatable.",
)
@option(
    "--each",
    is_flag=True,
    help="Compare the stores with each other, and say what each adds to the fusion; trains nothing more.",
)
@click.option(
    "--name", default="", help="Added to the folder's name, so that other stores or settings stand beside it."
)
@option("--classes", callback=split_names, help="Class order; default: that of the stores.")
@option("--seed", type=int, default=0, help="Moves split folds.")
@explain_option
@two_class_options()
@work_options
def boost(**options: Any) -> None:
    """Stage 2: train cross-validated LightGBM ensembles on the descriptors of a run.

    \b
    Example: bchisto boost --out run --folds 10 --seeds 5
    """
    from ..boost import BoostSettings, FeatureChoice, train
    from ..data import FoldChoice
    from ..evaluate import TwoClassView
    from ..jobs import Work
    from ..options import from_options

    said_results(
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
        explain=options["explain"],
    )


def _new(model: Path) -> str:
    """Return the option that names what a bundle predicts."""
    from ..crossval import bundle_stores
    from ..featurize import IMPORTED

    imported = [one for one in bundle_stores(model).values() if one.get("mode") == IMPORTED]
    return " ".join(["--features FILE"] * len(imported)) or "--images DIR"
