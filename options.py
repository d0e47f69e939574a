"""Options as fields: a frozen value declares each of its options once.

From that one declaration follow what ``run.json`` records, what ``--config`` gives back, and how a command hands its
options to the library. A field is the option of its own name unless `option` says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["from_options", "joined", "option", "option_names", "option_of", "plain_options"]

V = TypeVar("V")

_KEY = "option"


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def joined(texts: Sequence[str]) -> str | None:
    """Return texts as one option has them, with commas between; None for none."""
    return ",".join(texts) or None


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class _Option:
    """How a field travels."""

    name: str
    recorded: bool = True
    sparse: bool = False
    plain: Callable[[Any], Any] = _plain
    value: Callable[[Any], Any] = _same


def option(
    default: Any = MISSING,
    *,
    factory: Any = MISSING,
    name: str = "",
    recorded: bool = True,
    sparse: bool = False,
    plain: Callable[[Any], Any] = _plain,
    value: Callable[[Any], Any] = _same,
) -> Any:
    """Declare a field that travels as an option in a form of its own.

    Parameters
    ----------
    default, factory : any
        Of the field, or what makes it.
    name : str
        Of the option, with underscores; that of the field by default.
    recorded : bool
        Whether ``run.json`` keeps it: what does not change the result is not kept.
    sparse : bool
        Whether it is kept only where it is not the default: of an option that not every command has.
    plain, value : callable
        From the field's value to the option's, as JSON has it, and back.
    """
    metadata = {_KEY: _Option(name, recorded, sparse, plain, value)}
    return field(default=default, default_factory=factory, metadata=metadata)


def _options_of(kind: Any) -> Iterable[tuple[Field[Any], str, _Option]]:
    for one in fields(kind):
        how = one.metadata.get(_KEY, _Option(""))
        yield one, how.name or one.name, how


def option_names(kind: Any) -> dict[str, str]:
    """Return the options of a dataclass, each with the field it stands for."""
    return {name: one.name for one, name, _ in _options_of(kind)}


def option_of(kind: Any, name: str) -> tuple[str, Callable[[Any], Any]]:
    """Return the option that a field of a value is, and how the field's value is written there; "" for no field.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class Cut:
    ...     sides: tuple[int, ...] = option((400, 650), name="side")
    >>> option_of(Cut, "sides")[0], option_of(Cut, "depth")[0]
    ('side', '')
    """
    return next(((found, how.plain) for one, found, how in _options_of(kind) if one.name == name), ("", _same))


def plain_options(*values: Any) -> dict[str, Any]:
    """Return the options that values stand for, JSON-ready, as ``run.json`` records them and ``--config`` reads them.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class Cut:
    ...     sides: tuple[int, ...] = option((400, 650), name="side")
    >>> plain_options(Cut())
    {'side': [400, 650]}
    """
    return {
        name: how.plain(getattr(value, one.name))
        for value in values
        for one, name, how in _options_of(value)
        if how.recorded and not (how.sparse and getattr(value, one.name) == one.default)
    }


def from_options(kind: Callable[..., V], options: Mapping[str, Any], **given: Any) -> V:
    """Return the value that a command's options stand for.

    Parameters
    ----------
    kind : type
        A dataclass.
    options : mapping
        Option name to value; those of other values are left alone, and a field without one has its default.
    **given : any
        Fields whose values are known otherwise.
    """
    found = {one.name: how.value(options[name]) for one, name, how in _options_of(kind) if name in options}
    return kind(**{**found, **given})
