"""Output on a terminal: colours, repeated warnings only once, and names of parameters as flags."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, TextIO

import click

from ..core import Message, Write


def in_flags(command: click.Command, *others: click.Command) -> Write:
    """Return a function that writes a parameter as the flag of a command, or as a word if there is no such option.

    Options that only other commands have are written as theirs, for advice on what to run next.

    Its attribute ``lacks`` returns whether the command lacks an option, so that remedies with it can be left out.

    Examples
    --------
    >>> command = click.Command("cut", params=[click.Option(["--side", "sides"], multiple=True)])
    >>> write = in_flags(command)
    >>> write("sides", ""), write("sides", "4 6"), write("depth", "2")
    ('--side', '--side 4 --side 6', 'depth 2')
    """
    options = {
        flag.name: flag
        for each in (*others, command)
        for flag in each.params
        if isinstance(flag, click.Option)
    }

    def write(name: str, value: str) -> str:
        option = options.get(name)
        if option is None or (option.is_flag and value == "False" and not option.secondary_opts):
            return f"{name} {value}".rstrip()
        flag = max(option.opts, key=len)  # --verbose rather than -v
        if {*value} & {*"()[]\\*?$|"} or (
            " " in value and option.nargs == 1 and not option.multiple
        ):
            value = shlex.quote(value)
        if option.is_flag:
            return option.secondary_opts[0] if value == "False" else flag
        if option.multiple:
            return " ".join(f"{flag} {word}" for word in value.split()) or flag
        return f"{flag} {value}".rstrip()

    write.lacks = lambda name: name not in options  # type: ignore[attr-defined]
    return write


def invoked(command: click.Command, words: Sequence[str]) -> click.Command:
    """Return the command (or subcommand) that the words of a command line call."""
    for word in words:
        inner = (
            command.get_command(click.Context(command), word)
            if isinstance(command, click.Group)
            else None
        )
        if inner is None:
            break
        command = inner
    return command


_COLOURS = {"warning": "yellow", "error": "red"}


def shows_colour(stream: TextIO) -> bool:
    """Return whether a stream is a terminal with colours, see https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def put(text: str, *, err: bool = False, **style: Any) -> None:
    """Print a text; on a terminal with a style, and ``error:`` or ``warning:`` in colour.

    Parameters
    ----------
    text : str
    err : bool
        Print to stderr.
    **style : any
        Parameters of `click.style`.
    """
    click.echo(_for_terminal(text, sys.stderr if err else sys.stdout, **style), err=err)


def _for_terminal(text: str, stream: TextIO, **style: Any) -> str:
    if not shows_colour(stream):
        return text
    label, _, message = text.partition(":")
    if label in _COLOURS:
        return click.style(f"{label}:", fg=_COLOURS[label], bold=True) + message
    return click.style(text, **style) if style else text


class Handler(logging.StreamHandler[TextIO]):
    """Prints messages on stderr, above the progress bar; of each kind of warning only the first, and counts the others.

    Warnings are of the same kind if they have the same template with words in it, such as ``left out: %s``, or are
    equal. With ``-v``, all are printed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._first: dict[str, str] = {}
        self._repeated: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message, or count it."""
        if record.levelno == logging.WARNING:
            text = super().format(record)
            kind = _kind(record) or text
            if kind in self._first and not logging.getLogger("bchisto").isEnabledFor(logging.DEBUG):
                if text != self._first[kind]:
                    self._repeated[kind] += 1
                return
            self._first[kind] = text
        tqdm = sys.modules.get("tqdm")  # without it, there is no progress bar to print above
        with tqdm.tqdm.external_write_mode(file=sys.stderr) if tqdm else contextlib.nullcontext():
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return a message; for a terminal with colours."""
        text = super().format(record)
        return text if record.exc_info else _for_terminal(text, self.stream)

    def count_repeated(self) -> None:
        """Print the number of repeated warnings of each kind."""
        for kind, count in self._repeated.items():
            put(f"{self._first[kind]} ({count:,} more such warnings; -v prints them)", err=True)
        self._repeated.clear()


def _kind(record: logging.LogRecord) -> str:
    """Return the fixed words of a message's template; empty if it has no words."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    parts = (record.msg, *(item for item in arguments if isinstance(item, Message)))
    words = re.sub(
        r"%\w|{.*?}", "", " ".join(str(getattr(part, "template", part)) for part in parts)
    )
    return words if re.search("[a-z]{3}", words) else ""


def count_repeated() -> None:
    """Print the number of repeated warnings of each kind, if the log goes to a `Handler`."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Handler):
            handler.count_repeated()
