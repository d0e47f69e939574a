"""What is known of a layout: how it is recognised and read, its classes, and how its images look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...core import InputError
from ..dataset import ImageRecord
from ..findings import Finding

LABEL_LEVELS = ("class", "type")
"""What a label is where a layout has types within its classes: the class, or the type."""

LESIONS = ("mass", "calcification")
"""Kinds of abnormality that a layout may be restricted to."""

OWN_OPTIONS = ("group_from", "label_from", "path_column", "label_column", "group_column")
"""Options of `read_dataset` that say where path, label and group of one's own images stand; a layout that does not take
one of these refuses it."""

LAYOUT_OPTIONS = frozenset({"classes", "context", "label_level", "lesions", "magnifications", *OWN_OPTIONS})
"""Options of `read_dataset` that a layout may take."""


@dataclass(frozen=True, kw_only=True)
class LayoutSpec:
    """A layout: one per dataset.

    A folder is recognised by `recognise`, else by the first of its files whose name `recognise_name` knows. A layout
    with neither is read where it is asked for by name.

    Attributes
    ----------
    name : str
        What ``dataset`` calls it; lower case.
    read : callable
        ``read(root, **options)`` returns a list of `ImageRecord` and a list of `Finding`; it gets the options that
        the layout takes, but for ``context``.
    recognise : callable, optional
        ``recognise(root)``: whether a folder (a file, for a manifest) has this layout.
    recognise_name : callable, optional
        ``recognise_name(name)``: whether a file of that name belongs to this layout.
    in_place : callable, optional
        ``in_place(root, path)``: whether a file whose name `recognise_name` knows lies where the published dataset has
        it. Such a file in folders of the user's own recognises nothing. By default any place will do.
    unopened : mapping of str to str
        Names of folders, in lower case, that no layout lists or opens while it is looked for, and why.
    classes : tuple of str
        Class order; empty sorts the labels.
    types : tuple of str
        Class order of ``label_level="type"``.
    positive : tuple of str
        Classes of the positive side of the two-class view.
    size : (int, int), optional
        Width and height of every published image, pixels.
    stained : bool
        False for images without a stain, such as mammograms.
    options : frozenset of str
        Of `LAYOUT_OPTIONS`: what it takes. An option that it does not take changes nothing, but for `OWN_OPTIONS`.
    image_is, group_is : str
        What an image and a group are called in a report: image or patch; patient or slide, group where that is not
        known.
    manifest : bool
        Whether it is read from a file and not from a folder.
    fallback : bool
        Whether anything is recognised as it that is nothing else.
    patients : callable, optional
        Returns file name to patient, where these were published apart from the images. They are set after reading,
        where the images are real, and are no part of a dataset's identity: what was made before they were known stays
        usable.

    Raises
    ------
    InputError
        An unknown option, or a positive class that is none of the classes.
    """

    name: str
    read: Callable[..., tuple[list[ImageRecord], list[Finding]]]
    recognise: Callable[[Path], bool] | None = None
    recognise_name: Callable[[str], bool] | None = None
    in_place: Callable[[Path, Path], bool] = lambda root, path: True
    unopened: Mapping[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    stained: bool = True
    options: frozenset[str] = frozenset()
    image_is: str = "image"
    group_is: str = "group"
    manifest: bool = False
    fallback: bool = False
    patients: Callable[[], Mapping[str, str]] | None = None

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.options) - LAYOUT_OPTIONS):
            known = ", ".join(sorted(LAYOUT_OPTIONS))
            raise InputError(f"layout {self.name}: {unknown[0]} is not an option of a layout; choose among {known}")
        if not set(self.positive) <= set(self.classes) or (self.classes and set(self.positive) == set(self.classes)):
            raise InputError(f"layout {self.name}: its positive classes must be some, and not all, of its classes")

    def class_order(self, label_level: str = "class") -> tuple[str, ...]:
        """Return the class order at a label level; empty where the layout sets none."""
        return self.types if self.types and label_level != "class" else self.classes
