"""Layouts, ours and those of other packages: by name, by the files of a folder, and what all of them say of classes.

A layout of ours is a module of this folder with a `LayoutSpec` called ``LAYOUT``. Another package adds one through the
entry-point group ``bchisto.datasets``: the entry point is a `LayoutSpec`, or a function without arguments that returns
one, and has its name. It takes the place of one of ours of the same name, as an encoder does.
"""

from __future__ import annotations

import functools
import logging
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path

from ...core import InputError, extension_names, load_extension, one_of
from ..classes import find_order
from ..walk import walk_files
from .spec import LayoutSpec

_log = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "bchisto.datasets"

_ORDER = ("bach", "breakhis", "idc", "inbreast", "cbis-ddsm", "ddsm", "folder", "csv")
"""The order in which layouts are listed and looked for; any other stands behind them, by name."""


@functools.cache
def built_in_layouts() -> tuple[LayoutSpec, ...]:
    """Return the layouts of this package, in the order in which they are listed."""
    specs = []
    for info in pkgutil.iter_modules([str(Path(__file__).parent)]):
        spec = getattr(import_module(f"{__package__}.{info.name}"), "LAYOUT", None)
        if isinstance(spec, LayoutSpec):
            specs.append(spec)
    rank = {name: number for number, name in enumerate(_ORDER)}
    return tuple(sorted(specs, key=lambda spec: (rank.get(spec.name, len(rank)), spec.name)))


def layouts_with(option: str) -> list[str]:
    """Return the names of our layouts that take an option, see `LayoutSpec.options`."""
    return [spec.name for spec in built_in_layouts() if option in spec.options]


def list_layouts() -> list[str]:
    """Return the names of all layouts: ours, then those of other packages."""
    return list(dict.fromkeys((*DATASET_NAMES, *extension_names(ENTRY_POINT_GROUP))))


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
        raise InputError("{dataset} {}: no such layout; {}", name, one_of(name, list_layouts()))
    return spec


def added_layouts() -> tuple[LayoutSpec, ...]:
    """Return the layouts of other packages; one that is broken is said once and left out."""
    return _added(tuple(sys.path))


@functools.lru_cache(maxsize=32)
def _added(path: tuple[str, ...]) -> tuple[LayoutSpec, ...]:
    """Load them, once for each state of Python's search path."""
    specs = []
    for name in extension_names(ENTRY_POINT_GROUP):
        try:
            specs.append(get_layout(name))
        except InputError as error:
            _log.warning("%s", error)
    return tuple(specs)


def _orders(specs: Iterable[LayoutSpec]) -> tuple[tuple[str, ...], ...]:
    return tuple(dict.fromkeys(spec.classes for spec in specs if spec.classes))


DATASET_NAMES = tuple(spec.name for spec in built_in_layouts())
"""Layouts of this package that can be read; `list_layouts` also has those of others."""

MAMMOGRAMS = frozenset(spec.name for spec in built_in_layouts() if not spec.stained)
"""Layouts of this package of grey images without a stain."""

KNOWN_CLASSES = _orders(built_in_layouts())
"""Class orders of published datasets; `known_classes` also has those of layouts that other packages add."""


def known_classes() -> tuple[tuple[str, ...], ...]:
    """Return the class orders of all layouts, ours first."""
    return tuple(dict.fromkeys((*KNOWN_CLASSES, *_orders(added_layouts()))))


def known_positive() -> tuple[tuple[str, ...], ...]:
    """Return the classes of the positive side of all layouts, ours first."""
    specs = (*built_in_layouts(), *added_layouts())
    return tuple(dict.fromkeys(spec.positive for spec in specs if spec.positive))


def order_classes(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the class order of a dataset that does not set one.

    The order and spelling of a known dataset where the labels are exactly its classes, but for case, spaces, ``_`` and
    ``-``; else sorted.
    """
    return find_order(labels, known_classes())


def recognise_layout(root: Path) -> LayoutSpec:
    """Return the layout of a folder or a file: one of ours, else of another package, else the user's own.

    Parameters
    ----------
    root : Path
        Exists.
    """
    ours = built_in_layouts()
    layout = _first([spec for spec in ours if not spec.fallback], root) or _first(added_layouts(), root)
    if layout is None:
        layout = next(spec for spec in ours if spec.fallback and spec.manifest == root.is_file())
    return get_layout(layout.name)


def _first(specs: Iterable[LayoutSpec], root: Path) -> LayoutSpec | None:
    """Return the first layout that knows the folder; else the first that knows the name of a file in it."""
    manifest = root.is_file()
    fitting = [spec for spec in specs if spec.manifest == manifest]
    for spec in fitting:
        if spec.recognise is not None and spec.recognise(root):
            return spec
    by_name = [(spec, spec.recognise_name) for spec in fitting if spec.recognise_name is not None]
    if not by_name:
        return None
    skip = {name: why for spec in (*built_in_layouts(), *fitting) for name, why in spec.unopened.items()}
    # what cannot be read is named by the reader
    for path in [root] if manifest else walk_files(root, [], skip=skip, hidden=True):
        for spec, knows in by_name:
            if knows(path.name) and spec.in_place(root, path):
                _log.debug("%s: a file of %s", path, spec.name)
                return spec
    return None
