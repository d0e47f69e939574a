"""``bchisto finetune``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .ending import quoted, said_results
from .images import data_options, images_option, skip_errors_option
from .options import (
    FILE,
    OUT_FOLDER,
    Command,
    RangedChoice,
    choice_option,
    explain_option,
    option,
    split_options,
    threads_option,
    two_class_options,
    work_options,
)


@click.command(cls=Command)
@images_option
@option("--out", type=OUT_FOLDER, required=True, help="The run folder.")
@option(
    "--network",
    required=True,
    help="ddsm-baseline, alexnet, googlenet, patch-resnet, patch-densenet, breakhis-resnet (or with -kernel3, "
    "-stride2, -doubled, -two-pools, -dropout), breakhis-residual (likewise), or an encoder with feature maps of "
    "encoder list, which gets a head.",
)
@option("--folds", multiple=True, default=("10",), help="As in boost, or none: train on all; repeatable.")
@option(
    "--test-list", type=FILE, help="With --folds none: CSV with a column image_id; these images test, all others train."
)
@split_options
@option("--only", type=FILE, help="CSV with a column image_id: use these images alone.")
@click.option("--name", default="", help="Added to the folder's name, so that settings stand side by side in a run.")
@click.option("--size", type=int, default=0, help="Side of the input, pixels; default: the network's own.")
@option(
    "--patches",
    default="resize",
    metavar="resize|random:SIDE[:COUNT]|sliding:SIDE[:OVERLAP]",
    help="The whole image, or squares cut from it at full resolution.",
)
@option("--epochs", type=int, default=50, help="At most.")
@option("--patience", type=int, default=8, help="Epochs without a better validation loss; 0: never stop early.")
@option("--no-validation", is_flag=True, help="Train for all epochs on every training image.")
@click.option("--batch-size", type=int, default=0, help="Default: the network's own, or what there is.")
@option("--optimizer", type=click.Choice(["adam", "sgd"]), help="Default: the network's own.")
@click.option(
    "--learning-rate", "--rate", "rate", type=float, default=0.0, help="Learning rate; default: the network's own."
)
@option(
    "--rate-multiplier",
    multiple=True,
    metavar="PREFIX=FACTOR",
    help="Factor of the rate of layers whose name begins so; the longest prefix counts; repeatable.",
)
@option("--dropout", type=float, help="Default: the network's own.")
@option("--l2", type=float, help="Default: the network's own.")
@click.option("--freeze", default="", metavar="LAYER|all", help="Encoders: the last layer that is not trained.")
@option(
    "--batch-norm",
    type=click.Choice(["stored", "batch"]),
    help="Encoders: normalise by the means and variances of the weights, or by those of each batch; default: stored, "
    "or batch with random weights.",
)
@choice_option(
    "--top",
    choices=["average", "conv"],
    help="Encoders: global average, or convolution, max pooling and ReLU, before the softmax.",
)
@click.option(
    "--weights",
    default="",
    help="imagenet (encoders; their default), random, or PATH: .h5 of an encoder; .npz, .safetensors, .caffemodel or "
    ".weights.h5 of the other networks.",
)
@option("--fresh", multiple=True, metavar="PREFIX", help="Layers that start at random whatever the file; repeatable.")
@option(
    "--convention",
    type=click.Choice(["signed", "caffe"]),
    help="AlexNet, GoogLeNet: input in -1..1, or BGR less the mean; default: that of the weights file.",
)
@option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Of computation; weights are float32; default: bfloat16 on GPUs that compute in it, else float32.",
)
@option("--class-weights", is_flag=True, help="Give each class the same share of the loss.")
@choice_option(
    "--sampling",
    choices=["none", "under", "over", "under-over", "under-before"],
    help="How the training part is balanced; no other part is, but by under-before: the whole set before it is split.",
)
@option(
    "--copies",
    multiple=True,
    metavar="CLASS=FACTOR",
    help="Each training image of this class stands FACTOR times in an epoch, augmented anew each time; repeatable.",
)
@option(
    "--augment",
    multiple=True,
    type=RangedChoice(
        [
            "isometries",
            "mirror",
            "rotation",
            "translation",
            "magnification",
            "brightness",
            "noise",
            "crop",
            "stain",
            "rotations-crops",
        ]
    ),
    default=("isometries",),
    help="Of training images; repeatable. How far may follow, by default rotation:15 (degrees), translation:0.1, "
    "magnification:0.1, brightness:0.2, noise:0.05 and crop:0.7. rotations-crops: several rotations of each, and "
    "several crops of these.",
)
@option("--rotations", type=int, default=5, help="Of rotations-crops.")
@option("--crops", type=int, default=5, help="Of each rotation of rotations-crops.")
@option("--no-augment", is_flag=True, help="Train on the images as they are.")
@option("--stain", default="none", help="Normalisation or treatment, as in featurize.")
@option("--tensorboard", is_flag=True, help="Also write curves, histograms of weights and the graph for TensorBoard.")
@option("--seed", type=int, default=0)
@skip_errors_option
@explain_option
@two_class_options()
@data_options
@work_options
@threads_option
def finetune(**options: Any) -> None:
    """Train a CNN over the folds of a protocol, to the same prediction table as boost.

    \b
    Example: bchisto finetune --images BreaKHis_v1 --network breakhis-residual --folds 5 --out run
    """
    from ..data import FoldChoice, ImageSelection
    from ..evaluate import TwoClassView
    from ..finetune import FinetuneSettings
    from ..finetune import finetune as run
    from ..jobs import Work
    from ..options import from_options

    if options["no_augment"]:
        options["augment"] = ()
    out: Path = options["out"]
    said_results(
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
        then=lambda model: f"bchisto evaluate {quoted(out)} --out DIR",
        listed=out / "finetune" / "failures.csv",
        explain=options["explain"],
    )
