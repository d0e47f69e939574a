"""Layouts by name: ours, and those of other packages.

A layout of ours is a module of this folder with a `LayoutSpec` called ``LAYOUT``. Another package adds one through the
entry-point group ``bchisto.datasets``: the entry point is a `LayoutSpec`, or a function without arguments that returns
one, and has its name. It takes the place of one of ours of the same name, as an encoder does.
"""

from __future__ import annotations

import functools
import logging
import pkgutil
import sys
from importlib import import_module
from pathlib import Path

from ...errors import InputError, one_of
from ...extensions import extension_names, load_extension
from .spec import LayoutSpec

_log = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "bchisto.datasets"

_ORDER = ("bach", "breakhis", "idc", "inbreast", "cbis-ddsm", "ddsm", "folder", "csv")
"""The order in which layouts are listed and looked for (ours); any other stands behind them, by name."""


@functools.cache
def built_in_layouts() -> tuple[LayoutSpec, ...]:
    """Return the layouts of this package, in the order in which they are listed."""
    found = []
    for info in pkgutil.iter_modules([str(Path(__file__).parent)]):
        spec = getattr(import_module(f"{__package__}.{info.name}"), "LAYOUT", None)
        if isinstance(spec, LayoutSpec):
            found.append(spec)
    place = {name: number for number, name in enumerate(_ORDER)}
    return tuple(sorted(found, key=lambda spec: (place.get(spec.name, len(place)), spec.name)))


def list_layouts() -> list[str]:
    """Return the names of all layouts: ours, then those of other packages."""
    names = [spec.name for spec in built_in_layouts()]
    return [*names, *(name for name in extension_names(ENTRY_POINT_GROUP) if name not in names)]


def find_layout(name: str) -> LayoutSpec | None:
    """Return the layout of that name; None where there is none.

    Raises
    ------
    InputError
        It is another package's, and broken.
    """
    if name not in extension_names(ENTRY_POINT_GROUP):
        return next((spec for spec in built_in_layouts() if spec.name == name), None)
    return load_extension(ENTRY_POINT_GROUP, name, LayoutSpec, what="layout")


def get_layout(name: str) -> LayoutSpec:
    """Return the layout of that name.

    Raises
    ------
    InputError
        No such layout; the message lists them. Or it is another package's, and broken.
    """
    spec = find_layout(name)
    if spec is None:
        raise InputError(f"`dataset` {name}: no such layout; {one_of(name, list_layouts())}")
    return spec


def added_layouts() -> tuple[LayoutSpec, ...]:
    """Return the layouts of other packages; one that is broken is said once and left out."""
    return _added(tuple(sys.path))


@functools.lru_cache(maxsize=32)
def _added(path: tuple[str, ...]) -> tuple[LayoutSpec, ...]:
    """Load them, once for each state of Python's search path."""
    found = []
    for name in extension_names(ENTRY_POINT_GROUP):
        try:
            found.append(get_layout(name))
        except InputError as error:
            _log.warning("%s", error)
    return tuple(found)
