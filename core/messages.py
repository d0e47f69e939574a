"""Messages as values: a template, the values that are filled in, and the names of parameters as data.

The same parameter is a keyword in Python and a flag on the command line, and a prediction has other options than the
training of its model. A `Message` therefore keeps its parts, and the caller that shows it decides how to write them.
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
"""A function that writes a parameter, from its name and the value to set (as typed), or an empty text."""


@dataclass(frozen=True)
class Parameter:
    """A parameter or field whose name is a variable, so that it cannot be part of the template."""

    name: str

    def __str__(self) -> str:
        return in_python(self.name, "")


@dataclass(frozen=True)
class Names:
    """The part of a message that names images or patients; `public` leaves it out."""

    text: str

    def __str__(self) -> str:
        return self.text


def in_python(name: str, value: str) -> str:
    """Return a parameter as it is written in Python code.

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
    """Fills a template: ``{}`` is the next value, ``{name}`` and ``{name:value}`` are parameters."""

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
    """A text that keeps its parts; as a string it is the message for callers of the Python API.

    Examples
    --------
    >>> print(Message("{views} {}: write SCALE:CROP", "0.5x"))
    `views` 0.5x: write SCALE:CROP

    Attributes
    ----------
    template : str
        ``{}`` is the next value, ``{name}`` a parameter, and ``{name:value}`` a parameter with a value, as typed.
    values : tuple
        Values to fill in: any object, another message, an error with a message, or a `Parameter`.
    remedies : tuple of str
        Suggestions that may help; those with parameters that the caller does not have are left out.
    known : frozenset of str, optional
        Parameters that the caller has; all others belong to a trained model. None means all.
    """

    template: str
    values: tuple[Any, ...]
    remedies: tuple[str, ...]
    known: frozenset[str] | None

    def __new__(
        cls, template: str, *values: Any, remedies: Sequence[str] = (), known: frozenset[str] | None = None
    ) -> Message:
        """Create the message, with its parameters written as in Python code."""
        parts = (template, values, tuple(remedies), known)
        message = super().__new__(cls, _written(*parts, in_python))
        message.template, message.values, message.remedies, message.known = parts
        return message

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self.template, self.values, self.remedies, self.known)

    def written(self, write: Write) -> str:
        """Return the text with its parameters written by `write`."""
        return _written(self.template, self.values, self.remedies, self.known, write)

    def names(self) -> set[str]:
        """Return the names of the parameters in the message."""
        parameters: set[str] = set()

        def collect(name: str, value: str) -> str:
            parameters.add(name)
            return name

        self.written(collect)
        return parameters

    def limited(self, known: Collection[str]) -> Message:
        """Return the message for a caller that has only these parameters.

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
    """Rebuild a message when it is unpickled."""
    return Message(template, *values, remedies=remedies, known=known)


def written(text: str, write: Write) -> str:
    """Return a text; if it is a `Message`, with its parameters written by `write`."""
    return text.written(write) if isinstance(text, Message) else text


def public(text: str) -> str:
    """Return a text that can be passed on: a `Message` without the names of images and patients.

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
    """Return a text; if it is a `Message`, for a caller that has only these parameters, see `Message.limited`."""
    return text.limited(known) if isinstance(text, Message) else text


@contextlib.contextmanager
def limited_to(known: Collection[str]) -> Iterator[None]:
    """Rewrite the messages of errors raised inside the block for a caller that has only these parameters.

    See `Message.limited`.
    """
    try:
        yield
    except Exception as error:
        if error.args and isinstance(error.args[0], Message):
            error.args = (error.args[0].limited(known), *error.args[1:])
        raise


def message_of(error: Exception) -> str:
    """Return the message of an error, as a `Message` if it has one."""
    message = _parts_of(error)
    return message if isinstance(message, Message) else str(error)


def _parts_of(value: Any) -> Any:
    """Return the `Message` of an error; any other value is returned unchanged."""
    return (
        value.args[0] if isinstance(value, Exception) and value.args and isinstance(value.args[0], Message) else value
    )


def _written(
    template: str, values: tuple[Any, ...], remedies: tuple[str, ...], known: frozenset[str] | None, write: Write
) -> str:
    def as_known(name: str, value: str) -> str:
        return write(name, value) if known is None or name in known else f"this model's {name} {value}".rstrip()

    text = _Formatter(as_known).vformat(template, values, {})
    lacks = getattr(write, "lacks", None)  # of a command: it leaves out remedies that need an option it does not have
    offered = [
        remedy
        for remedy in remedies
        if lacks is None or not (isinstance(remedy, Message) and any(map(lacks, remedy.names())))
    ]
    return "; ".join(filter(None, [text, ", or ".join(written(remedy, write) for remedy in offered)]))
