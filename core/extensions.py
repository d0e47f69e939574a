"""Extensions of bchisto by other packages, through entry points in the groups ``bchisto.<kind>s``.

An entry point is a specification (such as `bchisto.encoders.EncoderSpec`), or a function without arguments that
returns one. It is loaded only when its name is used, so a broken package affects only those who use it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.resources.abc import Traversable
from typing import Any, TypeVar

from .errors import BchistoError, InputError, is_out_of_memory
from .options import by_key

T = TypeVar("T")


def extension_names(group: str) -> list[str]:
    """Return the names that other packages offer in a group of entry points, in lower case, sorted."""
    return sorted(_offers(group, tuple(sys.path)))


def load_extension(group: str, name: str, kind: type[T], *, what: str) -> T | None:
    """Load the entry point that another package provides under a name.

    Parameters
    ----------
    group : str
        Group of entry points, for example ``bchisto.encoders``.
    name : str
        Name of the entry point; upper and lower case are the same.
    kind : type
        Type of the entry point, or of the return value of its function. A specification must have the name of its entry
        point; if it is a file, the caller compares the names.
    what : str
        A word for messages, such as "encoder".

    Returns
    -------
    object of `kind`, or None
        None if no package provides the name.

    Raises
    ------
    InputError
        Two packages provide the name, or the entry point cannot be loaded or has a wrong type or name. The message
        names the packages.
    """
    entries = _offers(group, tuple(sys.path)).get(name.casefold(), ())
    if not entries:
        return None
    packages = [entry.value if entry.dist is None else entry.dist.name for entry in entries]
    if len(entries) > 1:
        raise InputError(
            f"{what} {name}: several packages offer it ({' and '.join(packages)}); uninstall all but one"
        )
    package = packages[0]
    try:
        offer: Any = entries[0].load()
        if not isinstance(offer, kind):
            offer = offer()
    except BchistoError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        text = "{} {}: its entry point cannot be loaded ({}: {}); report this to its package, {}"
        raise InputError(text, what, name, type(error).__name__, error, package) from error
    if not isinstance(offer, kind):
        raise InputError(
            f"{what} {name}: its entry point gives no {kind.__name__}; report this to its package, {package}"
        )
    spec: Any = offer
    if kind is not Traversable and spec.name.casefold() != name.casefold():
        raise misnamed(spec.name, name, what=what, package=package)
    return offer


def misnamed(given: str, name: str, *, what: str, package: str = "") -> InputError:
    """Return the error about a specification that has another name than its entry point."""
    report = "report this to its package"
    if package:
        report += f", {package}"
    return InputError(f"{what} {name}: its entry point gives one called {given}; {report}")


@functools.lru_cache(maxsize=32)
def _offers(group: str, path: tuple[str, ...]) -> Mapping[str, Sequence[metadata.EntryPoint]]:
    """Return the entry points of a group by name; they are read again only if Python's search path changes."""
    entries = metadata.entry_points(group=group)
    return by_key(entries, lambda entry: entry.name.casefold())
