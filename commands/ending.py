"""The end of a command: results, files that were written, the command to run next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from ..core import Message, ReportError, counted, items_of, plural, printable, written
from ..core.jobs import NOTHING_NEW, Work
from .help import is_flag
from .options import CONFIG, PRESET, joined_names
from .terminal import count_repeated, in_flags, option_words, put, shows_colour

if TYPE_CHECKING:
    from ..apps.check import Preflight, ProtocolCheck
    from ..crossval import CrossValidation
    from ..data import Dataset, Finding

R = TypeVar("R")

_CONTINUED = "    "
"""How a line begins that continues the previous line."""
_BEST = "best  "
"""How the line of the best of several results begins."""


def echo(*texts: str, err: bool = False, lines: bool = False, **style: Any) -> None:
    """Print texts with control characters escaped, and, unless `lines` is set, line breaks too.

    A `style` is a parameter of `click.style`.
    """
    for text in texts:
        put(printable(text, lines=lines), err=err, **style)


def quoted(path: Path | str) -> str:
    """Return a path quoted for a shell, for commands that users copy."""
    text = str(path)
    if text.startswith("-"):  # it would be read as an option
        return "./" + shlex.quote(text)
    return shlex.quote(text)


def end_check(work: Work, *, unchanged: bool) -> None:
    """End a command that only checks, with `NOTHING_NEW` if there is nothing to do."""
    if work.checks:
        click.get_current_context().exit(NOTHING_NEW if unchanged else 0)


def results(lines: Sequence[str]) -> None:
    """Print one result, its first sentence in bold, or a table of several, of which the best are."""
    in_first = True
    for number, line in enumerate(lines):
        if number > 0 and not line.startswith(_CONTINUED):
            in_first = False
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
    for path in outputs:  # each in one line, so that a path can be copied
        click.echo(printable(f"wrote {path}"), err=True)
    for command in items_of(then):
        if command.startswith("bchisto "):
            show_commands([command], label="next: ", err=True)
        else:
            write = in_flags(click.get_current_context().command)
            echo(f"next: {written(command, write)}", err=True)
    if failures:
        was = "was" if failures == 1 else "were"
        echo(f"{counted(failures, 'image')} {was} left out, listed in {listed}", err=True)
        click.get_current_context().exit(1)


def show_commands(commands: Sequence[str], *, label: str = "", err: bool = False) -> None:
    """Print commands, each in one line, so that it can be copied; on a terminal in bold."""
    in_bold = shows_colour(sys.stderr if err else sys.stdout)
    for command in map(printable, commands):
        if in_bold:
            command = click.style(command, bold=True)
        click.echo(label + command, err=err)


def reported_last(work: Callable[[], R]) -> tuple[R, ReportError | None]:
    """Do work and return its results, and the error if only a report could not be written, to be raised at the end."""
    try:
        return work(), None
    except ReportError as error:
        return error.results, error


def print_results(
    train: Callable[[], Sequence[CrossValidation]],
    *,
    work: Work,
    shown: Path,
    then: Callable[[Path], str | Sequence[str]],
    listed: Path | str = "",
) -> None:
    """Train, and print the results, the files that were written, and what to run next.

    Parameters
    ----------
    train : callable
        Does the work.
    work : Work
    shown : Path
        The report of the run, which exists if anything was tested.
    then : callable
        Returns the commands to run next, from the model file of the highest result, if that is better than chance.
    listed : Path or str
        File that lists images that were left out.

    Raises
    ------
    ReportError
        A report could not be written; the results are printed first.
    """
    from ..crossval import in_order, offered, summary_of

    trained, failed = reported_last(train)
    results(summary_of(trained))
    if failed is not None:
        raise failed
    end_check(work, unchanged=False)
    failures = len(trained[0].failures)
    assembled = [result for result in in_order(trained) if result.assembled]
    if not assembled:
        others = Message("the other shards, then the same command without {shard}")
        done([], then=others, failures=failures, listed=listed)
        return
    first = assembled[0]
    outputs: list[Path | str] = [first.model, first.report]
    if len(assembled) > 1:
        parent = first.folder.parent
        outputs = [f"{parent}: of each result a folder with model.bchisto and report.html"]
    if any(result.panel is not None for result in assembled):
        outputs.append(shown)
    best = offered(assembled)
    following = [advice(assembled)] if best is None else then(best.model)
    done(outputs, then=following, failures=failures, listed=listed)


_HELP = {
    "weights": "weights that were trained, {featurize.weights:NAME=PATH ...}",
    "threshold": "another threshold, {evaluate.sensitivity:0.9 ...}, for two classes with {evaluate.positive:CLASS}",
    "images": "more labelled images of more {}, or another encoder, {featurize.encoder:NAME ...}",
}
"""What would help if nothing is shown to be better than chance, by the kind of `Advice`."""


def advice(results: Sequence[CrossValidation]) -> Message:
    """Return what would help, of results in order of which none is offered."""
    from ..evaluate import advice_of

    given = advice_of(next(result.panel for result in results if result.panel is not None))
    text = (
        "no model is offered: not shown to be better than chance (docs/chance.md); what may help: "
    )
    return Message(text + _HELP[given.kind], *[plural(given.unit)] * (given.kind == "images"))


def fold_options(dataset: Dataset) -> str:
    """Return the options of boost for the folds that a check of the images recommends, with a space in front."""
    from ..apps.check import check_protocols, recommended
    from ..data import FoldChoice

    protocol = recommended(check_protocols(dataset, FoldChoice()))
    if protocol is None:
        return ""
    return _protocol_options(dataset, protocol)


LINEAR = " --head logistic"
"""The classifier for encoders with their own default settings, a linear probe as is usual for them, and for few labels:
of two patients of a class it leaves none to choose its settings by."""

_TYPED = (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP, ParameterSource.ENVIRONMENT)


def typed_names(context: click.Context) -> set[str]:
    """Return the names of parameters that come from the command line or a file of options, but not from a preset."""
    defaults = context.default_map or {}
    preset = context.meta.get(PRESET, {})
    of_preset = {name for name, value in preset.items() if defaults.get(name) is value}
    typed = set()
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if source == ParameterSource.DEFAULT_MAP and name in of_preset:
            continue
        if source in _TYPED:
            typed.add(name)
    return typed


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
    shared = typed_names(context).intersection(parameter.name for parameter in command.params)
    shared -= {*but}
    options = [
        parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.name in shared
    ]
    words = []
    for option in filter(is_flag, options):
        words += _words(option, context.params.get(option.name or ""))
    if not all(map(is_flag, options)):
        words += ["--config", quoted(context.meta[CONFIG])]
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
    featurize: click.Command,
    result: Preflight,
    *,
    images: str,
    preset: str | None,
    automatic: bool,
    linear: bool,
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
    preset : str or None
        Preset of the settings.
    automatic : bool
        Whether `bchisto featurize` adapts the settings to the images by itself.
    linear : bool
        Whether the settings are defaults of the encoder.
    """
    from ..apps.check import to_label

    source = f"--images {shlex.quote(images)}"
    if result.refused:
        options = given_options(context, context.command, but=("images", "html"))
        return [f"bchisto data check {source}{options}"]
    files = len(result.planned.encoders) * len(result.planned.views)
    labelling = to_label(result.dataset, "run", files=files)
    if not result.planned_views or (result.untrainable and not labelling):
        return []
    recommended = recommended_options(result.findings)
    preset_option = "" if preset is None else f" --preset {preset}"
    but = ["images", "preset", *recommended]
    fitted = "".join(recommended.values())
    if not automatic:
        # what was asked for is replaced by what fits the images
        fitted += _fitted_options(result, but=recommended)
        but += ["views", "stain"]
        if result.planned.encoders != result.requested.encoders:
            but.append("encoders")
    options = given_options(context, featurize, but=but)
    line = f"bchisto featurize {source} --out run{preset_option}{options}{fitted}"
    if result.skips:
        line += " --skip-errors"
    if result.protocol is None:
        return [line, *labelling]
    protocol = _protocol_options(result.dataset, result.protocol)
    training = f"bchisto boost --out run{preset_option}{protocol}"
    if linear or (labelling and protocol != " --folds 2"):
        training += LINEAR
    return [line, training, *labelling]


def _protocol_options(dataset: Dataset, protocol: ProtocolCheck) -> str:
    """Return the options of boost that a protocol needs; those that boost takes by itself are left out."""
    from ..boost import default_folds

    line = ""
    default = default_folds(dataset.name, len(dataset), synthetic=dataset.synthetic)
    if protocol.folds != default:
        line += f" --folds {shlex.quote(protocol.folds)}"
    if protocol.group_by:
        line += f" --group-by {protocol.group_by}"
    return line


def _fitted_options(result: Preflight, *, but: Container[str]) -> str:
    """Return the options that change the requested settings to the planned ones."""
    planned = result.planned
    line = ""
    if planned.encoders != result.requested.encoders:
        line += "".join(f" --encoder {shlex.quote(str(choice))}" for choice in planned.encoders)
    if planned.views != type(planned)().views:
        line += "".join(f" --view {view}" for view in planned.views)
    if planned.stain != "macenko" and "stain" not in but:
        line += f" --stain {planned.stain}"
    if planned.color_range != result.requested.color_range:
        line += " --color-range " + " ".join(f"{factor:g}" for factor in planned.color_range)
    return line
