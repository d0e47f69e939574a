"""Writes pictures for the browser: the image, with normalised stains, or with a heat map; the whole or a part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.jobs import atomic_output
from ...data import ImageRecord, decode_record, shrink_image
from ...predict import BoostedModel, Model
from ...stains import CHECKED, make_normalizer
from ..explain import Explanation, colour_limits, explain_image, lay_over, where_highest, write_regions

Picture = npt.NDArray[np.uint8]

PARTS = (
    "top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right",
)  # fmt: skip
"""Parts of an image; each has half of its width and height."""

_SHOWN, _SMALL = 1024, 160
"""Longest side of a picture, and of a thumbnail, in pixels."""

_STAINED = 2048
"""Longest side of a picture whose stains are normalised, which needs at least 24 bytes per pixel."""


def write_thumbnail(record: ImageRecord, path: Path) -> None:
    """Write a thumbnail of an image."""
    write_picture(shrink_image(decode_record(record), _SMALL), path)


def show_picture(model: Model, record: ImageRecord, *, part: int | None, path: Path) -> dict[str, Any]:
    """Write an image, or a part of it, and return its size."""
    image = decode_record(record)
    write_picture(shrink_image(_cut(image, part), _SHOWN), path)
    return {"height": image.shape[0], "width": image.shape[1]}


def show_stains(model: Model, record: ImageRecord, *, part: int | None, path: Path) -> dict[str, Any]:
    """Write an image with its stains normalised, by the model's method, or by Macenko's if the model has none.

    Raises
    ------
    TissueError
        The image has too little tissue.
    """
    stain = own_stain(model)
    image, _ = make_normalizer(stain or "macenko").normalize_with_estimate(
        shrink_image(decode_record(record), _STAINED)
    )
    write_picture(shrink_image(_cut(image, part), _SHOWN), path)
    return {}


def own_stain(model: Model) -> str:
    """Return the stain normalisation method of a model; empty if it has none."""
    if isinstance(model, BoostedModel):
        stain = next(iter(model.settings.values())).stain
    else:
        stain = model.bundle.settings.stain
    return stain if stain in CHECKED else ""


def draw_map(
    model: Model, record: ImageRecord, *, target: str, part: int | None, path: Path, file: Path
) -> dict[str, Any]:
    """Write a heat map laid over an image, and return the facts shown next to it.

    The values of the map and its regions are saved next to the picture, so that further parts do not compute it again.

    Parameters
    ----------
    model : Model
    record : ImageRecord
    target : str
        The class; empty for the predicted class.
    part : int or None
        Number of a part in `PARTS`; None for the whole image.
    path : Path
        The picture to write.
    file : Path
        The model file.
    """
    work = f"{file} {target}"  # the folder of an image belongs to one model
    arrays = path.with_name(f"{path.stem.partition('-')[0]}-{model.bundle.classes.index(target) if target else ''}.npz")
    explanation = Explanation.load(arrays, work=work)
    if explanation is None:
        explanation = explain_image(model, record, file=file, target=target)
        explanation.save(arrays, work=work)
        if not target:
            write_regions(path.with_name("regions.geojson"), explanation, record)
    assert explanation.values is not None
    limits = colour_limits(explanation)
    shown = replace(explanation, limits=limits)
    if part is not None:
        picture = shrink_image(_cut(decode_record(record), part), _SHOWN)
        values = _enlarged(_cut(explanation.values, part), picture.shape)
        shown = replace(shown, picture=picture, values=values)
    write_picture(lay_over(shown), path)
    low, high = limits
    ends = {"low": low, "high": high, "centre": explanation.centre, "signed": explanation.signed}
    return {
        "title": explanation.title,
        "target": explanation.target,
        "margin": explanation.margin,
        "caution": explanation.caution,
        "alt": where_highest(explanation),
        "ends": {name: float(value) for name, value in ends.items()},
    }


def _cut(image: Any, part: int | None) -> Any:
    """Return a part of an image, see `PARTS`."""
    if part is None:
        return image
    height, width = image.shape[:2]
    top, left = part // 3 * height // 4, part % 3 * width // 4
    return image[top : top + -(-height // 2), left : left + -(-width // 2)]


def _enlarged(values: npt.NDArray[np.float32], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    import cv2

    size = (shape[1], shape[0])
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR), np.float32)


def write_picture(image: Picture, path: Path) -> None:
    """Write a picture as a JPEG file."""
    from PIL import Image

    with atomic_output(path) as temporary, temporary.open("wb") as handle:
        Image.fromarray(image).save(handle, format="JPEG", quality=90)
