"""``bchisto next``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ..core import Message, from_options
from .ending import done, echo, quoted
from .options import PATH, argument, command, options_of, out_flag


def _options() -> Iterator[click.Parameter]:
    from ..apps.next import NextSettings

    yield argument("run", type=PATH)
    yield out_flag("Folder for a manifest and a page; default: RUN/next.", required=False)
    yield from options_of(NextSettings)


@command(options=_options)
def next(**options: Any) -> None:
    """Choose the images of RUN whose labels would teach a model most, and a random part to measure it by.

    RUN has the features of all images, with and without a label. Labels that you write into the manifest count at the
    next call, which goes on with the next round.

    \b
    Example: bchisto next run --count 20
    """
    from ..apps.next import choose_next

    result = from_options(choose_next, options)
    echo(str(result), *result.notes)
    counts = ", ".join(f"{name} {count}" for name, count in result.labels.items())
    echo(f"labels by now: {counts or 'none'}")
    for curve in result.curves:
        echo(*str(curve).splitlines())
    manifest = result.folder / "manifest.csv"
    then: list[str] = [
        Message("fill in the column label of {}, then run the same command", manifest)
    ]
    config = result.folder / "featurize.json"
    if result.number > 1 and config.is_file():
        then.append(f"bchisto featurize --config {quoted(config)}")
    done([manifest, result.folder / "index.html"], then=then)
