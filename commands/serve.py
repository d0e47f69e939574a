"""``bchisto serve``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from .ending import echo
from .options import PATH, Command, argument, flag, options_of


def _options() -> Iterator[click.Parameter]:
    from ..apps.serve import ServeSettings

    yield argument("models", nargs=-1, required=True, type=PATH, metavar="MODEL|RUN...")
    yield flag(
        "--weights",
        group="Features",
        multiple=True,
        help="imagenet, PATH, or ENCODER=PATH; repeatable. Must be the weights of training.",
    )
    yield from options_of(ServeSettings)


@click.command(cls=Command, options=_options, first=("runs", "keep", "port"))
def serve(models: tuple[Path, ...], weights: tuple[str, ...], **options: Any) -> None:
    """Show a web page on this machine: drop images, get classes, maps and the table.

    Open the address that it prints; Ctrl-C ends it. No image leaves the machine, and none is kept without --keep.

    \b
    Example: bchisto serve run/boost/10-lightgbm/model.bchisto
    """
    from ..apps.serve import ServeSettings
    from ..apps.serve import serve as run
    from ..core import from_options

    def ready(address: str) -> None:
        echo(address)
        echo("open this address in a browser; Ctrl-C ends the page", err=True)

    run(models, weights=weights, settings=from_options(ServeSettings, options), ready=ready)
