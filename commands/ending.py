"""Output at the end of a command: results, files that were written, commands to run next, images left out."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..core import ReportError, counted, printable
from .terminal import count_repeated, put, shows_colour

if TYPE_CHECKING:
    from ..crossval import CrossValidation

R = TypeVar("R")

_OWN = ("DIR", "RUN", "FILE")
"""Placeholders in a command, which the user must replace."""

_CONTINUED = "    "
"""Indentation of a result's line that continues the previous line."""


def echo(*texts: str, err: bool = False, lines: bool = False, **style: Any) -> None:
    """Print texts with control characters escaped, and, unless `lines` is set, line breaks too.

    A `style` is a parameter of `click.style`.
    """
    for text in texts:
        put(printable(text, lines=lines), err=err, **style)


def quoted(path: Path | str) -> str:
    """Return a path quoted for a shell, for commands that users copy."""
    return shlex.quote(str(path))


def results(lines: Sequence[str], printed: set[str], *, most: int | None = None) -> None:
    """Print a result, its first sentence in bold; on a terminal, lines are wrapped again to its width.

    Parameters
    ----------
    lines : sequence of str
        The main result, then further lines.
    printed : set of str
        Sentences that the command has already printed for other results, which are not repeated. This function adds to
        it.
    most : int, optional
        Print only so many sentences.
    """
    sentences: list[list[str]] = []
    for line in lines:
        if sentences and line.startswith(_CONTINUED):
            sentences[-1].append(line)
        else:
            sentences.append([line])
    repeated = False
    for place, sentence in enumerate(sentences[:most]):
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
    """Train, and print each result, the files that were written, and what to run next.

    Parameters
    ----------
    train : callable
        Does the work.
    shown : Path
        The report of the run, which exists if anything was tested.
    then : callable
        Returns the commands to run next, from the first model file.
    listed : Path or str
        File that lists images that were left out.

    Raises
    ------
    ReportError
        A report could not be written; the results are printed first.
    """
    trained, failed = reported_last(train)
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
