"""The end of a command: results, files that were written, the command to run next."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
from click.core import ParameterSource

from ..core import Content, Message, ReportError, counted, items_of, plural, written
from ..core.jobs import NOTHING_NEW
from .help import is_flag
from .options import CONFIG, OF_FILE, joined_names
from .terminal import count_repeated, in_flags, is_logged, option_words
from .terminal import echo as echo  # commands import it from this module

if TYPE_CHECKING:
    from ..apps.check import Preflight
    from ..crossval import CrossValidation
    from ..data import Finding
    from ..featurize import ChosenSettings

R = TypeVar("R")

_CONTINUED = "    "
"""The beginning of a line that continues the previous line."""
_BEST = "best  "
"""The beginning of the line of the best of several results."""
_LINES = 14
"""Most lines from the verdict on, of one protocol."""


def quoted(path: Path | str) -> str:
    """Return a path quoted for a shell, for commands that users copy."""
    text = str(path)
    if text.startswith("-"):  # it would be read as an option
        return "./" + shlex.quote(text)
    return shlex.quote(text)


def end_check(*, unchanged: bool = False) -> None:
    """End a command that only checks, with `NOTHING_NEW` if there is nothing to do."""
    context = click.get_current_context()
    if context.params["checks"]:
        context.exit(NOTHING_NEW if unchanged else 0)


def results(lines: Sequence[str]) -> None:
    """Print lines of results: the first one, with its continuations, and that of the best result are bold."""
    count_repeated()
    in_first = True
    for number, line in enumerate(lines):
        in_first = in_first and (not number or line.startswith(_CONTINUED))
        if in_first or line.startswith(_BEST):
            echo(line, bold=True)
        else:
            echo(line)


def done(
    outputs: Sequence[Path | str],
    *,
    then: str | Sequence[str] = (),
    failures: int = 0,
    listed: Path | str = "",
) -> None:
    """Print the files that were written and what to run next; exit with 1 if images failed.

    Parameters
    ----------
    outputs : sequence of path
    then : str or sequence of str
        At most two commands that can be run as printed, except for placeholders such as ``DIR``; or a sentence.
    failures : int
        Number of images that were left out.
    listed : path
        File that lists these images.
    """
    count_repeated()
    echo(*(f"wrote {path}" for path in outputs), err=True)
    for command in items_of(then):
        if command.startswith("bchisto "):
            # in one line, so that it can be copied
            echo(f"next: {command}", err=True, bold=True)
        else:
            write = in_flags(click.get_current_context().command)
            echo(f"next: {written(command, write)}", err=True)
    if failures:
        verb = "was" if failures == 1 else "were"
        text = f"warning: {counted(failures, 'image')} {verb} left out, listed in {listed}"
        echo(text, err=True)
        click.get_current_context().exit(1)


def room_above(
    outputs: Sequence[Path | str], then: str | Sequence[str] = (), failures: int = 0
) -> int:
    """Return how many lines an answer may have above those of `done`; 0 for any number, with ``--verbose``."""
    if is_logged(logging.DEBUG):
        return 0
    return _LINES - len(outputs) - len(items_of(then)) - min(failures, 1)


def reported_last(work: Callable[[], R]) -> tuple[R, ReportError | None]:
    """Do work and return its results, and the error if only a report could not be written, to be raised at the end."""
    try:
        return work(), None
    except ReportError as error:
        return error.results, error


def print_results(
    train: Callable[[], Sequence[CrossValidation]],
    *,
    run: Path,
    then: Callable[[Path], str],
    listed: Path | str = "",
) -> None:
    """Train, and print the results, the files that were written, and what to run next.

    Parameters
    ----------
    train : callable
        Does the work.
    run : Path
        The run folder, which has a report if anything was tested.
    then : callable
        Returns the command to run next, from the model file of the highest result, if that is better than chance.
    listed : Path or str
        File that lists images that were left out.

    Raises
    ------
    ReportError
        A report could not be written; the results are printed first.
    """
    from ..crossval import in_order, offered, summary_of

    protocols, error = reported_last(train)
    failures = len(protocols[0].failures)
    outputs: list[Path | str] = []
    command: str = Message("the other shards, then the same command without {shard}")
    assembled = [result for result in in_order(protocols) if result.assembled]
    if assembled:
        first = assembled[0]
        outputs = [first.model, first.report]
        if len(assembled) > 1:
            parent = first.folder.parent
            outputs = [f"{parent}: of each result a folder with model.bchisto and report.html"]
        if any(result.panel is not None for result in assembled):
            outputs.append(run / "report.html")
        best = offered(assembled)
        command = advice(assembled) if best is None else then(best.model)
    results(summary_of(protocols, room=room_above(outputs, command, failures)))
    if error is not None:
        raise error
    end_check()
    done(outputs, then=command, failures=failures, listed=listed)


_HELP = {
    "weights": "weights that were trained, {featurize.weights:NAME=PATH ...}",
    "threshold": "another threshold, {evaluate.sensitivity:0.9 ...}, for two classes with {evaluate.positive:CLASS}",
    "images": "more labelled images of more {}, or another encoder, {featurize.encoder:NAME ...}",
}
"""What would help if nothing is shown to be better than chance, by the kind of `Advice`."""


def advice(results: Sequence[CrossValidation]) -> Message:
    """Return what may help if no model of these results, which are in order, is offered."""
    from ..evaluate import advice_of

    remedy = advice_of(next(result.panel for result in results if result.panel is not None))
    text = "no model is offered (docs/chance.md); what may help: "
    return Message(text + _HELP[remedy.kind], *[plural(remedy.unit)] * (remedy.kind == "images"))


def typed_names(context: click.Context) -> set[str]:
    """Return the names of parameters that come from the command line or a file of options, but not from a preset."""
    names = {
        name
        for name in context.params
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE
    }
    return names.union(context.meta.get(OF_FILE, ()))


def given_options(context: click.Context, command: click.Command, *, but: Sequence[str]) -> str:
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
    names = typed_names(context).difference(but)
    line = as_typed(command, {name: context.params.get(name) for name in names})
    if any(option.name in names and not is_flag(option) for option in command.params):
        line += f" --config {quoted(context.meta[CONFIG])}"
    return line


def as_typed(command: click.Command, values: Mapping[str, object]) -> str:
    """Return options of a command as they are typed, quoted for a shell; empty, or with a space in front."""
    words = []
    for option in command.params:
        if isinstance(option, click.Option) and option.name in values and is_flag(option):
            words += _words(option, values[option.name])
    return "".join(f" {word}" for word in words)


def _words(option: click.Option, value: object) -> list[str]:
    """Return the words that set an option to a value, each quoted for a shell; none for a value that is not set."""
    if value is None or (option.is_flag and not value):
        return []
    values = () if option.is_flag else items_of(value)
    if option.nargs == 1 and not option.multiple and isinstance(value, tuple):
        values = (joined_names(value),)
    return option_words(option, [shlex.quote(str(item)) for item in values])


def recommended_options(findings: Iterable[Finding]) -> dict[str, str]:
    """Return the options that findings recommend by their names, each as it is typed, with a space in front."""
    return {
        name: f" --{name} {shlex.quote(value)}"
        for finding in findings
        for name, value in finding.options
    }


def next_commands(
    context: click.Context,
    result: Preflight,
    *,
    preset: str | None,
    chosen: ChosenSettings,
) -> list[str]:
    """Return the commands to run after a check, complete so that they can be run unchanged.

    Parameters
    ----------
    context : click.Context
        Context of the check.
    result : Preflight
    preset : str or None
        Preset of the settings.
    chosen : ChosenSettings
        The settings that `bchisto featurize` chooses for the same options.
    """
    from ..apps.check import to_label, training_options
    from .train import boost, featurize

    images = str(context.params["images"])
    source = f"--images {shlex.quote(images)}"
    if result.refused:
        options = given_options(context, context.command, but=("images", "html"))
        return [f"bchisto data check {source}{options}"]
    files = len(result.planned.encoders) * len(result.planned.views)
    labelling = to_label(result.dataset, "run", files=files)
    if not result.planned_views or (result.untrainable and not labelling):
        return []
    recommended = recommended_options(result.findings)
    changes: Content = {}
    if not chosen.fits_views:  # what was asked for is replaced by what fits the images
        changes = {
            name: value
            for name, value in vars(result.planned).items()
            if value != getattr(result.requested, name) and name not in recommended
        }
    preset_option = "" if preset is None else f" --preset {preset}"
    options = given_options(context, featurize, but=("images", "preset", *recommended, *changes))
    line = f"bchisto featurize {source} --out run{preset_option}{options}"
    line += as_typed(featurize, changes) + "".join(recommended.values())
    if result.skips:
        line += " --skip-errors"
    if result.protocol is None:
        return [line, *labelling]
    training = training_options(
        result.dataset, result.protocol, linear=chosen.has_defaults, few=bool(labelling)
    )
    training_line = f"bchisto boost --out run{preset_option}{as_typed(boost, training)}"
    return [line, training_line, *labelling]
