"""Layouts of data sets: how each is specified, and which of them a folder has.

A built-in layout is a module of this folder, or of ``mammograms`` beside it, with a `LayoutSpec` named ``LAYOUT``;
`built_in_layouts` lists them. Other packages add layouts through the entry-point group ``bchisto.datasets``. The entry
point has the name of the layout, and is a `LayoutSpec` or a function without arguments that returns one. It replaces a
built-in layout of the same name.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...core import BchistoError, InputError, extension_names, load_extension, one_of
from ..classes import join_labels, loosely, meaning, positive_by_meaning
from ..dataset import DatasetFacts, ImageRecord
from ..findings import Finding
from ..patients import BARCODE, barcode_of
from ..walk import walk_files

_log = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "bchisto.datasets"

LABEL_LEVELS = ("class", "type")
"""Choices of labels for a layout with types within its classes: the class, or the type."""

LESIONS = ("mass", "calcification")
"""Kinds of abnormalities to which a layout may be restricted."""

LayoutReading = tuple[list[ImageRecord], list[Finding]]
"""Result of the reader of a layout: the images, and the findings on them."""


@dataclass(frozen=True, kw_only=True)
class LayoutSpec:
    """The layout of a dataset.

    A folder has this layout if `recognise` accepts it, or else if `recognise_name` accepts the name of a file in it. A
    layout with neither function must be selected by name.

    Attributes
    ----------
    name : str
        Value of the option ``dataset``; lower case.
    read : callable
        ``read(root, **options)`` returns a list of `ImageRecord` and a list of `Finding`. It receives the options that
        the layout accepts, except ``context``.
    recognise : callable, optional
        ``recognise(root)``: whether a folder (a file, for a manifest) has this layout.
    recognise_name : callable, optional
        ``recognise_name(name)``: whether a file of that name belongs to this layout.
    in_place : callable, optional
        ``in_place(root, path)``: whether a file with such a name is in the same folders as in the published dataset. If
        not, the file does not count for recognition. By default, all folders are accepted.
    patient_in : re.Pattern, optional
        Finds the patient in the path of an image wherever it lies, if names of the dataset hold one: the first group of
        the first match. It is used for images in folders or manifests of the user's own.
    unopened : mapping of str to str
        Names of folders, in lower case, that must not be listed or opened during recognition, with the reason.
    classes : tuple of str
        Class order; if empty, labels are sorted.
    types : tuple of str
        Class order for ``label_level="type"``.
    positive : tuple of str
        Positive classes of the two-class view.
    size : (int, int), optional
        Width and height in pixels of every published image.
    images : int, optional
        Number of published images; a note tells how many of them there are.
    expected : str
        What a folder of this layout holds, for the refusal of one without an image.
    stained : bool
        False for images without a stain, such as mammograms.
    options : frozenset of str
        Those of ``classes``, ``context``, ``label_level``, ``lesions``, ``magnifications`` and, for the user's own
        images, ``labels``, ``group_from``, ``label_from``, ``path_column``, ``label_column`` and ``group_column`` that
        the layout accepts. Others are refused; of a prediction, whose model brings its own, they are a warning.
    image_is, group_is : str
        Names of an image and a group in reports: ``image`` or ``patch``; ``patient`` or ``slide``. A manifest's column
        names groups itself.
    manifest : bool
        Whether it is read from a file instead of a folder.
    fallback : bool
        Whether it is used if no other layout is recognised.
    patients_apart : bool
        Whether patients were published separately from the images. They are then not a part of the identity of a
        dataset, so that existing features stay usable when patients become known.
    """

    name: str
    read: Callable[..., LayoutReading]
    recognise: Callable[[Path], bool] | None = None
    recognise_name: Callable[[str], object] | None = None
    in_place: Callable[[Path, Path], bool] = lambda root, path: True
    patient_in: re.Pattern[str] | None = None
    unopened: Mapping[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    images: int | None = None
    expected: str = ""
    stained: bool = True
    options: frozenset[str] = frozenset()
    image_is: str = "image"
    group_is: str = "patient"
    manifest: bool = False
    fallback: bool = False
    patients_apart: bool = False


@functools.cache
def built_in_layouts() -> tuple[LayoutSpec, ...]:
    """Return the layouts of bchisto, in the order in which they are listed and tried.

    Layouts import this module, so they cannot be found before it is complete.
    """
    from ..mammograms import cbis_ddsm, ddsm, inbreast
    from . import bach, breakhis, folder, idc, manifest

    modules = (bach, breakhis, idc, inbreast, cbis_ddsm, ddsm, folder, manifest)
    return tuple(module.LAYOUT for module in modules)


def list_layouts() -> list[str]:
    """Return the names of all layouts: built-in ones, then those of other packages."""
    names = (spec.name for spec in built_in_layouts())
    return list(dict.fromkeys((*names, *extension_names(ENTRY_POINT_GROUP))))


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


def added_layouts() -> list[LayoutSpec]:
    """Return the layouts of other packages; broken ones are left out, with one warning each."""
    return _added(tuple(sys.path))


@functools.cache
def _added(path: tuple[str, ...]) -> list[LayoutSpec]:
    """Return the layouts of other packages; they are looked for again only if Python's search path changes."""
    specs: list[LayoutSpec] = []
    for name in extension_names(ENTRY_POINT_GROUP):
        try:
            specs += filter(None, [find_layout(name)])
        except InputError as error:
            _log.warning("%s", error)
    return specs


def known_layouts() -> tuple[LayoutSpec, ...]:
    """Return all layouts, built-in ones first."""
    return (*built_in_layouts(), *added_layouts())


def unit_names(dataset: str, facts: DatasetFacts) -> dict[str, str]:
    """Return what an image and a group of a dataset are called, as far as that is known."""
    names = {}
    try:
        layout = find_layout(dataset)
    except BchistoError:  # the layout of another package is missing or broken by now
        layout = None
    if layout:
        names = {"image": layout.image_is, "group": layout.group_is}
    if facts.group_is:
        names["group"] = facts.group_is
    return names


def patient_in(path: str) -> tuple[str, str | None]:
    """Return the data set whose kind of names a path has, and the patient that it names; empty and None if unknown."""
    if BARCODE.search(path):
        return "TCGA", barcode_of(path)
    for spec in known_layouts():
        if spec.patient_in is not None:
            for match in spec.patient_in.finditer(path):
                return spec.name, match[1].upper()
    return "", None


def known_classes() -> tuple[tuple[str, ...], ...]:
    """Return the class orders of all layouts, built-in ones first."""
    return tuple(dict.fromkeys(spec.classes for spec in known_layouts() if spec.classes))


def default_positive(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the positive classes by what their names mean in several languages; empty if these do not tell.

    Those of a layout are positive beside any other classes, else see `positive_by_meaning`.

    Examples
    --------
    >>> default_positive(["Normal", "Gutartig", "InSitu", "Invasiv"]), default_positive(["normal", "cancer"])
    (('InSitu', 'Invasiv'), ('cancer',))
    """
    for spec in known_layouts():
        texts = {"".join(meaning(name)) for name in spec.positive}
        present = tuple(name for name in classes if "".join(meaning(name)) in texts)
        if 0 < len(present) == len(spec.positive) < len(classes):
            return present
    return positive_by_meaning(classes)


def order_classes(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the class order for labels of a dataset without a class order of its own.

    It is the order and spelling of a known dataset if the labels are exactly its classes, ignoring case, spaces, ``_``
    and ``-``. Otherwise the labels are sorted.

    Examples
    --------
    >>> order_classes(["Malignant", "benign"])
    ('benign', 'malignant')
    """
    names = sorted(set(labels))
    loose = sorted(map(loosely, names))
    for classes in known_classes():
        if loose == sorted(map(loosely, classes)):
            return classes
    return tuple(names)


def join_classes(
    labels: Iterable[str], classes: Sequence[str] = ()
) -> tuple[dict[str, str], list[Finding]]:
    """Join spellings of one class, see `join_labels`; a known dataset has its own spelling."""
    labels = list(labels)
    order = order_classes([*join_labels(labels)[0].values()])
    if not classes and order in known_classes():
        classes = order
    return join_labels(labels, classes=classes)


def recognise_layout(root: Path, name: str | None = None) -> LayoutSpec:
    """Recognise the layout of a folder or a file: a built-in one, one of another package, or the user's own.

    A layout of another package replaces a built-in one of its name.

    Parameters
    ----------
    root : Path
        An existing folder or file.
    name : str, optional
        The layout, if it is known, see `get_layout`.
    """
    if name:
        return get_layout(name)
    built_in = built_in_layouts()
    published = [spec for spec in built_in if not spec.fallback]
    candidates = [
        [spec for spec in specs if spec.manifest == root.is_file()]
        for specs in (published, added_layouts())
    ]
    recognised = (_recognised(specs, root) for specs in candidates)
    fallback = next(spec for spec in built_in if spec.fallback and spec.manifest == root.is_file())
    return get_layout(next(filter(None, recognised), fallback).name)


def _recognised(specs: Sequence[LayoutSpec], root: Path) -> LayoutSpec | None:
    """Return the layout that accepts a folder, or else to which the first file with a known name belongs."""
    for spec in specs:
        if spec.recognise is not None and spec.recognise(root):
            return spec
    by_name = [(spec, spec.recognise_name) for spec in specs if spec.recognise_name is not None]
    if not by_name:
        return None
    paths: Iterable[Path] = [root]
    if root.is_dir():
        unopened: dict[str, str] = {}
        for spec in (*built_in_layouts(), *specs):
            unopened |= spec.unopened
        # the findings of this walk are dropped, since the reader will report them again
        paths = walk_files(root, [], skip=unopened, hidden=True)
    for path in paths:
        for spec, matches in by_name:
            if matches(path.name) and spec.in_place(root, path):
                return spec
    return None
