"""The end of a command: results, files that were written, the command to run next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from ..core import ReportError, counted, printable
from .options import PRESET
from .terminal import count_repeated, put, shows_colour

if TYPE_CHECKING:
    from ..apps.check import Preflight
    from ..crossval import CrossValidation
    from ..data import Dataset

R = TypeVar("R")

_CONTINUED, _BEST = "    ", "best  "
"""How a line begins that continues the previous line, and the best of several results."""


def echo(*texts: str, err: bool = False, lines: bool = False, **style: Any) -> None:
    """Print texts with control characters escaped, and, unless `lines` is set, line breaks too.

    A `style` is a parameter of `click.style`.
    """
    for text in texts:
        put(printable(text, lines=lines), err=err, **style)


def quoted(path: Path | str) -> str:
    """Return a path quoted for a shell, for commands that users copy."""
    return "./" * str(path).startswith("-") + shlex.quote(
        str(path)
    )  # else a folder "-x" is read as an option


def results(lines: Sequence[str]) -> None:
    """Print one result, its first sentence in bold, or a table of several, of which the best are."""
    first = next(
        (k for k, line in enumerate(lines) if k and not line.startswith(_CONTINUED)), len(lines)
    )
    for k, line in enumerate(lines):
        echo(line, **({"bold": True} if k < first or line.startswith(_BEST) else {}))


def done(
    wrote: Sequence[Path | str],
    *,
    then: str | Sequence[str] = (),
    failures: int = 0,
    listed: Path | str = "",
) -> None:
    """Print the files that were written and what to run next; exit with 1 if images failed.

    Parameters
    ----------
    wrote : sequence of path
    then : str or sequence of str
        At most two commands that can be run as printed, except for placeholders such as ``DIR``; or a sentence.
    failures : int
        Number of images that were left out.
    listed : path
        File that lists these images.
    """
    count_repeated()
    for path in wrote:
        click.echo(
            printable(f"wrote {path}"), err=True
        )  # in one line, so that a path can be copied
    for command in [then] if isinstance(then, str) else then:
        if command.startswith("bchisto "):
            show_commands([command], label="next: ", err=True)
        else:
            echo(f"next: {command}", err=True)
    if failures:
        was = "was" if failures == 1 else "were"
        echo(f"{counted(failures, 'image')} {was} left out, listed in {listed}", err=True)
        click.get_current_context().exit(1)


def show_commands(commands: Sequence[str], *, label: str = "", err: bool = False) -> None:
    """Print commands, each in one line, so that it can be copied; on a terminal in bold."""
    bold = shows_colour(sys.stderr if err else sys.stdout)
    for command in map(printable, commands):
        click.echo(label + (click.style(command, bold=True) if bold else command), err=err)


def reported_last(work: Callable[[], R]) -> tuple[R, ReportError | None]:
    """Do work and return its results, and the error if only a report could not be written, to be raised at the end."""
    try:
        return work(), None
    except ReportError as error:
        return error.results, error


def print_results(
    train: Callable[[], Sequence[CrossValidation]],
    *,
    shown: Path,
    then: Callable[[Path], str | Sequence[str]],
    listed: Path | str = "",
) -> None:
    """Train, and print the results, the files that were written, and what to run next.

    Parameters
    ----------
    train : callable
        Does the work.
    shown : Path
        The report of the run, which exists if anything was tested.
    then : callable
        Returns the commands to run next, from the model file of the best result.
    listed : Path or str
        File that lists images that were left out.

    Raises
    ------
    ReportError
        A report could not be written; the results are printed first.
    """
    from ..crossval import best_first, summary_of

    trained, failed = reported_last(train)
    results(summary_of(trained))
    if failed is not None:
        raise failed
    made = [result for result in best_first(trained) if result.assembled]
    wrote: list[Path | str] = [
        path for result in made[:1] for path in (result.model, result.report)
    ]
    if made[1:]:
        wrote = [
            f"{made[0].folder.parent}: of each result a folder with model.bchisto and report.html"
        ]
    wrote += [shown] if any(result.panel is not None for result in made) else []
    following = (
        then(made[0].model) if made else "the other shards, then the same command without --shard"
    )
    done(wrote, then=following, failures=len(trained[0].failures), listed=listed)


def fewer_folds(dataset: Dataset) -> str:
    """Return the option of boost for fewer than ten folds, with a space in front; empty if ten are possible."""
    groups = {record.group for record in dataset.records}
    most = min(
        (*dataset.class_counts().values(), len(dataset) if None in groups else len(groups)),
        default=0,
    )
    return f" --folds {most}" if 1 < most < 10 else ""


LINEAR = " --head logistic"
"""The classifier for encoders with their own default settings: a linear probe, as is usual for them."""

_TYPED = (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP, ParameterSource.ENVIRONMENT)


def typed_names(context: click.Context) -> set[str]:
    """Return the names of parameters that come from the command line or a file of options, but not from a preset."""
    given = context.default_map or {}
    of_preset = {
        name for name, value in context.meta.get(PRESET, {}).items() if given.get(name) is value
    }
    names = {
        one.name or "": context.get_parameter_source(one.name or "")
        for one in context.command.params
    }
    return {
        name
        for name, source in names.items()
        if source in _TYPED and not (source == ParameterSource.DEFAULT_MAP and name in of_preset)
    }


def given_options(
    context: click.Context, command: click.Command, *, but: Sequence[str] = ()
) -> str:
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
        if isinstance(parameter, click.Option)
        and parameter.name in theirs
        and parameter.name not in but
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
        yield from (
            (flag, *map(shlex.quote, texts))
            if parameter.nargs > 1
            else (flag, shlex.quote(",".join(texts)))
        )
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
        return [
            f"bchisto data check {where}{given_options(context, context.command, but=('images', 'html'))}"
        ]
    if not result.planned_views or result.untrainable:
        return []
    planned, named = result.planned, "" if preset is None else f" --preset {preset}"
    fewer = planned.encoders != result.requested.encoders
    but = (
        "images",
        "preset",
        *(() if automatic else ("views", "stain", *(["encoders"] if fewer else []))),
    )
    line = f"bchisto featurize {where} --out run{named}{given_options(context, featurize, but=but)}"
    if not automatic:
        line += _fitted_options(result)
    lines = [line + (" --skip-errors" if result.skips else "")]
    if (protocol := result.protocol) is not None:
        bach = (
            result.dataset.name == "bach"
            and len(result.dataset) == 400
            and not result.dataset.synthetic
        )
        default = "rakhlin10" if bach else "10"
        line = f"bchisto boost --out run{named}"
        line += f" --folds {shlex.quote(protocol.folds)}" if protocol.folds != default else ""
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
