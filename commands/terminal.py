"""What a terminal shows: lines that fit, colour, one warning of a kind. Pipes and files get plain lines."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Any, TextIO

import click

from ..core import Message
from .help import WIDTH

_COLUMNS = re.compile(r"\S[^\n]{,28}?\s{2,}(?=\S)")
"""The first column of a row."""

_COLOURS = {"warning": "yellow", "error": "red"}


def shows_colour(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal that is to show colours: https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def put(text: str, *, err: bool = False, **style: Any) -> None:
    """Print a text: on a terminal in lines that fit, with a style, and ``error:`` and the like in colour.

    Parameters
    ----------
    text : str
    err : bool
        On stderr.
    **style : any
        Of `click.style`.
    """
    click.echo(_for_terminal(text, sys.stderr if err else sys.stdout, **style), err=err)


def _for_terminal(text: str, stream: TextIO, **style: Any) -> str:
    if not stream.isatty():
        return text
    text = fitted(text)
    if not shows_colour(stream):
        return text
    label, _, rest = text.partition(":")
    if label in _COLOURS:
        return click.style(f"{label}:", fg=_COLOURS[label], bold=True) + rest
    return click.style(text, **style) if style else text


def fitted(text: str) -> str:
    """Return a text with lines that fit the terminal, and are no longer than 100 characters.

    What follows of a line is indented by two more than its beginning, of a row of two columns as the second.
    """
    lines = []
    for line in text.split("\n"):
        columns = _COLUMNS.match(line)
        indent = " " * (len(line) - len(line.lstrip()) + 2 if columns is None else columns.end())
        lines += textwrap.wrap(
            line, _width(), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        ) or [""]
    return "\n".join(lines)


def as_typed(command: str, *, before: str = "") -> str:
    """Return a command, whose words are quoted for a shell, in lines that fit and that a shell joins again.

    Examples
    --------
    >>> print(as_typed("bchisto predict 'my run' --images DIR", before="next: "))
    next: bchisto predict 'my run' --images DIR
    """
    lines, line = [], before.rstrip()
    for word in map(shlex.quote, shlex.split(command)):
        if line.strip() and len(line) + len(word) + 3 > _width():
            lines.append(f"{line} \\")
            line = f"    {word}"
        else:
            line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])


def _width() -> int:
    return min(shutil.get_terminal_size((WIDTH, 40)).columns, WIDTH)


class Handler(logging.StreamHandler[TextIO]):
    """Prints messages on stderr, above the bar if there is one; of warnings of one kind the first, and counts others.

    Warnings are of one kind if they come from one template with words of its own, such as ``left out: %s``, or are the
    same. With ``-v`` all are printed.
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
        with _above_the_bar():
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return a message; on a terminal in lines that fit, and in colour."""
        text = super().format(record)
        return text if record.exc_info else _for_terminal(text, self.stream)

    def count_repeated(self) -> None:
        """Print how many warnings of each kind were only counted."""
        for kind, count in self._repeated.items():
            put(f"{self._first[kind]} ({count:,} more like it; -v prints them)", err=True)
        self._repeated.clear()


def _kind(record: logging.LogRecord) -> str:
    """Return the fixed words of a message; none if all of it is filled in."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    parts = (record.msg, *(item for item in arguments if isinstance(item, Message)))
    words = re.sub(r"%\w|{.*?}", "", " ".join(str(getattr(part, "template", part)) for part in parts))
    return words if re.search("[a-z]{3}", words) else ""


def count_repeated() -> None:
    """Print how many warnings of each kind were only counted."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Handler):
            handler.count_repeated()


@contextlib.contextmanager
def _above_the_bar() -> Iterator[None]:
    """Let a line be printed without breaking a bar that is shown."""
    if "tqdm" not in sys.modules:
        yield
        return
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):
        yield
