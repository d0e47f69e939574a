"""``bchisto stain``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .ending import done, echo
from .images import skip_errors_option, stain_option
from .options import OUT_FOLDER, PATH, Command, option


@click.command(cls=Command)
@click.argument("sources", nargs=-1, required=True, type=PATH, metavar="IN...")
@option("--out", type=OUT_FOLDER, required=True, help="Folder for the images and the sheet.")
@stain_option("method")
@option("--hematoxylin", type=float, default=1.0, help="Factor of the haematoxylin.")
@option("--eosin", type=float, default=1.0, help="Factor of the eosin.")
@skip_errors_option
def stain(sources: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Normalise or augment the stains of images and write them, with a before/after sheet.

    \b
    Example: bchisto stain slides/*.png --out normalised
    """
    from ..data import stain_images

    result = stain_images(sources, out=out, **options)
    echo(f"{len(result.written)} images written as PNG")
    done([out, result.sheet], failures=len(result.failures), listed=out / "failures.csv")
