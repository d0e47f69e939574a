"""How a command ends: what was written, what to run next, what was left out."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ..core import ReportError, printable

if TYPE_CHECKING:
    from ..crossval import CrossValidation

R = TypeVar("R")


def counted(count: int, noun: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> counted(1, "store"), counted(12, "image")
    ('1 store', '12 images')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def echo(*texts: str, err: bool = False, lines: bool = False) -> None:
    """Print texts; control characters of names in them, and with `lines` not the line breaks, stand as escapes."""
    for text in texts:
        click.echo(printable(text, lines=lines), err=err)


def quoted(path: Path | str) -> str:
    """Return a path as a shell takes it, for commands that are to be copied."""
    return shlex.quote(str(path))


def done(wrote: Sequence[Path | str], *, then: str | None = None, failures: int = 0, listed: Path | str = "") -> None:
    """Say what was written and what to run next; exit with 1 if items failed."""
    echo(*(f"wrote {path}" for path in wrote), err=True)
    if then:
        echo(f"next: {then}", err=True)
    if failures:
        was = "was" if failures == 1 else "were"
        echo(f"{counted(failures, 'image')} {was} left out, listed in {listed}", err=True)
        click.get_current_context().exit(1)


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
    then: Callable[[Path], str],
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
        From the first bundle to the next command.
    listed : Path or str
        Where images that were left out are listed.
    explain : int, optional
        Cases of each class and side that its reports show with maps.

    Raises
    ------
    ReportError
        A report could not be written; all else is said before.
    """
    results, failed = reported_last(train)
    if explain:
        from ..explain import show_cases

        without: list[str] = []
        show_cases(results, explain=explain, failed=without)
        failed = failed or (ReportError("; ".join(without), results) if without else None)
    wrote: list[Path] = []
    for result in results:
        echo(*result.summary())
        if result.assembled:
            wrote += [result.model, result.report]
    if failed is not None:
        raise failed
    tested = any(result.panel is not None for result in results)
    done(
        [*wrote, *([shown] if tested else [])],
        then=then(wrote[0]) if wrote else "the other shards, then the same command without --shard",
        failures=len(results[0].failures),
        listed=listed,
    )
