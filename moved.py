"""Names that have moved to another room, or have a new name: the old ones work for one more release, and say so."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["moved_names"]


def moved_names(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module from which names have gone elsewhere.

    Parameters
    ----------
    module : str
        Where the names were: ``__name__``.
    names : mapping of str to str
        Old name to the module that has it now (``bchisto.encoders``), or to module and new name with a colon between
        (``bchisto.finetune:NetworkSpec``).

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
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place, _, new = names[name].partition(":")
        new = new or name
        text = f"{module}.{name} is {place}.{new} now; the old name goes with the next release"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return getattr(import_module(place), new)

    return find
