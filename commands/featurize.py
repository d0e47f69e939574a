"""``bchisto featurize``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .ending import counted, done, echo, quoted
from .images import data_options
from .options import common_options, work_options


def _list(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        from ..encoders import list_all_encoders

        echo("\n".join(name for name, _ in list_all_encoders()), lines=True)
        context.exit()


@click.command()
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    required=True,
    help="A folder, or a manifest path,label,group[,image_id].",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run folder.")
@data_options
@click.option(
    "--encoder",
    multiple=True,
    default=("resnet50", "inceptionv3", "vgg16"),
    show_default=True,
    help="NAME[:LAYER+LAYER], hub:DIR, onnx:FILE or timm:NAME; repeatable.",
)
@click.option(
    "--list-encoders",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list,
    help="Print all encoder names.",
)
@click.option(
    "--view", multiple=True, default=("0.5:400", "0.5:650"), show_default=True, help="SCALE:CROP; repeatable."
)
@click.option("--augmentations", type=int, default=50, show_default=True, help="Colour augmentations per image.")
@click.option("--crops", type=int, default=20, show_default=True, help="Random crops per augmentation.")
@click.option("--pool", type=float, default=3.0, show_default=True, help="Exponent of the pooling norm.")
@click.option(
    "--color-range",
    type=float,
    nargs=2,
    default=(0.7, 1.3),
    show_default=True,
    help="Bounds of the stain factors.",
)
@click.option(
    "--pad",
    type=click.Choice(["none", "reflect"]),
    default="none",
    show_default=True,
    help="What becomes of an image that is smaller than the crop: refused, or mirrored at its edges.",
)
@click.option(
    "--only",
    type=click.Path(dir_okay=False, path_type=Path),
    help="CSV with a column image_id: describe these images alone.",
)
@click.option(
    "--stain",
    default="macenko",
    show_default=True,
    help="macenko, none, staintools-macenko, -vahadane, -reinhard, or a treatment: clahe, whitening, demean, "
    "gaussian-clahe, clahe-whitening, whitening-clahe.",
)
@click.option(
    "--stain-fallback",
    type=click.Choice(["skip-normalisation", "error"]),
    default="skip-normalisation",
    show_default=True,
    help="What to do with an image of too little tissue.",
)
@click.option(
    "--weights",
    multiple=True,
    default=("imagenet",),
    show_default=True,
    help="imagenet, random, PATH, or ENCODER=PATH; repeatable.",
)
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True)
@click.option(
    "--mode",
    type=click.Choice(["exact", "dense"]),
    default="exact",
    show_default=True,
    help="dense encodes each frame once and pools its feature maps over the crops: far faster, other descriptors.",
)
@click.option(
    "--engine",
    type=click.Choice(["keras", "openvino", "onnxruntime", "torch"]),
    default="keras",
    show_default=True,
    help="What runs the encoder; openvino needs its extra and is fastest on CPUs with --precision bfloat16; keras "
    "stands for onnxruntime with onnx:FILE, and for torch with timm:NAME.",
)
@click.option(
    "--batch-size",
    type=int,
    default=4,
    show_default=True,
    help="Most crops in one pass; a part of the settings.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--skip-errors", is_flag=True, help="Leave out images that cannot be used, and exit with 1.")
@work_options
@common_options
@click.pass_context
def featurize(context: click.Context, /, **options: Any) -> None:
    """Stage 1: turn images into descriptor stores below RUN/features.

    \b
    Example: bchisto featurize --images ICIAR2018_BACH_Challenge --out run
    """
    from ..experiment import ImageSelection, Work
    from ..featurize import FeaturizeSettings
    from ..featurize import featurize as run
    from ..options import from_options

    out: Path = options["out"]
    how = from_options(Work, options)
    settings = from_options(FeaturizeSettings, options)
    result = run(from_options(ImageSelection, options), out=out, settings=settings, work=how)
    described = result.images - len(result.failures)
    if result.merged:
        echo(f"{counted(described, 'image')} described in {counted(len(result.stores), 'store')}")
        wrote, then = list(result.stores), f"bchisto boost --out {quoted(out)}"
    else:
        echo(f"shard {how.shard} is done")
        wrote, then = [], "the other shards, then the same command without --shard, which merges"
    done(context, wrote=wrote, then=then, failures=len(result.failures), listed=out / "failures.csv")
