"""``bchisto featurize``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .ending import counted, done, echo, quoted
from .images import data_options, images_option, skip_errors_option, stain_option
from .options import EAGER, FILE, OUT_FOLDER, Command, choice_option, option, work_options


def _list(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        from ..encoders import list_all_encoders

        echo(*(name for name, _ in list_all_encoders()))
        context.exit()


@click.command(cls=Command)
@images_option
@option("--out", type=OUT_FOLDER, required=True, help="The run folder.")
@data_options
@option(
    "--encoder",
    multiple=True,
    default=("resnet50", "inceptionv3", "vgg16"),
    help="NAME[:LAYER+LAYER], hub:DIR, onnx:FILE or timm:NAME; repeatable.",
)
@click.option("--list-encoders", is_flag=True, callback=_list, help="Print all encoder names.", **EAGER)
@option("--view", multiple=True, default=("0.5:400", "0.5:650"), help="SCALE:CROP; repeatable.")
@option("--augmentations", type=int, default=50, help="Colour augmentations per image.")
@option("--crops", type=int, default=20, help="Random crops per augmentation.")
@option("--pool", type=float, default=3.0, help="Exponent of the pooling norm.")
@option("--color-range", type=float, nargs=2, default=(0.7, 1.3), help="Bounds of the stain factors.")
@choice_option(
    "--pad",
    choices=["none", "reflect"],
    help="What becomes of an image that is smaller than the crop: refused, or mirrored at its edges.",
)
@option("--only", type=FILE, help="CSV with a column image_id: describe these images alone.")
@stain_option()
@choice_option(
    "--stain-fallback", choices=["skip-normalisation", "error"], help="What to do with an image of too little tissue."
)
@option("--weights", multiple=True, default=("imagenet",), help="imagenet, random, PATH, or ENCODER=PATH; repeatable.")
@choice_option("--precision", choices=["float32", "bfloat16"])
@choice_option(
    "--mode",
    choices=["exact", "dense"],
    help="dense encodes each frame once and pools its feature maps over the crops: far faster, other descriptors.",
)
@choice_option(
    "--engine",
    choices=["keras", "openvino", "onnxruntime", "torch"],
    help="What runs the encoder; openvino needs its extra and is fastest with --precision bfloat16 on CPUs that have "
    "it; keras stands for onnxruntime with onnx:FILE, and for torch with timm:NAME.",
)
@option("--batch-size", type=int, default=4, help="Most crops in one pass; a part of the settings.")
@option("--seed", type=int, default=0)
@skip_errors_option
@work_options
def featurize(**options: Any) -> None:
    """Stage 1: turn images into descriptor stores below RUN/features.

    \b
    Example: bchisto featurize --images ICIAR2018_BACH_Challenge --out run
    """
    from ..data import ImageSelection
    from ..featurize import FeaturizeSettings
    from ..featurize import featurize as run
    from ..jobs import Work
    from ..options import from_options

    out: Path = options["out"]
    how = from_options(Work, options)
    settings = from_options(FeaturizeSettings, options)
    result = run(from_options(ImageSelection, options), out=out, settings=settings, work=how)
    if result.merged:
        described = result.images - len(result.failures)
        echo(f"{counted(described, 'image')} described in {counted(len(result.stores), 'store')}")
        wrote = list(result.stores)
        then = f"bchisto boost --out {quoted(out)}"
        if not result.trainable:
            then = "label images of two classes or more, then this command again"
    else:
        echo(str(result.share))
        wrote, then = [], "the other shards, then the same command without --shard, which merges"
    done(wrote, then=then, failures=len(result.failures), listed=out / "failures.csv")
