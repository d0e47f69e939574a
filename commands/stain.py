"""``bchisto stain``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from .ending import done, echo
from .options import OUT_FOLDER, PATH, Command, argument, flag, options_of


def _options() -> Iterator[click.Parameter]:
    from ..core.jobs import Work
    from ..featurize import FeaturizeSettings

    yield argument("sources", nargs=-1, required=True, type=PATH, metavar="IN...")
    yield flag(
        "--out", group="Output", type=OUT_FOLDER, required=True, help="Folder for the images and the contact sheet."
    )
    yield from options_of(FeaturizeSettings, "stain")
    yield flag("--hematoxylin", type=float, default=1.0, help="Factor of the haematoxylin.")
    yield flag("--eosin", type=float, default=1.0, help="Factor of the eosin.")
    yield from options_of(Work, "skip_errors")


@click.command(cls=Command, options=_options)
def stain(sources: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Normalise or augment stains, with a before/after contact sheet.

    \b
    Example: bchisto stain slides/*.png --out normalised
    """
    from ..data import stain_images

    result = stain_images(sources, out=out, **options)
    echo(f"{len(result.written)} images written as PNG")
    done([out, result.sheet], failures=len(result.failures), listed=out / "failures.csv")
