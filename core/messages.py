"""Messages as values: a text with what is filled in, and the names of parameters as data.

The library speaks Python, the command line speaks in flags, and a prediction has other options than the training that
its model comes from. A `Message` therefore keeps its parts, and whoever shows it writes them; no finished text is read.
"""

from __future__ import annotations

import contextlib
import string
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = [
    "Message", "Names", "Parameter", "Write", "in_python", "limited", "limited_to", "message_of", "public", "written",
]  # fmt: skip

Write: TypeAlias = Callable[[str, str], str]
"""How a parameter is written: from its name, and the value it is to have as one types it, or nothing."""


@dataclass(frozen=True)
class Parameter:
    """A parameter or field whose name is known only when the message is made."""

    name: str

    def __str__(self) -> str:
        return in_python(self.name, "")


@dataclass(frozen=True)
class Names:
    """What names images or patients in a message, with the words that go with it; `public` leaves it out."""

    text: str

    def __str__(self) -> str:
        return self.text


def in_python(name: str, value: str) -> str:
    """Write a parameter as Python code has it.

    Examples
    --------
    >>> in_python("jobs", ""), in_python("jobs", "1"), in_python("pad", "reflect"), in_python("color_range", "1 1")
    ('`jobs`', '`jobs=1`', '`pad="reflect"`', '`color_range=(1, 1)`')
    """
    if not value:
        return f"`{name}`"
    words = value.split()
    if all(word.isdecimal() or word in ("True", "False") for word in words):
        return f"`{name}={words[0] if len(words) == 1 else '(' + ', '.join(words) + ')'}`"
    return f'`{name}="{value}"`'


class _Formatter(string.Formatter):
    """Fills a template: ``{}`` takes the next value, ``{name}`` and ``{name:value}`` are parameters."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Any) -> Any:
        return args[key] if isinstance(key, int) else Parameter(key)

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, Parameter):
            return self._write(value.name, format_spec)
        if isinstance(value, Names):
            return value.text
        value = _parts_of(value)
        return value.written(self._write) if isinstance(value, Message) else format(value, format_spec)


class Message(str):
    """A text that knows its parts; as a text it is what Python's callers read.

    Examples
    --------
    >>> print(Message("{views} {}: write SCALE:CROP", "0.5x"))
    `views` 0.5x: write SCALE:CROP

    Attributes
    ----------
    template : str
        ``{}`` stands for the next of the values, ``{name}`` for a parameter, ``{name:value}`` for one with a value, as
        one types it.
    values : tuple
        What is filled in: anything, other messages, errors with one, or a `Parameter`.
    remedies : tuple of str
        What may help; those that name what a caller cannot change are left out.
    known : frozenset of str, optional
        The parameters that its reader has; others belong to a trained model. All without.
    """

    template: str
    values: tuple[Any, ...]
    remedies: tuple[str, ...]
    known: frozenset[str] | None

    def __new__(
        cls, template: str, *values: Any, remedies: Sequence[str] = (), known: frozenset[str] | None = None
    ) -> Message:
        """Make the text."""
        parts = (template, values, tuple(remedies), known)
        made = super().__new__(cls, _written(*parts, in_python))
        made.template, made.values, made.remedies, made.known = parts
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self.template, self.values, self.remedies, self.known)

    def written(self, write: Write) -> str:
        """Return the text with its parameters as `write` has them."""
        return _written(self.template, self.values, self.remedies, self.known, write)

    def names(self) -> set[str]:
        """Return the parameters that it names."""
        parameters: set[str] = set()

        def collect(name: str, value: str) -> str:
            parameters.add(name)
            return name

        self.written(collect)
        return parameters

    def limited(self, known: Collection[str]) -> Message:
        """Return what it says to a caller who has these parameters alone.

        Examples
        --------
        >>> remedies = [Message("use a smaller {views}"), "leave it out"]
        >>> text = Message("{}: {mode:dense} needs more", "a.png", remedies=remedies)
        >>> print(text)
        a.png: `mode="dense"` needs more; use a smaller `views`, or leave it out
        >>> print(text.limited({"images"}))
        a.png: this model's mode dense needs more; leave it out
        """
        values = tuple(
            part.limited(known) if isinstance(part, Message) else part for part in map(_parts_of, self.values)
        )
        left = tuple(part for part in self.remedies if not (isinstance(part, Message) and part.names() - {*known}))
        return Message(self.template, *values, remedies=left, known=frozenset(known))


def _made(template: str, values: tuple[Any, ...], remedies: tuple[str, ...], known: frozenset[str] | None) -> Message:
    """Return a message that was pickled."""
    return Message(template, *values, remedies=remedies, known=known)


def written(text: str, write: Write) -> str:
    """Return a text, with its parameters written so if it knows them."""
    return text.written(write) if isinstance(text, Message) else text


def public(text: str) -> str:
    """Return a text as it may be passed on: if it knows its parts, without the names of images and patients.

    Examples
    --------
    >>> public(Message("{} images are left out{}", 2, Names(" (a.png, b.png)")))
    '2 images are left out'
    """
    if not isinstance(text, Message):
        return text
    values = tuple("" if isinstance(part, Names) else _public_value(part) for part in text.values)
    return str(Message(text.template, *values, remedies=text.remedies, known=text.known))


def _public_value(value: Any) -> Any:
    value = _parts_of(value)
    return public(value) if isinstance(value, Message) else value


def limited(text: str, known: Collection[str]) -> str:
    """Return what a text says to a caller who has these parameters alone, if it knows its parts."""
    return text.limited(known) if isinstance(text, Message) else text


@contextlib.contextmanager
def limited_to(known: Collection[str]) -> Iterator[None]:
    """Let what is refused inside be said to a caller who has these parameters alone, see `Message.limited`."""
    try:
        yield
    except Exception as error:
        if error.args and isinstance(error.args[0], Message):
            error.args = (error.args[0].limited(known), *error.args[1:])
        raise


def message_of(error: Exception) -> str:
    """Return the message of an error, with its parts if it has some."""
    message = _parts_of(error)
    return message if isinstance(message, Message) else str(error)


def _parts_of(value: Any) -> Any:
    """Return the message of an error, and anything else as it is."""
    return (
        value.args[0] if isinstance(value, Exception) and value.args and isinstance(value.args[0], Message) else value
    )


def _written(
    template: str, values: tuple[Any, ...], remedies: tuple[str, ...], known: frozenset[str] | None, write: Write
) -> str:
    def as_known(name: str, value: str) -> str:
        return write(name, value) if known is None or name in known else f"this model's {name} {value}".rstrip()

    text = _Formatter(as_known).vformat(template, values, {})
    lacks = getattr(write, "lacks", None)  # of a command: what it has no option for is no advice to who runs it
    offered = [
        remedy
        for remedy in remedies
        if lacks is None or not (isinstance(remedy, Message) and any(map(lacks, remedy.names())))
    ]
    return "; ".join(filter(None, [text, ", or ".join(written(remedy, write) for remedy in offered)]))
