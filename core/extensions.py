"""What other packages add to bchisto, through entry points of the groups ``bchisto.<kind>s``.

An entry point is a specification (such as `bchisto.encoders.EncoderSpec`), or a function without arguments that
returns one. It is loaded when it is asked for by name, so that a package that is broken stops only those who use it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from importlib import metadata
from types import MappingProxyType
from typing import Any, TypeVar, overload

from .errors import BchistoError, InputError, is_out_of_memory

__all__ = ["check_name", "extension_names", "load_extension"]

T = TypeVar("T")


def extension_names(group: str) -> list[str]:
    """Return the names that other packages offer in a group of entry points, in lower case, sorted."""
    return sorted(_offers(group, tuple(sys.path)))


@overload
def load_extension(group: str, name: str, kind: type[T], *, what: str) -> T | None: ...
@overload
def load_extension(group: str, name: str, kind: tuple[type[Any], ...], *, what: str) -> Any: ...
def load_extension(group: str, name: str, kind: Any, *, what: str) -> Any:
    """Load what another package offers under a name.

    Parameters
    ----------
    group : str
        Of entry points, ``bchisto.encoders`` for example.
    name : str
        Case does not count.
    kind : type or tuple of type
        What the entry point, or the function that it names, must give. A specification has the name of its entry point.
    what : str
        What is asked for, in a word, for messages.

    Returns
    -------
    object of `kind`, or None
        None where no package offers the name.

    Raises
    ------
    InputError
        Two packages offer the name, or the entry point cannot be loaded, gives something else, or one of another name;
        the message names the packages.
    """
    offered = _offers(group, tuple(sys.path)).get(name.casefold(), ())
    if not offered:
        return None
    if len(offered) > 1:
        packages = " and ".join(map(_package, offered))
        raise InputError(f"{what} {name}: several packages offer it ({packages}); uninstall all but one")
    entry = offered[0]
    try:
        loaded = entry.load()
        offer = loaded if isinstance(loaded, kind) else loaded()
    except BchistoError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise InputError(
            "{} {}: its entry point cannot be loaded ({}: {}); report this to its package, {}",
            what, name, type(error).__name__, error, _package(entry),
        ) from error  # fmt: skip
    if not isinstance(offer, kind):
        kinds = " or ".join(expected.__name__ for expected in (kind if isinstance(kind, tuple) else (kind,)))
        raise InputError(
            f"{what} {name}: its entry point gives no {kinds}; report this to its package, {_package(entry)}"
        )
    if isinstance(kind, type):
        check_name(offer.name, name, what=what, package=_package(entry))
    return offer


def check_name(given: str, name: str, *, what: str, package: str = "") -> None:
    """Refuse what has another name than its entry point.

    Raises
    ------
    InputError
        It has.
    """
    if given.casefold() != name.casefold():
        report = f"report this to its package{package and f', {package}'}"
        raise InputError(f"{what} {name}: its entry point gives one called {given}; {report}")


def _package(entry: metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value


@functools.lru_cache(maxsize=32)
def _offers(group: str, path: tuple[str, ...]) -> Mapping[str, tuple[metadata.EntryPoint, ...]]:
    """Return the entry points of a group by name; read once for each state of Python's search path."""
    offers: dict[str, tuple[metadata.EntryPoint, ...]] = {}
    for entry in metadata.entry_points(group=group):
        name = entry.name.casefold()
        offers[name] = (*offers.get(name, ()), entry)
    return MappingProxyType(offers)
