"""Options as fields: a settings class declares each of its options once.

The declaration defines how a value is converted and checked, the error message, the docstring, and the option of a
command. It also defines what ``run.json`` records and ``--config`` reads. An option has the name of its field
everywhere; only the flag of a field with several values may be its singular.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import textwrap
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Self, TypeVar

from .arguments import as_number, as_path, as_text, as_whole, as_yes, items_of
from .errors import InputError, one_of
from .messages import Parameter

__all__ = ["GROUPS", "Option", "Settings", "declared_options", "from_options", "option", "plain_options", "plain_value"]

V = TypeVar("V")

_KEY = "option"

GROUPS = ("Input", "Features", "Training", "Evaluation", "Speed", "Output", "Particular data sets", "Advanced")
"""Groups of options, in the order of ``--help``."""

_SIMPLE: Mapping[Any, Callable[[Any, str], Any]] = {
    int: as_whole, float: as_number, str: as_text, bool: as_yes, Path: as_path,
}  # fmt: skip


def plain_value(value: Any) -> Any:
    """Return a value in the types of JSON: a tuple becomes a list, and any other object its text."""
    if isinstance(value, tuple | list):
        return [plain_value(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


@dataclass(frozen=True)
class Option:
    """The declaration of an option in the metadata of a field.

    Attributes
    ----------
    help : str
        Description, for the command line and the docstring.
    group : str
        Group in the help of a command, one of `GROUPS`.
    flag : str
        Name of the flag, if it differs from the field's name: the singular for a field with several values.
    choices : sequence
        Allowed values; with `more`, only those that the help lists.
    more : callable, optional
        Returns all choices, including those that other packages add.
    least, most : float, optional
        Bounds of a number, or of each of several numbers.
    metavar : str
        Placeholder for the value in the help.
    file : {"", "input", "output"}
        Whether a path must be a file that is read, or a file that is written; empty for neither.
    commas : bool
        Whether the command line accepts several names separated by commas.
    distinct : bool
        Whether repeated values are removed.
    command : bool
        Whether commands have an option for the field.
    select : str
        The key of ``--select`` that sets the field, if only some data sets have it; the data sets declare the field's
        name.
    recorded : bool
        Whether ``run.json`` records it.
    decides : bool
        Whether it can change results.
    form, plain : callable, optional
        `form` converts the passed value (and the field's name) to the field's value, and `plain` converts that to JSON
        types. By default both follow from the type.
    """

    help: str = ""
    group: str = "Advanced"
    flag: str = ""
    choices: Sequence[Any] = ()
    more: Callable[[], Sequence[str]] | None = None
    least: float | None = None
    most: float | None = None
    metavar: str = ""
    file: str = ""
    commas: bool = False
    distinct: bool = False
    command: bool = True
    select: str = ""
    recorded: bool = True
    decides: bool = True
    form: Callable[[Any, str], Any] | None = None
    plain: Callable[[Any], Any] = plain_value


def option(default: Any = MISSING, *, factory: Any = MISSING, **declared: Any) -> Any:
    """Return a dataclass field with a default, or a factory for it, and the declaration of an `Option`."""
    return field(default=default, default_factory=factory, metadata={_KEY: Option(**declared)})


def declared_options(kind: Any) -> Iterator[tuple[Field[Any], Any, Option]]:
    """Yield each field of a dataclass, with its type and its `Option`."""
    hints = _hints(kind if isinstance(kind, type) else type(kind))
    for declared in fields(kind):
        yield declared, hints[declared.name], declared.metadata.get(_KEY, Option())


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _form(hint: Any) -> Callable[[Any, str], Any]:
    """Return a function that converts a value to a type; its second argument is the name, for messages."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = _form(next(part for part in parts if part is not types.NoneType))
        return lambda value, name: None if value is None else inner(value, name)
    if origin is tuple:
        each = _form(parts[0])
        count = None if parts[-1] is Ellipsis else len(parts)
        return lambda value, name: _several(value, name, each=each, count=count)
    if hasattr(hint, "parse"):
        return lambda value, name: value if isinstance(value, hint) else hint.parse(as_text(value, name))
    return _SIMPLE.get(hint, lambda value, name: value)


def _several(value: Any, name: str, *, each: Callable[[Any, str], Any], count: int | None) -> tuple[Any, ...]:
    items = items_of(value)
    if count is not None and len(items) != count:
        raise InputError("{}: give {} values, not {}", Parameter(name), count, len(items))
    return tuple(each(item, name) for item in items)


def _check(value: Any, name: str, declared: Option) -> None:
    """Refuse a value out of bounds, or one that is not among the choices."""
    low, high = declared.least, declared.most
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"at least {low:g}" if high is None else f"{low or 0:g} to {high:,g}"
        raise InputError("{} {}: give {}", Parameter(name), value, bounds)
    if declared.choices and value not in declared.choices:
        known = declared.choices if declared.more is None else declared.more()
        if value not in known:
            raise InputError("{} {}: {}", Parameter(name), value, one_of(str(value), map(str, known)))


class Settings:
    """Base of frozen dataclasses of options: converts each field to its type, and checks it.

    A subclass checks combinations of fields in its `validate`. Its docstring gets a list of the fields.
    """

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        texts = [
            f"{name} : {kind}\n{textwrap.indent(textwrap.fill(_sentence(declared), 112), '    ')}"
            for name, kind in inspect.get_annotations(cls).items()
            if (declared := getattr(cls.__dict__.get(name), "metadata", {}).get(_KEY)) is not None
        ]
        if texts and "Attributes\n" not in (cls.__doc__ or ""):
            cls.__doc__ = "\n".join([inspect.cleandoc(cls.__doc__ or ""), "", "Attributes", "----------", *texts])

    def __post_init__(self) -> None:
        for member, hint, declared in declared_options(self):
            value = (declared.form or _form(hint))(getattr(self, member.name), member.name)
            for item in value if isinstance(value, tuple) else (value,):
                if item is not None and value != member.default:
                    _check(item, member.name, declared)
            object.__setattr__(self, member.name, tuple(dict.fromkeys(value)) if declared.distinct else value)
        self.validate()

    def validate(self) -> None:
        """Check combinations of fields, and raise `InputError` if they do not fit together."""

    @classmethod
    def of(cls, value: Any) -> Self:
        """Return the value, or the defaults if it is None."""
        return cls() if value is None else typing.cast(Self, value)


def _sentence(declared: Option) -> str:
    words = [declared.metavar and f"{declared.metavar}.", declared.help]
    words.append(f"One of {', '.join(map(str, declared.choices))}." if declared.choices else "")
    return " ".join(filter(None, words))


def plain_options(*values: Any, deciding: bool = False) -> dict[str, Any]:
    """Return the options of settings in the types of JSON, as ``run.json`` records them and ``--config`` reads them.

    Parameters
    ----------
    *values : Settings
    deciding : bool
        Return only options that can change results, recorded or not, as a key needs them.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class Cut(Settings):
    ...     sides: tuple[int, ...] = option((400, 650), flag="side", least=32)
    ...     jobs: int = option(1, recorded=False, decides=False)
    >>> plain_options(Cut())
    {'sides': [400, 650]}
    >>> Cut(sides=9)
    Traceback (most recent call last):
    bchisto.core.errors.InputError: `sides` 9: give at least 32
    """
    return {
        member.name: declared.plain(getattr(value, member.name))
        for value in values
        for member, _, declared in declared_options(value)
        if (declared.decides if deciding else declared.recorded)
    }


def from_options(kind: Callable[..., V], options: Mapping[str, Any], **given: Any) -> V:
    """Return a settings object built from a command's options.

    Parameters
    ----------
    kind : type
        A dataclass.
    options : mapping
        Option name to value. Options that are not fields are ignored, and a field without an option has its default. A
        text is converted to the number or boolean of its field.
    **given : any
        Values of fields, which replace those of `options`.
    """
    chosen = {
        member.name: _read(options[member.name], hint)
        for member, hint, _ in declared_options(kind)
        if member.name in options
    }
    return kind(**{**chosen, **given})


def _read(value: Any, hint: Any) -> Any:
    """Convert texts of a file to a field's type; a text that cannot be converted is left for the field to check."""
    parts = [part for part in typing.get_args(hint) if part not in (types.NoneType, Ellipsis)]
    if isinstance(value, list | tuple):
        return [_read(item, parts[0] if parts else hint) for item in value]
    if parts and typing.get_origin(hint) in (typing.Union, types.UnionType, tuple):
        return _read(value, parts[0])
    if hint is bool and isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower(), value)
    if hint in (int, float) and isinstance(value, str):
        with contextlib.suppress(ValueError):
            return hint(value)
    return value
