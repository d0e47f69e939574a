"""What has another place or form by now: the old one works for one more release, and says so."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from importlib import import_module
from typing import Any, ParamSpec, TypeVar, cast

from .errors import closest
from .options import option_names

__all__ = ["moved_names", "renamed_fields", "takes_fields"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def moved_names(
    module: str, names: Mapping[str, str], *, lazy: Mapping[str, str] | None = None
) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module from which names have gone elsewhere.

    Parameters
    ----------
    module : str
        Where the names were: ``__name__``.
    names : mapping of str to str
        Old name to the module that has it now (``bchisto.encoders``), or to module and new name with a colon between
        (``bchisto.finetune:NetworkSpec``).
    lazy : mapping of str to str, optional
        Names that are here, and the module that has them: it is imported when one is asked for, and nothing warns.

    Returns
    -------
    callable
        Gives the thing itself, with a `DeprecationWarning` that names the new place; `AttributeError` for other names.

    Examples
    --------
    >>> find = moved_names("bchisto.attic", {"PathInput": "bchisto.arguments"})
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     _ = find("PathInput")
    >>> print(said[0].message)
    bchisto.attic.PathInput is bchisto.arguments.PathInput now; the old name goes with the next release
    """

    def find(name: str) -> Any:
        if lazy and name in lazy:
            return getattr(import_module(lazy[name]), name)
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place, _, new = names[name].partition(":")
        new = new or name
        text = f"{module}.{name} is {place}.{new} now; the old name goes with the next release"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return getattr(import_module(place), new)

    return find


def renamed_fields(**names: str) -> Callable[[type[T]], type[T]]:
    """Let a dataclass take and give fields by the names that they had before, and warn.

    Parameters
    ----------
    **names : str
        Old name to the field.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @renamed_fields(rate="learning_rate")
    ... @dataclass(frozen=True)
    ... class Step:
    ...     learning_rate: float = 0.1
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     old = Step(rate=0.5).rate
    >>> old, str(said[0].message)
    (0.5, 'Step.rate is Step.learning_rate now; the old name goes with the next release')
    """

    def warn(kind: type[T], old: str) -> None:
        text = f"{kind.__name__}.{old} is {kind.__name__}.{names[old]} now; the old name goes with the next release"
        warnings.warn(text, DeprecationWarning, stacklevel=3)

    def decorate(kind: type[T]) -> type[T]:
        make: Callable[..., None] = kind.__init__

        @functools.wraps(make)
        def __init__(self: T, *args: Any, **kwargs: Any) -> None:
            for old, new in names.items():
                if old in kwargs:  # `dataclasses.replace` passes the field too, as it was
                    warn(kind, old)
                    kwargs[new] = kwargs.pop(old)
            make(self, *args, **kwargs)

        def getter(old: str) -> property:
            def read(self: T) -> Any:
                warn(kind, old)
                return getattr(self, names[old])

            return property(read)

        for old in names:
            setattr(kind, old, getter(old))
        setattr(kind, "__init__", __init__)  # noqa: B010  # a type checker takes it for that of one object
        return kind

    return decorate


def takes_fields(**values: Callable[[Any], Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take the fields of its values as keywords of their own, as releases before 0.2 did, and warn.

    Parameters
    ----------
    **values : callable
        Parameter to what makes its value of whatever may be passed for it, nothing included.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> R:
            old = {name: kwargs.pop(name) for name in [*kwargs] if name not in signature.parameters}
            if not old:
                return function(*args, **kwargs)
            bound = signature.bind_partial(*args, **kwargs)
            for parameter, make in values.items():
                value = make(bound.arguments.get(parameter))
                names = _names_of(value)
                if mine := {name: names[name] for name in names if name in old}:
                    given = {field: old.pop(name) for name, field in mine.items()}
                    bound.arguments[parameter] = replace(value, **given)
                    warnings.warn(
                        f"{function.__name__}({', '.join(mine)}=...) will go with the next release; pass "
                        f"{parameter}={type(value).__name__}({', '.join(f'{field}=...' for field in given)})",
                        DeprecationWarning,
                        stacklevel=2,
                    )
            if old:
                name = next(iter(old))
                like = closest(name, signature.parameters)
                meant = f"; did you mean {like}?" if like else ""
                raise TypeError(f"{function.__name__}() got an unexpected keyword argument {name!r}{meant}")
            return function(*bound.args, **bound.kwargs)

        return cast(Callable[P, R], call)

    return decorate


def _names_of(value: Any) -> dict[str, str]:
    """Return what fields may be called as keywords of their own, in their order: by their names, or their options'."""
    options = {field: name for name, field in option_names(value).items()}
    return {name: one.name for one in fields(value) for name in dict.fromkeys((one.name, options[one.name]))}
