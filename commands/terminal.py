"""Output on a terminal: colours, repeated warnings only once, and names of parameters as flags."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import click

from ..core import Banner, Message, Writer, printable
from .help import is_flag


def in_flags(command: click.Command, *others: click.Command) -> Writer:
    """Return what writes a parameter as the flag of a command, or as a word if there is no such option.

    Options that only other commands have are written as theirs, for advice on what to run next. Remedies that need
    another option are left out.

    Examples
    --------
    >>> command = click.Command("cut", params=[click.Option(["--side", "sides"], multiple=True)])
    >>> write = in_flags(command)
    >>> write("sides", ""), write("sides", "4 6"), write("depth", "2")
    ('--side', '--side 4 --side 6', 'depth 2')
    """
    options = {
        option.name: option
        for each in (*others, command)
        for option in each.params
        if isinstance(option, click.Option)
    }

    def write(name: str, value: str) -> str:
        option = options.get(name)
        if option is None:
            return f"{name} {value}".rstrip()
        return _typed(option, value)

    return Writer(write, lacks=lambda name: name not in options)


def option_words(option: click.Option, values: Iterable[str]) -> list[str]:
    """Return the words that set an option to quoted values as one types them; a repeatable one is before each."""
    flag = max(option.opts, key=len)  # --verbose rather than -v
    if option.multiple:
        return [word for value in values for word in (flag, value)]
    return [flag, *values]


def _typed(option: click.Option, value: str) -> str:
    """Return an option with its value as one types them, or writes them into a file; without a value, only the name."""
    if not is_flag(option):
        if not value:
            return str(option.name)
        setting = value.lower() if option.is_flag else value
        return f"{option.name}: {setting} in a file of options"
    if option.is_flag and value == "False":
        # without a flag for False there is nothing to type
        return next(iter(option.secondary_opts), f"{option.name} False")
    if option.is_flag or not value:
        return option_words(option, [""])[0]
    values = [value]
    if option.multiple or option.nargs != 1:
        values = value.split()
    return " ".join(option_words(option, map(shlex.quote, values)))


def invoked(command: click.Command, words: Sequence[str]) -> click.Command:
    """Return the command (or subcommand) that the words of a command line call."""
    for word in words:
        if not isinstance(command, click.Group):
            break
        inner = command.get_command(click.Context(command), word)
        if inner is None:
            break
        command = inner
    return command


_COLOURS = {"caution": "yellow", "warning": "yellow", "error": "red"}


def is_logged(level: int) -> bool:
    """Return whether messages of a level are printed: debug with ``-v``, info without ``--quiet``."""
    return logging.getLogger("bchisto").isEnabledFor(level)


def echo(*texts: str, err: bool = False, lines: bool = False, **style: Any) -> None:
    """Print texts with control characters escaped; a terminal shows a style, and ``error:`` or ``warning:`` in colour.

    With ``--quiet``, only warnings and errors are printed.

    Parameters
    ----------
    *texts : str
    err : bool
        Print to stderr.
    lines : bool
        Keep line breaks.
    **style : any
        Parameters of `click.style`.
    """
    stream = sys.stderr if err else sys.stdout
    for text in texts:
        is_warning = isinstance(text, Banner) or text.startswith(tuple(_COLOURS))
        if not is_warning and not is_logged(logging.INFO):
            continue
        click.echo(_for_terminal(printable(text, lines=lines), stream, **style), err=err)


def _for_terminal(text: str, stream: TextIO, **style: Any) -> str:
    environment = os.environ  # see https://no-color.org
    plain = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
    if plain or not stream.isatty():
        return text
    label, _, message = text.partition(":")
    if label in _COLOURS:
        return click.style(f"{label}:", fg=_COLOURS[label], bold=True) + message
    if style:
        return click.style(text, **style)
    return text


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
        if record.levelno == logging.WARNING and self._is_repeated(record):
            return
        bar = contextlib.nullcontext()
        tqdm = sys.modules.get("tqdm")  # without it, there is no progress bar to print above
        if tqdm:
            bar = tqdm.tqdm.external_write_mode(file=sys.stderr)
        with bar:
            super().emit(record)

    def _is_repeated(self, record: logging.LogRecord) -> bool:
        """Return whether a warning of the kind was printed; another one than that is counted."""
        text = super().format(record)
        kind = _kind(record) or text
        if kind not in self._first or is_logged(logging.DEBUG):
            self._first[kind] = text
            return False
        if text != self._first[kind]:
            self._repeated[kind] += 1
        return True

    def format(self, record: logging.LogRecord) -> str:
        """Return a message; for a terminal with colours."""
        text = super().format(record)
        if record.exc_info:
            return text
        return _for_terminal(text, self.stream)

    def count_repeated(self) -> None:
        """Print the number of repeated warnings of each kind."""
        for kind, count in self._repeated.items():
            echo(f"{self._first[kind]} ({count:,} more such warnings; -v prints them)", err=True)
        self._repeated.clear()


def _kind(record: logging.LogRecord) -> str:
    """Return the fixed words of a message's template; empty if it has no words."""
    templates = [str(getattr(record.msg, "template", record.msg))]
    if isinstance(record.args, tuple):
        templates += [item.template for item in record.args if isinstance(item, Message)]
    words = re.sub(r"%\w|{.*?}", "", " ".join(templates))
    if re.search("[a-z]{3}", words):
        return words
    return ""


def count_repeated() -> None:
    """Print the number of repeated warnings of each kind, if the log goes to a `Handler`."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Handler):
            handler.count_repeated()
