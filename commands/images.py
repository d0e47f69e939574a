"""Options that say which images to read, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from .options import OpenChoice, split_names

F = TypeVar("F", bound=Callable[..., Any])


def _layouts() -> list[str]:
    from ..data import list_layouts

    return list_layouts()


def bundle_options(function: F) -> F:
    """Add what a model bundle is asked about: the bundle, new images, and the weights of its encoders."""
    for option in (
        click.option(
            "--weights",
            multiple=True,
            help="imagenet, PATH, or ENCODER=PATH; repeatable. Must be the weights of training.",
        ),
        click.argument("more_images", nargs=-1, type=click.Path(path_type=Path), metavar="[IMAGE...]"),
        click.option(
            "--images",
            multiple=True,
            type=click.Path(path_type=Path),
            help="A folder, a manifest or an image; repeatable.",
        ),
        click.argument("model", type=click.Path(path_type=Path), metavar="MODEL|RUN"),
    ):
        function = option(function)
    return function


def data_options(function: F) -> F:
    """Add the options that say which images to read, and how."""
    for option in (
        click.option("--group-column", metavar="NAME", help="Column of a manifest that holds patient or slide."),
        click.option("--label-column", metavar="NAME", help="Column of a manifest that holds the label."),
        click.option("--path-column", metavar="NAME", help="Column of a manifest that holds the path."),
        click.option(
            "--label-from", metavar="LEVEL|PATTERN", help="As --group-from, for labels; default: the class folder."
        ),
        click.option(
            "--group-from",
            metavar="LEVEL|PATTERN",
            help="Patient or slide by the path of an image: a level of folders (1 is the first, -1 the one that holds "
            "the image), or a regular expression, whose first group counts.",
        ),
        click.option(
            "--classes",
            callback=split_names,
            help="Class order, e.g. normal,benign; default: the dataset's own.",
        ),
        click.option(
            "--magnification",
            multiple=True,
            callback=_magnifications,
            help="BreakHis: 40, 100, 200 or 400 (also 400X; repeatable); default all.",
        ),
        click.option(
            "--lesion",
            multiple=True,
            type=click.Choice(["mass", "calcification"]),
            help="CBIS-DDSM, DDSM: keep these abnormalities (repeatable); default both.",
        ),
        click.option(
            "--context",
            type=click.Choice(["tight", "small", "large"]),
            default="tight",
            show_default=True,
            help="CBIS-DDSM, DDSM: the abnormality alone, 50 pixels more, or twice its box.",
        ),
        click.option(
            "--label-level",
            type=click.Choice(["class", "type"]),
            default="class",
            show_default=True,
            help="BreakHis: benign against malignant, or the eight tumour types.",
        ),
        click.option(
            "--dataset",
            type=OpenChoice(["bach", "breakhis", "idc", "inbreast", "cbis-ddsm", "ddsm", "folder", "csv"], _layouts),
            help="Layout; default: recognised, and said.",
        ),
    ):
        function = option(function)
    return function


def _magnifications(context: click.Context, parameter: click.Parameter, value: Sequence[Any]) -> tuple[int, ...]:
    found = []
    for text in map(str, value):
        number = text.casefold().removesuffix("x")
        if number not in ("40", "100", "200", "400"):
            raise click.BadParameter(f"{text!r} is none of 40, 100, 200, 400", context, parameter)
        found.append(int(number))
    return tuple(found)
