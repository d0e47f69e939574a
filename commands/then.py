"""The command to run next, filled in: with the images, and what this command was given that the next one takes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from ..preflight import Preflight

_TYPED = (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP, ParameterSource.ENVIRONMENT)


def given_options(context: click.Context, command: click.Command, *, but: Sequence[str] = ()) -> str:
    """Return the options that were given to a command and that another takes under the same name, as one types them.

    Parameters
    ----------
    context : click.Context
        Of the command that runs.
    command : click.Command
        The other.
    but : sequence of str
        Names of options that are left out.

    Returns
    -------
    str
        Quoted for a shell; empty, or with a space in front.
    """
    theirs = {one.name for one in command.params}
    words = [
        word
        for one in context.command.params
        if isinstance(one, click.Option) and one.name in theirs and one.name not in but
        if context.get_parameter_source(one.name or "") in _TYPED
        for word in _words(one, context.params.get(one.name or ""))
    ]
    return "".join(f" {word}" for word in words)


def _words(one: click.Option, value: object) -> Iterator[str]:
    flag = max(one.opts, key=len)
    if one.is_flag:
        if value:
            yield flag
    elif one.multiple and isinstance(value, tuple):
        for item in value:
            yield from (flag, shlex.quote(str(item)))
    elif isinstance(value, tuple):
        texts = map(str, value)
        yield from (flag, *map(shlex.quote, texts)) if one.nargs > 1 else (flag, shlex.quote(",".join(texts)))
    elif value is not None:
        yield from (flag, shlex.quote(str(value)))


def next_commands(context: click.Context, found: Preflight, *, images: str) -> list[str]:
    """Return the commands that follow a check, filled in so that they run as they stand.

    Parameters
    ----------
    context : click.Context
        Of the check.
    found : Preflight
    images : str
        What the images are called in them.
    """
    from .featurize import featurize

    where = f"--images {shlex.quote(images)}"
    if found.refused:
        return [f"bchisto data check {where}{given_options(context, context.command, but=('images', 'html'))}"]
    if found.fitting is None or found.dataset.untrainable:
        return []
    planned = found.planned
    fewer = planned.encoders != found.requested.encoders
    but = ("images", "views", "stain", *(["encoders"] if fewer else []))
    line = f"bchisto featurize {where} --out run{given_options(context, featurize, but=but)}"
    if fewer:
        line += "".join(f" --encoder {shlex.quote(str(choice))}" for choice in planned.encoders)
    if planned.views != type(planned)().views:
        line += "".join(f" --view {view}" for view in planned.views)
    if planned.stain != "macenko":
        line += f" --stain {planned.stain}"
    if planned.color_range != found.requested.color_range:
        line += " --color-range " + " ".join(f"{factor:g}" for factor in planned.color_range)
    lines = [line + (" --skip-errors" if found.skips else "")]
    if (protocol := found.protocol) is not None:
        line = "bchisto boost --out run"
        line += f" --folds {shlex.quote(protocol.folds)}" if protocol.folds != _default_folds(found) else ""
        lines.append(line + (f" --group-by {protocol.group_by}" if protocol.group_by else ""))
    return lines


def _default_folds(found: Preflight) -> str:
    """Return the protocol that boost takes by itself."""
    bach = found.dataset.name == "bach" and len(found.dataset) == 400 and not found.dataset.synthetic
    return "rakhlin10" if bach else "10"
