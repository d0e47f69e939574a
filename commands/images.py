"""Options that say which images to read, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from .options import PATH, F, OpenChoice, choice_option, option, split_names, together

images_option = option(
    "--images", type=PATH, required=True, help="A folder, or a manifest path,label,group[,image_id]."
)
"""The dataset that a command reads; see `data_options`."""

skip_errors_option = option(
    "--skip-errors", is_flag=True, help="Leave out images that cannot be used, and exit with 1."
)


def stain_option(*names: str) -> Callable[[F], F]:
    """Return the option that says how stains are treated."""
    return option(
        "--stain",
        *names,
        default="macenko",
        help="macenko, none, macenko-robust, staintools-macenko, -vahadane, -reinhard, or a treatment: clahe, "
        "whitening, demean, gaussian-clahe, clahe-whitening, whitening-clahe. macenko-robust is for pale or eosin-rich "
        "tissue, which macenko may turn white.",
    )


bundle_options = together(
    click.argument("model", type=PATH, metavar="MODEL|RUN"),
    option("--images", multiple=True, type=PATH, help="A folder, a manifest or an image; repeatable."),
    click.argument("more_images", nargs=-1, type=PATH, metavar="[IMAGE...]"),
    option(
        "--weights",
        multiple=True,
        help="imagenet, PATH, or ENCODER=PATH; repeatable. Must be the weights of training.",
    ),
)
"""What a model bundle is asked about: the bundle, new images, and the weights of its encoders."""


def _magnifications(context: click.Context, parameter: click.Parameter, value: Sequence[Any]) -> tuple[int, ...]:
    found = []
    for text in map(str, value):
        number = text.casefold().removesuffix("x")
        if number not in ("40", "100", "200", "400"):
            raise click.BadParameter(f"{text!r} is none of 40, 100, 200, 400", context, parameter)
        found.append(int(number))
    return tuple(found)


def _layouts() -> list[str]:
    from ..data import list_layouts

    return list_layouts()


data_options = together(
    option(
        "--dataset",
        type=OpenChoice(["bach", "breakhis", "idc", "inbreast", "cbis-ddsm", "ddsm", "folder", "csv"], every=_layouts),
        help="Layout; default: recognised, and said.",
    ),
    choice_option(
        "--label-level",
        choices=["class", "type"],
        help="BreakHis: benign against malignant, or the eight tumour types.",
    ),
    choice_option(
        "--context",
        choices=["tight", "small", "large"],
        help="CBIS-DDSM, DDSM: the abnormality alone, 50 pixels more, or twice its box.",
    ),
    option(
        "--lesion",
        multiple=True,
        type=click.Choice(["mass", "calcification"]),
        help="CBIS-DDSM, DDSM: keep these abnormalities (repeatable); default both.",
    ),
    option(
        "--magnification",
        multiple=True,
        callback=_magnifications,
        help="BreakHis: 40, 100, 200 or 400 (also 400X; repeatable); default all.",
    ),
    option("--classes", callback=split_names, help="Class order, e.g. normal,benign; default: the dataset's own."),
    option(
        "--group-from",
        metavar="LEVEL|PATTERN",
        help="Patient or slide by the path of an image: a level of folders (1 is the first, -1 the one that holds "
        "the image), or a regular expression, whose first group counts.",
    ),
    option("--label-from", metavar="LEVEL|PATTERN", help="As --group-from, for labels; default: the class folder."),
    option("--path-column", metavar="NAME", help="Column of a manifest that holds the path."),
    option("--label-column", metavar="NAME", help="Column of a manifest that holds the label."),
    option("--group-column", metavar="NAME", help="Column of a manifest that holds patient or slide."),
)
"""Which images to read, and how."""
