"""Pictures of an image for the page: thumbnail, all pixels, normalised stains and heat maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.jobs import atomic_output
from ...data import ImageRecord, decode_record, shrink_image
from ...predict import BoostedModel, Model
from ...stains import get_stain, make_normalizer
from ..explain import colour_limits, explain_image, lay_over, where_highest, write_regions

Picture = npt.NDArray[np.uint8]

_SHOWN = 1024
"""Longest side of a picture, in pixels."""

_SMALL = 160
"""Longest side of a thumbnail, in pixels."""

_STAINED = 2048
"""Longest side of a picture whose stains are normalised, which needs at least 24 bytes per pixel."""


def write_thumbnail(record: ImageRecord, path: Path) -> tuple[int, int]:
    """Write a thumbnail of an image, and return the height and width of the image."""
    image = decode_record(record)
    write_picture(shrink_image(image, _SMALL), path)
    return image.shape[0], image.shape[1]


def write_shown(kind: str, model: Model, record: ImageRecord, path: Path) -> None:
    """Write an image: a smaller ``picture``, or with all ``pixels`` of the file, or with normalised ``stains``.

    Stains are normalised by the model's method, or by Macenko's if the model has none.

    Raises
    ------
    TissueError
        The stains are to be normalised, and the image has too little tissue.
    """
    image = decode_record(record)
    if kind == "stains":
        image = shrink_image(image, _STAINED)
        image, _ = make_normalizer(own_stain(model) or "macenko").normalize_with_estimate(image)
    if kind != "pixels":
        image = shrink_image(image, _SHOWN)
    write_picture(image, path)


def own_stain(model: Model) -> str:
    """Return the stain normalisation method of a model; empty if it has none."""
    if isinstance(model, BoostedModel):
        stain = next(iter(model.settings.values())).stain
    else:
        stain = model.bundle.settings.stain
    if get_stain(stain).checked:
        return stain
    return ""


def draw_map(
    model: Model, record: ImageRecord, *, target: str, path: Path, file: Path
) -> dict[str, Any]:
    """Write a heat map laid over an image, and the regions of its highest values; return the facts shown next to it.

    Parameters
    ----------
    model : Model
    record : ImageRecord
    target : str
        The class.
    path : Path
        The picture to write.
    file : Path
        The model file.
    """
    explanation = explain_image(model, record, file=file, target=target)
    write_regions(path.with_suffix(".geojson"), explanation, record)
    low, high = colour_limits(explanation)
    write_picture(lay_over(explanation), path)
    shown = ("title", "target", "margin", "notes", "caution", "contradiction")
    coloured = ("signed", "warm_above", "white", "base", "tick")
    facts = {name: getattr(explanation, name) for name in shown + coloured}
    return facts | {"alt": where_highest(explanation), "low": low, "high": high}


def write_picture(image: Picture, path: Path) -> None:
    """Write a picture as a JPEG file."""
    from PIL import Image

    with atomic_output(path) as temporary, temporary.open("wb") as handle:
        Image.fromarray(image).save(handle, format="JPEG", quality=90)
