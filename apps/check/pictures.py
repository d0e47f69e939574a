"""Pictures of a pre-flight: an image, and below it the image with its stain normalised."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ...core import ImageError, TissueError
from ...data import ImageRecord, decode_record, resize_image
from ...evaluate.report import thumbnail
from ...stains import Normalizer

_SIDE, _GAP = 320, 6
"""Longest side of a picture, and the gap between it and the picture below, in pixels."""

Pixels = npt.NDArray[np.uint8]


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


def draw(record: ImageRecord, normalizer: Normalizer | None, *, scale: float) -> tuple[str, str] | None:
    """Return an image, and below it the image with its stain normalised, as a data URI and a caption.

    Parameters
    ----------
    record : ImageRecord
    normalizer : Normalizer or None
        None for the image only.
    scale : float
        Factor of both sides at which the stain is normalised.

    Returns
    -------
    (str, str), or None
        None if the image cannot be decoded.
    """
    try:
        image = decode_record(record)
    except ImageError:
        return None
    above, caption = _small(image), "the image, as it is"
    if normalizer is not None:
        before = resize_image(image, scale)
        try:
            after, _ = normalizer.normalize_with_estimate(before)
        except TissueError:
            caption = "too little tissue to normalise its stain"
        else:
            above, caption = _small(before), "the image, and beneath it with its stain normalised"
            above = np.concatenate([above, np.full((_GAP, above.shape[1], 3), 255, np.uint8), _small(after)])
    return thumbnail(above, side=max(above.shape)), caption


def _small(image: Pixels) -> Pixels:
    """Resize an image so that its longest side is that of a thumbnail; small patches are enlarged."""
    height, width = image.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), dtype=np.uint8)
