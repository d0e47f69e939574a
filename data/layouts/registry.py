"""Find layouts by name or by the files of a folder, and collect the classes of all layouts.

A built-in layout is a module of this folder, or of ``mammograms`` beside it, with a `LayoutSpec` named ``LAYOUT``.
Other packages add layouts through the entry-point group ``bchisto.datasets``. The entry point has the name of the
layout, and is a `LayoutSpec` or a function without arguments that returns one. It replaces a built-in layout of the
same name.
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
from ...stains import TREATMENTS
from .. import mammograms
from ..classes import find_order, join_labels
from ..dataset import Dataset
from ..findings import Finding
from ..layout import LayoutSpec
from ..walk import walk_files

_log = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "bchisto.datasets"

_ORDER = ("bach", "breakhis", "idc", "inbreast", "cbis-ddsm", "ddsm", "folder", "csv")
"""Order in which built-in layouts are listed and tried. Others follow, sorted by name."""


@functools.cache
def built_in_layouts() -> tuple[LayoutSpec, ...]:
    """Return the layouts of bchisto, in the order of `_ORDER`."""
    specs = []
    for package in (__package__, mammograms.__name__):
        for info in pkgutil.iter_modules(import_module(package).__path__):
            spec = getattr(import_module(f"{package}.{info.name}"), "LAYOUT", None)
            if isinstance(spec, LayoutSpec):
                specs.append(spec)
    rank = {name: number for number, name in enumerate(_ORDER)}
    return tuple(sorted(specs, key=lambda spec: (rank.get(spec.name, len(rank)), spec.name)))


def layouts_with(option: str) -> list[str]:
    """Return the names of the built-in layouts that accept an option, see `LayoutSpec.options`."""
    return [spec.name for spec in built_in_layouts() if option in spec.options]


def list_layouts() -> list[str]:
    """Return the names of all layouts: built-in ones, then those of other packages."""
    return list(dict.fromkeys((*DATASET_NAMES, *extension_names(ENTRY_POINT_GROUP))))


def find_layout(name: str) -> LayoutSpec | None:
    """Return the layout with a name; None if there is none.

    Raises
    ------
    InputError
        The layout is from another package, and broken.
    """
    if name not in extension_names(ENTRY_POINT_GROUP):
        return next((spec for spec in built_in_layouts() if spec.name == name), None)
    return load_extension(ENTRY_POINT_GROUP, name, LayoutSpec, what="layout")


def get_layout(name: str) -> LayoutSpec:
    """Return the layout with a name.

    Raises
    ------
    InputError
        There is no such layout; the message lists all layouts. Or it is from another package, and broken.
    """
    spec = find_layout(name)
    if spec is None:
        raise InputError("{dataset} {}: no such layout; {}", name, one_of(name, list_layouts()))
    return spec


def added_layouts() -> tuple[LayoutSpec, ...]:
    """Return the layouts of other packages; broken ones are left out, with one warning each."""
    return _added(tuple(sys.path))


@functools.lru_cache(maxsize=32)
def _added(path: tuple[str, ...]) -> tuple[LayoutSpec, ...]:
    """Load the layouts of other packages, once for each state of Python's search path."""
    specs = []
    for name in extension_names(ENTRY_POINT_GROUP):
        try:
            specs.append(get_layout(name))
        except InputError as error:
            _log.warning("%s", error)
    return tuple(specs)


DATASET_NAMES = tuple(spec.name for spec in built_in_layouts())
"""Names of the built-in layouts; `list_layouts` also returns those of other packages."""

MAMMOGRAMS = frozenset(spec.name for spec in built_in_layouts() if not spec.stained)
"""Names of the built-in layouts of grey images without a stain."""


def known_classes() -> tuple[tuple[str, ...], ...]:
    """Return the class orders of all layouts, built-in ones first."""
    specs = (*built_in_layouts(), *added_layouts())
    return tuple(dict.fromkeys(spec.classes for spec in specs if spec.classes))


def known_positive() -> tuple[tuple[str, ...], ...]:
    """Return the positive classes of the two-class view of all layouts, built-in ones first."""
    specs = (*built_in_layouts(), *added_layouts())
    return tuple(dict.fromkeys(spec.positive for spec in specs if spec.positive))


def order_classes(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the class order for labels of a dataset without a class order of its own.

    It is the order and spelling of a known dataset if the labels are exactly its classes, ignoring case, spaces, ``_``
    and ``-``. Otherwise the labels are sorted.
    """
    return find_order(labels, known_classes())


def join_classes(labels: Iterable[str], classes: Sequence[str] = ()) -> tuple[dict[str, str], list[Finding]]:
    """Join spellings of one class, see `join_labels`; a known dataset has its own spelling."""
    labels = list(labels)
    known = order_classes([*join_labels(labels)[0].values()])
    return join_labels(labels, classes=classes or (known if known in known_classes() else ()))


def recognise_layout(root: Path) -> LayoutSpec:
    """Recognise the layout of a folder or a file: a built-in one, one of another package, or the user's own.

    Parameters
    ----------
    root : Path
        An existing folder or file.
    """
    built_in = built_in_layouts()
    layout = _first([spec for spec in built_in if not spec.fallback], root) or _first(added_layouts(), root)
    if layout is None:
        layout = next(spec for spec in built_in if spec.fallback and spec.manifest == root.is_file())
    return get_layout(layout.name)


def _first(specs: Iterable[LayoutSpec], root: Path) -> LayoutSpec | None:
    """Return the first layout that recognises the folder, or else a file name in it; None if there is none."""
    manifest = root.is_file()
    fitting = [spec for spec in specs if spec.manifest == manifest]
    for spec in fitting:
        if spec.recognise is not None and spec.recognise(root):
            return spec
    by_name = [(spec, spec.recognise_name) for spec in fitting if spec.recognise_name is not None]
    if not by_name:
        return None
    skip = {name: why for spec in (*built_in_layouts(), *fitting) for name, why in spec.unopened.items()}
    # the findings of this walk are dropped, since the reader will report them again
    for path in [root] if manifest else walk_files(root, [], skip=skip, hidden=True):
        for spec, recognise_name in by_name:
            if recognise_name(path.name) and spec.in_place(root, path):
                _log.debug("%s: a file of %s", path, spec.name)
                return spec
    return None


def check_stain(dataset: Dataset, *, stain: str, colours: bool, off: str) -> None:
    """Refuse stain normalisation or augmentation of images that have no stain.

    Parameters
    ----------
    dataset : Dataset
    stain : str
        One of `bchisto.stains.STAIN_METHODS`.
    colours : bool
        Whether stain colours are varied.
    off : str
        The option that turns this variation off, for the message.

    Raises
    ------
    InputError
        The images have no stain, such as mammograms, but stains are to be normalised or varied.
    """
    layout = find_layout(dataset.name)
    if layout is not None and not layout.stained and (colours or stain not in ("none", *TREATMENTS)):
        images = "grey mammograms" if dataset.name in MAMMOGRAMS else "images"
        raise InputError(
            "{}: {} holds {}, which have no stain; use {stain:none} (or a treatment: {}) and {}",
            dataset.root, dataset.name, images, ", ".join(TREATMENTS), off,
        )  # fmt: skip
