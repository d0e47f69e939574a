"""``bchisto status``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import click

from .ending import echo
from .options import PATH, Command, argument, flag

_WATCHED, _WATCH_SECONDS = 3, 10.0
"""The exit code while work is in progress, and the interval of ``--watch``."""


def _options() -> Iterator[click.Parameter]:
    yield argument("run", type=PATH)
    yield flag("--json", is_flag=True, help="Print all of it as JSON.")
    yield flag("--watch", is_flag=True, help="Print it again every 10 seconds while work is in progress.")


@click.command(cls=Command, options=_options)
@click.pass_context
def status(context: click.Context, /, run: Path, **shown: bool) -> None:
    """Show which part of RUN is done, who works on the rest, and the next command.

    Exit code 0: done; 1: failed, interrupted or stalled, so that somebody must act; 3: in progress; 4: nothing yet.

    \b
    Example: bchisto status run --watch
    """
    from ..apps.submit import read_status, status_lines
    from ..core.jobs import json_text

    while True:
        now = read_status(run)
        echo(*[json_text(now.content())] if shown["json"] else status_lines(now), lines=True)
        if not shown["watch"] or now.exit_code != _WATCHED:
            context.exit(now.exit_code)
        time.sleep(_WATCH_SECONDS)
