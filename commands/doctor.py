"""``bchisto doctor``."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import click

from .ending import echo
from .flags import in_flags
from .options import PATH, Command, flag


def _options() -> Iterator[click.Parameter]:
    yield flag(
        "--out", group="Output", type=PATH, default=".", help="Where results will go: is it writable, is there room?"
    )
    yield flag("--images", group="Input", type=PATH, help="A dataset: can it be read?")
    yield flag("--run", group="Input", type=PATH, help="A run folder: how did its commands end?")
    yield flag("--model", group="Input", type=PATH, help="A model file: does it load with its weights?")
    yield flag("--slurm", group="Speed", is_flag=True, help="Does Slurm answer?")
    yield flag("--dask", group="Speed", metavar="ADDRESS", help="A Dask scheduler: what do its workers lack?")
    yield flag("--online", group="Input", is_flag=True, help="Use the network: can missing weights be fetched?")
    yield flag("--json", "as_json", group="Output", is_flag=True, help="Print JSON.")


@click.command(cls=Command, options=_options)
def doctor(out: Any, as_json: bool, **named: Any) -> None:
    """Check this machine: what will fail, and what helps.

    Prints what needs attention, with -v everything. Exit code 1 if something will fail. Nothing that it prints names a
    person or a folder of yours, so that it can be pasted into a report.

    \b
    Example: bchisto doctor --out run --model model.bchisto
    """
    from ..apps.doctor import as_json as plain
    from ..apps.doctor import as_lines, examine

    every = logging.getLogger("bchisto").isEnabledFor(logging.DEBUG)  # what -v sets
    checks = examine(out, **named, write=in_flags(doctor))
    if as_json:
        echo(json.dumps(plain(checks), indent=2), lines=True)
    else:
        echo(*as_lines(checks, every=every))
    click.get_current_context().exit(1 if plain(checks)["failed"] else 0)
