"""Conversion of the arguments of public functions: paths as text or `os.PathLike`, one value or many, any integer.

Every public function converts its arguments with these, so ``folds=4``, ``weights="x.h5"`` and NumPy integers work.
A text is never taken for a list of letters.
"""

from __future__ import annotations

import contextlib
import math
import operator
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, SupportsFloat, SupportsIndex, TypeAlias, TypeVar

from .errors import BchistoError, InputError
from .messages import Parameter

__all__ = [
    "as_number",
    "as_numbers",
    "as_path",
    "as_paths",
    "as_text",
    "as_texts",
    "as_whole",
    "as_yes",
    "items_of",
    "reworded",
]

T = TypeVar("T")

PathInput: TypeAlias = str | os.PathLike[str]
"""A path."""

TextInput: TypeAlias = str | os.PathLike[str] | SupportsIndex
"""A value that is converted to text: a name, path or whole number, such as ``"10"``, ``10``, ``Path("folds.csv")``."""

Many: TypeAlias = T | Iterable[T]
"""One value, or several."""


def items_of(value: Any) -> tuple[Any, ...]:
    """Return a value, or an iterable of values, as a tuple; a text, a path or a dict is one value.

    Examples
    --------
    >>> items_of("abc"), items_of(["a", "b"]), items_of(4)
    (('abc',), ('a', 'b'), (4,))
    """
    if isinstance(value, (str, bytes, os.PathLike, dict)) or not isinstance(value, Iterable):
        return (value,)
    return tuple(value)


@contextlib.contextmanager
def reworded(change: Callable[[str], str]) -> Iterator[None]:
    """Rewrite the messages of errors raised inside the block with `change`."""
    try:
        yield
    except BchistoError as error:
        if error.args and isinstance(error.args[0], str) and (text := change(error.args[0])) != error.args[0]:
            error.args = (text, *error.args[1:])
        raise


def as_path(value: PathInput, name: str) -> Path:
    """Return the value as a path; `name` is the parameter's name, for the message.

    Raises
    ------
    InputError
        The value is neither a text nor an `os.PathLike`.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise InputError(f"{name}={value!r}: give a path, as text or as pathlib.Path")
    return Path(text)


def as_paths(value: Many[PathInput], name: str) -> tuple[Path, ...]:
    """Return one path, or several, as a tuple.

    Raises
    ------
    InputError
        See `as_path`.
    """
    return tuple(as_path(item, name) for item in items_of(value))


def as_text(value: TextInput, name: str) -> str:
    """Return the value as text; a path or a whole number is converted.

    Raises
    ------
    InputError
        The value is something else.

    Examples
    --------
    >>> as_text(4, "folds")
    '4'
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, os.PathLike):
        return str(as_path(value, name))
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise InputError(f"{name}={value!r}: give a text, a path or a whole number, or a list of these")
    return str(operator.index(value))


def as_texts(value: Many[TextInput], name: str) -> tuple[str, ...]:
    """Return one text, or several, as a tuple.

    Raises
    ------
    InputError
        See `as_text`.
    """
    return tuple(as_text(item, name) for item in items_of(value))


def as_whole(value: SupportsIndex, name: str) -> int:
    """Return the value as an int; NumPy integers are accepted.

    Raises
    ------
    InputError
        The value is not a whole number.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise InputError(f"{name}={value!r}: give a whole number")
    return operator.index(value)


def as_yes(value: bool, name: str) -> bool:
    """Return the value as a bool; NumPy booleans are accepted.

    Raises
    ------
    InputError
        The value is neither True nor False.
    """
    if type(value).__name__ not in ("bool", "bool_"):
        raise InputError(f"{name}={value!r}: give True or False")
    return bool(value)


def as_number(value: SupportsFloat, name: str) -> float:
    """Return the value as a float; NumPy numbers are accepted.

    Raises
    ------
    InputError
        The value is not a finite number.
    """
    if isinstance(value, (str, bytes, bool)) or not hasattr(value, "__float__"):
        raise InputError(f"{name}={value!r}: give a number")
    if not math.isfinite(float(value)):
        raise InputError("{} {}: give a finite number", Parameter(name), value)
    return float(value)


def as_numbers(value: Many[SupportsFloat], name: str) -> tuple[float, ...]:
    """Return one number, or several, as a tuple.

    Raises
    ------
    InputError
        See `as_number`.
    """
    return tuple(as_number(item, name) for item in items_of(value))
