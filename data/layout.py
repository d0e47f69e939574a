"""What a layout is: how a dataset is recognised and read, and the context of lesions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..core import ImageError, InputError, Message
from ..core.formats import decode_image, read_header
from ..core.jobs import Progress
from .dataset import ImageRecord
from .findings import Finding

LABEL_LEVELS = ("class", "type")
"""What labels are if a layout has types within its classes: the class, or the type."""

LESIONS = ("mass", "calcification")
"""Kinds of abnormalities to which a layout may be restricted."""

OWN_OPTIONS = ("labels", "group_from", "label_from", "path_column", "label_column", "group_column")
"""Options of `read_dataset` that find path, label and group of the user's own images. Layouts that do not accept such
an option refuse it."""

LAYOUT_OPTIONS = frozenset({"classes", "context", "label_level", "lesions", "magnifications", *OWN_OPTIONS})
"""Options of `read_dataset` that a layout may accept."""


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
    stained : bool
        False for images without a stain, such as mammograms.
    options : frozenset of str
        Those of `LAYOUT_OPTIONS` that the layout accepts. Other options are ignored, except `OWN_OPTIONS`, which are
        refused.
    image_is, group_is : str
        Names of an image and a group in reports: ``image`` or ``patch``; ``patient``, ``slide``, or ``group`` if
        unknown.
    manifest : bool
        Whether it is read from a file instead of a folder.
    fallback : bool
        Whether it is used if no other layout is recognised.
    patients : callable, optional
        Returns a mapping from file name to patient, if patients were published separately from the images. They are
        set after reading, unless the images are synthetic. They are not a part of the identity of a dataset, so that
        existing features stay usable when patients become known.

    Raises
    ------
    InputError
        An option is unknown, or the positive classes are not some of the classes.
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
        """Return the class order at a label level; empty if the layout does not set one."""
        return self.types if self.types and label_level != "class" else self.classes


CONTEXTS = ("tight", "small", "large")
"""``tight``: the box of the outline. ``small``: 50 pixels more on each side. ``large``: a box of twice the size around
its centre. The last two are those of the published system ``ddsm-masses``."""

_PADDING = 50
"""Pixels that the small context adds on each side, as published."""

Box = tuple[int, int, int, int]


def show_context(records: Sequence[ImageRecord], context: str) -> tuple[list[ImageRecord], list[Finding]]:
    """Widen the box of each abnormality to its context, within its mammogram.

    Parameters
    ----------
    records : sequence of ImageRecord
        Records with a `box` (DDSM), or with `frame` and `mask` (CBIS-DDSM), from which the box is computed.
    context : {"small", "large"}

    Returns
    -------
    list of ImageRecord, list of Finding
        Records whose path is the mammogram and whose box is the context. Records without a mammogram or mask are left
        out, with a finding of level error.
    """
    shown: list[ImageRecord] = []
    findings: list[Finding] = []
    with Progress(total=len(records), label="finding contexts", unit="outlines") as progress:
        for number, record in enumerate(records, start=1):
            try:
                path, box = _outline(record)
                header = read_header(path)
            except ImageError as error:
                findings.append(Finding("error", record.image_id, Message("has no context: {}", error)))
            else:
                widened = _widen(box, context, width=header.width, height=header.height)
                shown.append(replace(record, path=path, box=widened))
            progress.update_to(number)
    return shown, findings


def _outline(record: ImageRecord) -> tuple[Path, Box]:
    """Return the mammogram of a record and the box of its outline."""
    if record.box is not None:
        return record.path, record.box
    if record.frame is None or record.mask is None:
        missing = "mammogram" if record.frame is None else "mask"
        raise ImageError("its {} is missing", missing, remedies=["copy it", Message("use {context:tight}")])
    mask = decode_image(record.mask)[:, :, 0] > 0
    if not mask.any():
        raise ImageError("{}: an empty mask", record.mask, remedies=["copy it again", Message("use {context:tight}")])
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return record.frame, (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def _widen(box: Box, context: str, *, width: int, height: int) -> Box:
    left, top, right, bottom = box
    if context == "small":
        across = down = _PADDING
    else:
        across, down = (right - left + 1) // 2, (bottom - top + 1) // 2
    return max(0, left - across), max(0, top - down), min(width, right + across), min(height, bottom + down)
