"""Pictures of a pre-flight: a contact sheet of each class, with normalised stains."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ..core import ImageError, TissueError
from ..data import Dataset, ImageRecord, decode_record, resize_image
from ..featurize import FeaturizeSettings
from ..report import thumbnail
from ..stains import Normalizer, make_normalizer
from .views import shown_factor

_MOST = 5
"""Largest number of pictures of a class: one row of the page."""

_MOST_CLASSES = 12
"""Largest number of classes that are shown, in class order."""

_SIDE, _GAP = 320, 6
"""Longest side of a picture, and the gap between it and the picture below, in pixels."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ContactPicture:
    """A picture of a contact sheet.

    Attributes
    ----------
    image_id : str
    label : str or None
    source : str
        A data URI: the image, and below it the image with its stain normalised.
    caption : str
        The stain method of the image below, or the reason why there is none.
    """

    image_id: str
    label: str | None
    source: str
    caption: str


def choose_records(records: Sequence[ImageRecord], *, most: int) -> list[ImageRecord]:
    """Choose up to `most` images from as many different patients as possible; the choice is deterministic.

    Parameters
    ----------
    records : sequence of ImageRecord
        Images of one class.
    most : int
    """
    by_group: dict[str, list[ImageRecord]] = {}
    for record in sorted(records, key=lambda member: member.image_id):
        by_group.setdefault(record.group or record.image_id, []).append(record)
    firsts = [members[0] for members in by_group.values()]
    if len(firsts) >= most:
        return [firsts[number * len(firsts) // most] for number in range(most)]
    turns = itertools.zip_longest(*by_group.values())  # one of each patient, then a second of each
    chosen = [record for turn in turns for record in turn if record is not None]
    return sorted(chosen[:most], key=lambda member: member.image_id)


def contact_sheet(
    dataset: Dataset,
    *,
    settings: FeaturizeSettings,
    broken: frozenset[str] = frozenset(),
    on_picture: Callable[[], None] | None = None,
    chosen: Sequence[ImageRecord] | None = None,
) -> list[ContactPicture]:
    """Return small pictures of each class, or of chosen images, each with its normalised stain below it.

    Parameters
    ----------
    dataset : Dataset
    settings : FeaturizeSettings
        The stain method, and the scale of the first view (at most 1), at which the stain is normalised.
    broken : frozenset of str
        Ids of images that cannot be read.
    on_picture : callable, optional
        Called after each picture.
    chosen : sequence of ImageRecord, optional
        Images to show; by default some of each class.

    Returns
    -------
    list of ContactPicture
        In class order, without images that cannot be decoded.
    """
    normalizer = None if settings.stain == "none" else make_normalizer(settings.stain)
    pictures = []
    for record in chosen_of(dataset, broken) if chosen is None else chosen:
        scale = min(1.0, shown_factor(settings.views[0], record))
        if (picture := _picture(record, normalizer, scale, settings.stain)) is not None:
            pictures.append(picture)
        if on_picture is not None:
            on_picture()
    return pictures


def chosen_of(dataset: Dataset, broken: frozenset[str]) -> list[ImageRecord]:
    """Return the images of a contact sheet."""
    by_class: dict[str | None, list[ImageRecord]] = {name: [] for name in dataset.classes}
    for record in dataset.records:
        if record.image_id not in broken:
            by_class.setdefault(record.label, []).append(record)
    shown = [members for members in by_class.values() if members][:_MOST_CLASSES]
    return [record for members in shown for record in choose_records(members, most=_MOST)]


def _picture(record: ImageRecord, normalizer: Normalizer | None, scale: float, stain: str) -> ContactPicture | None:
    try:
        image = decode_record(record)
    except ImageError:
        return None
    caption = "as it is"
    if normalizer is not None:
        before = resize_image(image, scale)
        try:
            after, _ = normalizer.normalize_with_estimate(before)
        except TissueError:
            caption = "too little tissue to normalise its stain"
        else:
            above = _small(before)
            gap = np.full((_GAP, above.shape[1], 3), 255, np.uint8)
            both = np.concatenate([above, gap, _small(after)])
            source = thumbnail(both, side=max(both.shape))
            return ContactPicture(record.image_id, record.label, source, f"beneath it with {stain}")
    return ContactPicture(record.image_id, record.label, thumbnail(_small(image)), caption)


def _small(image: Pixels) -> Pixels:
    """Resize an image so that its longest side is that of a thumbnail; small patches are enlarged."""
    height, width = image.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), dtype=np.uint8)
