"""Options as fields: a settings class declares each of its options once.

The declaration defines how a value is converted and checked, the error message, the docstring, and the option of a
command. It also defines what ``run.json`` records and ``--config`` reads. An option has the name of its field
everywhere; only the flag of a field with several values may be its singular.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import numbers
import operator
import os
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, SupportsIndex, TypeAlias, TypeVar

from .errors import InputError, one_of
from .messages import Content, Message, Parameter

V = TypeVar("V")
K = TypeVar("K")
Given = TypeVar("Given", contravariant=True)
Held = TypeVar("Held", covariant=True)

PathInput: TypeAlias = str | os.PathLike[str]
"""A path."""

TextInput: TypeAlias = str | os.PathLike[str] | SupportsIndex
"""A value that is converted to text: a name, path or whole number, such as ``"10"``, ``10``, ``Path("folds.csv")``."""

Many: TypeAlias = V | Iterable[V]
"""One value, or several."""


class Converted(Generic[Given, Held]):
    """The type of a field that accepts values of one type, and holds what they are converted to.

    Only type checkers see both; while the program runs, it is the type that the field holds.
    """

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: type | None = None) -> Held: ...

        def __set__(self, instance: object, value: Given) -> None: ...

    else:

        def __class_getitem__(cls, types: tuple[Any, Any]) -> Any:
            return types[1]


OptionalPath: TypeAlias = Converted[PathInput | None, Path | None]
Paths: TypeAlias = Converted[Many[PathInput], tuple[Path, ...]]
Texts: TypeAlias = Converted[Many[TextInput], tuple[str, ...]]
Numbers: TypeAlias = Converted[Many[float], tuple[float, ...]]
Parsed: TypeAlias = Converted[Many[V | str], tuple[V, ...]]
"""Values of a type with a method ``parse``, or their texts."""

_KEY = "option"

IN_FILE = "Only in a file of options"
"""Group of options that few need: no command takes them as a flag, but Python and the file of ``--config`` do."""

GROUPS = (
    "Input",
    "Features",
    "Training",
    "Evaluation",
    "Speed",
    "Output",
    "Particular data sets",
    "Advanced",
    IN_FILE,
)
"""Groups of options, in the order of ``--help``."""

_NEEDS = {
    Path: "a path, as text or as pathlib.Path",
    str: "a text, a path or a whole number, or a list of these",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
}

_LETTERS = 60
"""Letters of a value that a message shows."""


def items_of(value: Any) -> tuple[Any, ...]:
    """Return a value, or an iterable of values, as a tuple; a text, a path, a dict or a data frame is one value.

    Examples
    --------
    >>> items_of("abc"), items_of(["a", "b"]), items_of(4)
    (('abc',), ('a', 'b'), (4,))
    """
    is_one = isinstance(value, (str, bytes, os.PathLike, dict)) or hasattr(value, "columns")
    if is_one or not isinstance(value, Iterable):
        return (value,)
    return tuple(value)


def by_key(values: Iterable[V], key: Callable[[V], K]) -> dict[K, list[V]]:
    """Return the values that have the same key, for each key in the order of its first value.

    Examples
    --------
    >>> by_key(["a.png", "b.tif", "c.png"], lambda name: name[-3:])
    {'png': ['a.png', 'c.png'], 'tif': ['b.tif']}
    """
    groups: dict[K, list[V]] = {}
    for value in values:
        groups.setdefault(key(value), []).append(value)
    return groups


@typing.overload
def converted(value: Any, name: str, kind: type[V]) -> V: ...
@typing.overload
def converted(value: Any, name: str, kind: Any) -> Any: ...
def converted(value: Any, name: str, kind: Any) -> Any:
    """Convert what a caller passed to the type of an option: every public function and every setting uses this.

    So ``folds=4``, ``weights="x.h5"``, one value for several, and the numbers of NumPy work. A text is never taken for
    a list of letters.

    Parameters
    ----------
    value : any
    name : str
        Name of the option, for messages.
    kind : type
        `Path`, `str`, `int`, `float`, `bool` or a type with a method ``parse`` that takes a text; a tuple of one of
        these; one of these or None, which comes last. A value for any other type is returned unchanged.

    Raises
    ------
    InputError
        The value cannot be converted without loss, or a number is not finite.

    Examples
    --------
    >>> converted(4, "folds", str), converted("a.h5", "features", tuple[Path, ...])
    ('4', (PosixPath('a.h5'),))
    """
    origin = typing.get_origin(kind)
    parts = typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None or (parts[0] is not float and _is_gap(value)):
            return None
        return converted(value, name, parts[0])
    if origin is tuple:
        items = items_of(value)
        if parts[-1] is not Ellipsis and len(items) != len(parts):
            raise InputError("{}: give {} values, not {}", Parameter(name), len(parts), len(items))
        return tuple(converted(item, name, parts[0]) for item in items)
    if kind in _NEEDS:
        return _plainly_converted(value, name, kind)
    if hasattr(kind, "parse") and not isinstance(value, kind):
        return kind.parse(_plainly_converted(value, name, str))
    return value


def _is_gap(value: Any) -> bool:
    """Return whether a value stands for a gap in a column of pandas."""
    is_nan = isinstance(value, numbers.Real) and value != value
    return is_nan or type(value).__name__ == "NAType"


def _whole_number(value: Any) -> int | None:
    """Return a whole number, also from 2.0 as a column of pandas with gaps has it; None for other values."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if hasattr(value, "__index__"):
        return operator.index(value)
    return None


def _path_or_text(value: Any, kind: Any) -> Any:
    """Convert a text or a path; None for an empty path, which would be the working folder."""
    if isinstance(value, (Path, Message)) and isinstance(value, kind):
        return value  # a message keeps its parts
    text = os.fspath(value)
    if text or kind is str:
        return kind(text)
    return None


def _plainly_converted(value: Any, name: str, kind: Any) -> Any:
    """Convert a value to a path, a text, a number or a boolean; numbers of NumPy are taken, too."""
    if kind in (Path, str) and isinstance(value, (str, os.PathLike)):
        text = _path_or_text(value, kind)
        if text is not None:
            return text
    is_flag = isinstance(value, bool)
    if kind in (int, str) and not is_flag:
        number = _whole_number(value)
        if number is not None:
            return kind(number)
    is_text = isinstance(value, (str, bytes))
    if kind is float and hasattr(value, "__float__") and not is_flag and not is_text:
        if not math.isfinite(value):
            raise InputError("{} {}: give a finite number", Parameter(name), value)
        return float(value)
    if kind is bool and type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    quote = repr(value)
    if "\n" in quote:  # of a data frame or an array
        quote = f"{type(value).__name__}(...)"
    raise InputError(f"{name}={quote[:_LETTERS]}: give {_NEEDS[kind]}")


def plain_value(value: Any) -> Any:
    """Return a value in the types of JSON: a tuple becomes a list, and any other object becomes its text."""
    if isinstance(value, tuple | list):
        return [plain_value(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


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
    recorded : bool
        Whether ``run.json`` records it.
    decides : bool
        Whether it can change results; only what is recorded can.
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
    recorded: bool = True
    decides: bool = True
    form: Callable[[Any, str], Any] | None = None
    plain: Callable[[Any], Any] = plain_value

    def check(self, value: Any, name: str) -> None:
        """Refuse a value that is out of bounds or not among the choices; `name` is that of the option.

        Raises
        ------
        InputError
        """
        least = self.least
        most = self.most
        if (least is not None and value < least) or (most is not None and value > most):
            bounds = f"at least {least:g}" if most is None else f"{least or 0:g} to {most:,g}"
            raise InputError("{} {}: give {}", Parameter(name), value, bounds)
        if not self.choices or value in self.choices:
            return
        choices = self.choices
        if self.more is not None:  # it asks other packages, so that it comes last
            choices = self.more()
        if value not in choices:
            names = one_of(str(value), map(str, choices))
            raise InputError("{} {}: {}", Parameter(name), value, names)


def option(default: Any = MISSING, *, factory: Any = MISSING, **declared: Any) -> Any:
    """Return a dataclass field with a default, or a factory for it, and the declaration of an `Option`."""
    return field(default=default, default_factory=factory, metadata={_KEY: Option(**declared)})


_type_hints = functools.cache(typing.get_type_hints)


def declared_options(kind: Any) -> Iterator[tuple[Field[Any], Any, Option]]:
    """Yield each field of a dataclass, with its type and its `Option`."""
    hints = _type_hints(kind if isinstance(kind, type) else type(kind))
    for declared in fields(kind):
        yield declared, hints[declared.name], declared.metadata.get(_KEY, Option())


class Settings:
    """Base of frozen dataclasses of options: converts each field to its type, and checks it.

    A subclass checks combinations of fields in its own `__post_init__`, after it has called this one. Its docstring
    gets a list of the fields.
    """

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        texts = []
        hints = typing.get_type_hints(cls)
        for name in inspect.get_annotations(cls):
            # without the names of modules
            kind = re.sub(r"\w+\.", "", inspect.formatannotation(hints[name]))
            declared = getattr(cls.__dict__.get(name), "metadata", {}).get(_KEY)
            if declared is not None:
                sentence = textwrap.fill(_sentence(declared), 112)
                texts.append(f"{name} : {kind}\n{textwrap.indent(sentence, '    ')}")
        docstring = cls.__doc__ or ""
        if texts and "Attributes\n" not in docstring:
            head = [inspect.cleandoc(docstring), "", "Attributes", "----------"]
            cls.__doc__ = "\n".join([*head, *texts])

    @classmethod
    def of(cls, value: Any) -> Self:
        """Return settings from settings, a mapping of fields, the value of the first field, or None for the default.

        Raises
        ------
        InputError
            They are settings of another class, or a field does not fit.
        """
        make: Callable[..., Self] = cls
        if isinstance(value, cls):
            return value
        if value is None:
            return make()
        if isinstance(value, Mapping):
            return make(**value)
        if isinstance(value, Settings):
            raise InputError(f"give {cls.__name__}, not {type(value).__name__}")
        return make(value)

    def __post_init__(self) -> None:
        for member, hint, declared in declared_options(self):
            name = member.name
            value = getattr(self, name)
            if declared.form is None:
                value = converted(value, name, hint)
            else:
                value = declared.form(value, name)
            if value != member.default:
                for item in items_of(value):
                    if item is not None:
                        declared.check(item, name)
            if declared.distinct:
                value = tuple(dict.fromkeys(value))
            object.__setattr__(self, name, value)


def _sentence(declared: Option) -> str:
    """Return the description of an option for a docstring."""
    sentences = [declared.help]
    if "|" in declared.metavar:  # words to choose from, and not only a placeholder for the value
        sentences.insert(0, f"{declared.metavar}.")
    if declared.choices:
        sentences.append(f"One of {', '.join(map(str, declared.choices))}.")
    return " ".join(sentences)


def plain_options(*values: Any, deciding: bool = False) -> Content:
    """Return the options of settings in the types of JSON, as ``run.json`` records them and ``--config`` reads them.

    Parameters
    ----------
    *values : Settings
    deciding : bool
        Return only options that can change results, as a key needs them.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class Cut(Settings):
    ...     sides: tuple[int, ...] = option((400, 650), flag="side", least=32)
    ...     jobs: int = option(1, recorded=False)
    >>> plain_options(Cut())
    {'sides': [400, 650]}
    >>> Cut(sides=9)
    Traceback (most recent call last):
    bchisto.core.errors.InputError: `sides` 9: give at least 32
    """
    options = {}
    for value in values:
        for member, _, declared in declared_options(value):
            if declared.recorded and (declared.decides or not deciding):
                options[member.name] = declared.plain(getattr(value, member.name))
    return options


def from_options(kind: Callable[..., V], options: Mapping[str, Any], **given: Any) -> V:
    """Return a settings object that is built from a command's options, or call a function with them.

    Parameters
    ----------
    kind : callable
        A dataclass, or a function. If it takes settings, these are built from the options, too.
    options : mapping
        Option name to value. Options that it does not take are ignored, and what has no option has its default. A text
        is converted to the number or boolean of its field.
    **given : any
        Values of fields or parameters, which replace those of `options`.
    """
    hints = _type_hints(kind)
    values = {}
    for name in inspect.signature(kind).parameters:
        if name in given:
            continue
        kinds = (hints[name], *typing.get_args(hints[name]))
        settings = [item for item in kinds if inspect.isclass(item) and issubclass(item, Settings)]
        if settings:
            values[name] = from_options(settings[0], options)
        elif name in options:
            values[name] = _read(options[name], hints[name])
    return kind(**values | given)


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
