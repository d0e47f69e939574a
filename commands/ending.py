"""How a command ends: what was written, what to run next, what was left out."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..core import ReportError, counted, printable
from .terminal import as_typed, count_repeated, put, shows_colour

if TYPE_CHECKING:
    from ..crossval import CrossValidation

R = TypeVar("R")

_OWN = ("DIR", "RUN", "FILE")
"""Words of a command in the place of what only the user knows."""

_CONTINUED = "    "
"""How a line of a result begins that goes on with the one before."""


def echo(*texts: str, err: bool = False, lines: bool = False, **style: Any) -> None:
    """Print texts; control characters of names in them, and with `lines` not the line breaks, stand as escapes.

    A `style` is one of `click.style`.
    """
    for text in texts:
        put(printable(text, lines=lines), err=err, **style)


def quoted(path: Path | str) -> str:
    """Return a path as a shell takes it, for commands that are to be copied."""
    return shlex.quote(str(path))


def results(lines: Sequence[str], printed: set[str]) -> None:
    """Print a result, the answer in bold; on a terminal, lines that were broken for a page are broken anew.

    Parameters
    ----------
    lines : sequence of str
        The answer, then what else there is.
    printed : set of str
        Sentences that the same command has printed of other results, which are not repeated; those of this are added.
    """
    sentences: list[list[str]] = []
    for line in lines:
        if sentences and line.startswith(_CONTINUED):
            sentences[-1].append(line)
        else:
            sentences.append([line])
    repeated = False
    for place, sentence in enumerate(sentences):
        text = " ".join([sentence[0], *map(str.strip, sentence[1:])])
        if place and text in printed:
            repeated = True
        else:
            echo(*([text] if sys.stdout.isatty() else sentence), **({} if place else {"bold": True}))
        printed.add(text)
    if repeated:
        echo("  What is printed above on patients, and the warnings there, also hold for this.")


def done(
    wrote: Sequence[Path | str], *, then: str | Sequence[str] = (), failures: int = 0, listed: Path | str = ""
) -> None:
    """Print what was written and what to run next; exit with 1 if items failed.

    Parameters
    ----------
    wrote : sequence of path
    then : str or sequence of str
        Commands, two at most, that run as they are printed, but for words in capitals such as ``DIR``; or a sentence.
    failures : int
        Images that were left out.
    listed : path
        Where these are listed.
    """
    count_repeated()
    for path in wrote:
        click.echo(printable(f"wrote {path}"), err=True)  # in one line, so that a path can be copied
    for command in [then] if isinstance(then, str) else then:
        if not command.startswith("bchisto "):
            echo(f"next: {command}", err=True)
            continue
        own = [word for word in command.split() if word in _OWN]
        show_commands([command], label=f"next, with your {' and '.join(own)}: " if own else "next: ", err=True)
    if failures:
        was = "was" if failures == 1 else "were"
        echo(f"{counted(failures, 'image')} {was} left out, listed in {listed}", err=True)
        click.get_current_context().exit(1)


def show_commands(commands: Sequence[str], *, label: str = "", err: bool = False) -> None:
    """Print commands; on a terminal in bold, and in lines that a shell joins."""
    stream = sys.stderr if err else sys.stdout
    for command in map(printable, commands):
        lines = as_typed(command, before=label).removeprefix(label) if stream.isatty() else command
        click.echo(label + (click.style(lines, bold=True) if shows_colour(stream) else lines), err=err)


def reported_last(work: Callable[[], R]) -> tuple[R, ReportError | None]:
    """Do work; where only a report could not be written, return that error beside the results, to be raised at last."""
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
    explain: int | None = None,
) -> None:
    """Train, and say of each result what it is, what was written, and what to run next.

    Parameters
    ----------
    train : callable
        Does the work.
    shown : Path
        The run's own report, where there is one.
    then : callable
        From the first model file to the next commands.
    listed : Path or str
        Where images that were left out are listed.
    explain : int, optional
        Cases of each class and side that its reports show with maps.

    Raises
    ------
    ReportError
        A report could not be written; all else is said before.
    """
    trained, failed = reported_last(train)
    if explain:
        from ..explain import show_cases

        without: list[str] = []
        show_cases(trained, explain=explain, failed=without)
        failed = failed or (ReportError("; ".join(without), trained) if without else None)
    wrote: list[Path] = []
    printed: set[str] = set()
    for result in trained:
        results(result.summary(), printed)
        if result.assembled:
            wrote += [result.model, result.report]
    if failed is not None:
        raise failed
    tested = any(result.panel is not None for result in trained)
    done(
        [*wrote, *([shown] if tested else [])],
        then=then(wrote[0]) if wrote else "the other shards, then the same command without --shard",
        failures=len(trained[0].failures),
        listed=listed,
    )
