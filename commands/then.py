"""The command to run next, filled in: with the images, and what this command was given that the next one takes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from ..data import Dataset
    from ..preflight import Preflight

_FOLDS = 10
"""Folds that boost makes by itself."""

_TYPED = (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP, ParameterSource.ENVIRONMENT)


def typed_names(context: click.Context) -> set[str]:
    """Return the names of the parameters that the command line gives."""
    typed = ParameterSource.COMMANDLINE
    return {one.name or "" for one in context.command.params if context.get_parameter_source(one.name or "") == typed}


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
    theirs = {parameter.name for parameter in command.params}
    words = [
        word
        for parameter in context.command.params
        if isinstance(parameter, click.Option) and parameter.name in theirs and parameter.name not in but
        if context.get_parameter_source(parameter.name or "") in _TYPED
        for word in _words(parameter, context.params.get(parameter.name or ""))
    ]
    return "".join(f" {word}" for word in words)


def _words(parameter: click.Option, value: object) -> Iterator[str]:
    flag = max(parameter.opts, key=len)
    if parameter.is_flag:
        if value:
            yield flag
    elif parameter.multiple and isinstance(value, tuple):
        for item in value:
            yield from (flag, shlex.quote(str(item)))
    elif isinstance(value, tuple):
        texts = map(str, value)
        yield from (flag, *map(shlex.quote, texts)) if parameter.nargs > 1 else (flag, shlex.quote(",".join(texts)))
    elif value is not None:
        yield from (flag, shlex.quote(str(value)))


def next_commands(context: click.Context, result: Preflight, *, images: str) -> list[str]:
    """Return the commands that follow a check, filled in so that they run as they stand.

    Parameters
    ----------
    context : click.Context
        Of the check.
    result : Preflight
    images : str
        What the images are called in them.
    """
    from .featurize import featurize

    where = f"--images {shlex.quote(images)}"
    if result.refused:
        return [f"bchisto data check {where}{given_options(context, context.command, but=('images', 'html'))}"]
    if result.fitting is None or result.dataset.untrainable:
        return []
    planned = result.planned
    fewer = planned.encoders != result.requested.encoders
    but = ("images", "views", "stain", *(["encoders"] if fewer else []))
    line = f"bchisto featurize {where} --out run{given_options(context, featurize, but=but)}"
    if fewer:
        line += "".join(f" --encoder {shlex.quote(str(choice))}" for choice in planned.encoders)
    if planned.views != type(planned)().views:
        line += "".join(f" --view {view}" for view in planned.views)
    if planned.stain != "macenko":
        line += f" --stain {planned.stain}"
    if planned.color_range != result.requested.color_range:
        line += " --color-range " + " ".join(f"{factor:g}" for factor in planned.color_range)
    lines = [line + (" --skip-errors" if result.skips else "")]
    if (protocol := result.protocol) is not None:
        line = "bchisto boost --out run"
        line += f" --folds {shlex.quote(protocol.folds)}" if protocol.folds != _default_folds(result) else ""
        lines.append(line + (f" --group-by {protocol.group_by}" if protocol.group_by else ""))
    return lines


def fewer_folds(dataset: Dataset) -> str:
    """Return the option of boost that images need which are too few for ten folds; empty, or with a space in front."""
    groups = {record.group for record in dataset.records}
    most = min((*dataset.class_counts().values(), len(dataset) if None in groups else len(groups)), default=0)
    return f" --folds {most}" if 1 < most < _FOLDS else ""


def _default_folds(result: Preflight) -> str:
    """Return the protocol that boost takes by itself."""
    bach = result.dataset.name == "bach" and len(result.dataset) == 400 and not result.dataset.synthetic
    return "rakhlin10" if bach else "10"
