"""``bchisto export``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from .ending import done, quoted
from .options import OUT_FOLDER, PATH, Command, argument, flag


def _options() -> Iterator[click.Parameter]:
    yield argument("model", type=PATH, metavar="MODEL|RUN")
    yield flag("--to", group="Output", type=OUT_FOLDER, required=True, help="The new folder.")


@click.command(cls=Command, options=_options)
def export(model: Path, to: Path) -> None:
    """Put a model into a folder that can be published: the file, and a model card.

    What only you know is a marked blank in the card.

    \b
    Example: bchisto export run/boost/10-lightgbm --to published
    """
    from ..predict import export as run

    card = run(model, to=to)
    done([card], then=f"fill in the blanks of {quoted(card)}")
