"""``bchisto stain``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .ending import done, echo
from .options import common_options


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IN...")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the images and the sheet.")
@click.option(
    "--stain",
    "method",
    default="macenko",
    show_default=True,
    help="macenko, none, staintools-macenko, -vahadane, -reinhard, or a treatment: clahe, whitening, demean, "
    "gaussian-clahe, clahe-whitening, whitening-clahe.",
)
@click.option("--hematoxylin", type=float, default=1.0, show_default=True, help="Factor of the haematoxylin.")
@click.option("--eosin", type=float, default=1.0, show_default=True, help="Factor of the eosin.")
@click.option("--skip-errors", is_flag=True, help="Leave out images that cannot be used, and exit with 1.")
@common_options
@click.pass_context
def stain(context: click.Context, /, sources: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Normalise or augment the stains of images and write them, with a before/after sheet.

    \b
    Example: bchisto stain slides/*.png --out normalised
    """
    from ..data import stain_images

    result = stain_images(sources, out=out, **options)
    echo(f"{len(result.written)} images written as PNG")
    done(context, wrote=[out, result.sheet], then=None, failures=len(result.failures), listed=out / "failures.csv")
