"""Builds the command to run next, with the images and the options that were given to this command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from .options import PRESET

if TYPE_CHECKING:
    from ..apps.check import Preflight
    from ..data import Dataset

LINEAR = " --head logistic"
"""The classifier for encoders with their own default settings: a linear probe, as is usual for them."""

_FOLDS = 10
"""Default number of folds of boost."""

_TYPED = (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP, ParameterSource.ENVIRONMENT)


def typed_names(context: click.Context) -> set[str]:
    """Return the names of parameters that come from the command line or a file of options, but not from a preset."""
    given = context.default_map or {}
    of_preset = {name for name, value in context.meta.get(PRESET, {}).items() if given.get(name) is value}
    names = {one.name or "": context.get_parameter_source(one.name or "") for one in context.command.params}
    return {
        name
        for name, source in names.items()
        if source in _TYPED and not (source == ParameterSource.DEFAULT_MAP and name in of_preset)
    }


def given_options(context: click.Context, command: click.Command, *, but: Sequence[str] = ()) -> str:
    """Return the options of this command that another command also has, as they are typed.

    Parameters
    ----------
    context : click.Context
        Context of the command that runs.
    command : click.Command
        The other command.
    but : sequence of str
        Names of options to leave out.

    Returns
    -------
    str
        Quoted for a shell; empty, or with a space in front.
    """
    theirs, typed = {parameter.name for parameter in command.params}, typed_names(context)
    words = [
        word
        for parameter in context.command.params
        if isinstance(parameter, click.Option) and parameter.name in theirs and parameter.name not in but
        if parameter.name in typed
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


def next_commands(
    context: click.Context,
    featurize: click.Command,
    result: Preflight,
    *,
    images: str,
    preset: str | None = None,
    automatic: bool = False,
    linear: bool = False,
) -> list[str]:
    """Return the commands to run after a check, complete so that they can be run unchanged.

    Parameters
    ----------
    context : click.Context
        Context of the check.
    featurize : click.Command
        The command `bchisto featurize`.
    result : Preflight
    images : str
        Path of the images as it is written in the commands.
    preset : str, optional
        Preset of the settings.
    automatic : bool
        Whether `bchisto featurize` adapts the settings to the images by itself.
    linear : bool
        Whether the settings are defaults of the encoder.
    """
    where = f"--images {shlex.quote(images)}"
    if result.refused:
        return [f"bchisto data check {where}{given_options(context, context.command, but=('images', 'html'))}"]
    if result.fitting is None or result.dataset.untrainable or result.unfoldable:
        return []
    planned, named = result.planned, "" if preset is None else f" --preset {preset}"
    fewer = planned.encoders != result.requested.encoders
    but = ("images", "preset", *(() if automatic else ("views", "stain", *(["encoders"] if fewer else []))))
    line = f"bchisto featurize {where} --out run{named}{given_options(context, featurize, but=but)}"
    if not automatic:
        line += _fitted_options(result)
    lines = [line + (" --skip-errors" if result.skips else "")]
    if (protocol := result.protocol) is not None:
        line = f"bchisto boost --out run{named}"
        line += f" --folds {shlex.quote(protocol.folds)}" if protocol.folds != _default_folds(result) else ""
        line += f" --group-by {protocol.group_by}" if protocol.group_by else ""
        lines.append(line + (LINEAR if linear else ""))
    return lines


def _fitted_options(result: Preflight) -> str:
    """Return the options that change the requested settings to the planned ones."""
    planned, line = result.planned, ""
    if planned.encoders != result.requested.encoders:
        line += "".join(f" --encoder {shlex.quote(str(choice))}" for choice in planned.encoders)
    if planned.views != type(planned)().views:
        line += "".join(f" --view {view}" for view in planned.views)
    if planned.stain != "macenko":
        line += f" --stain {planned.stain}"
    if planned.color_range != result.requested.color_range:
        line += " --color-range " + " ".join(f"{factor:g}" for factor in planned.color_range)
    return line


def fewer_folds(dataset: Dataset) -> str:
    """Return the option of boost for the split that came, or fewer than ten folds; empty if ten are possible.

    It has a space in front.
    """
    from ..data import GIVEN, DatasetFacts, further_columns, given_parts

    _, part_of = given_parts(DatasetFacts(columns=further_columns(dataset))) or ("", {})
    if {"train", "test"} <= {part_of.get(record.image_id) for record in dataset.records if record.label}:
        return f" --folds {GIVEN}"
    groups = {record.group for record in dataset.records}
    most = min((*dataset.class_counts().values(), len(dataset) if None in groups else len(groups)), default=0)
    return f" --folds {most}" if 1 < most < _FOLDS else ""


def _default_folds(result: Preflight) -> str:
    """Return the default folds of boost for these images."""
    bach = result.dataset.name == "bach" and len(result.dataset) == 400 and not result.dataset.synthetic
    return "rakhlin10" if bach else "10"
