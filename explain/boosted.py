"""Why a boosted ensemble predicts what it predicts: probabilities by place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..core import ImageError
from ..data import ImageRecord
from ..encoders import CropEncoder, Encoder, map_axes
from ..featurize import NormalisedImage, norm_pool, normalise_images, pad_image
from ..jobs import Ticker
from ..predict import BoostedModel, Outliers
from .explanation import EVEN, Explanation, Picture
from .methods import METHODS, ExplainSettings, answered
from .places import Floats, Places, around, grid_starts, means_over, spread

_STEPS = {"dense": 8, "exact": 4}
"""Places in the length of a window: a frame is encoded once for all of them, a crop each time."""

_MOST_PLACES = 32
"""Places along an axis."""

_LEAST = 32
"""Smallest window, pixels as the encoder sees it."""


def explain_boosted(
    model: BoostedModel,
    record: ImageRecord,
    picture: Picture,
    *,
    settings: ExplainSettings,
    target: int | None,
    file: Path | None = None,
) -> Explanation:
    """Explain one image by the method ``map``: the probability of the class at each place.

    Parameters
    ----------
    model : BoostedModel
    record : ImageRecord
    picture : ndarray of uint8, shape (height, width, 3)
        As it is shown.
    settings : ExplainSettings
    target : int or None
        The class; None for the likeliest.
    file : Path, optional
        The model file, beside which the names of the training images lie.

    Returns
    -------
    Explanation
        Its notes name the nearest training images, if the model file knows what these look like.

    Raises
    ------
    ImageError
        The image cannot be used.
    """
    ((_, features, pixels),) = model.describe([record], ticker=Ticker(None), skip_errors=False)
    if isinstance(features, str):
        raise ImageError(features)
    method, shares = METHODS[settings.method], model.bundle.predict(features)[0]
    blank, index = answered(method, model, record, picture, shares=shares, pixels=pixels, target=target)
    if (outliers := Outliers.of(model.bundle, list(model.bundle.compare(features)), model=file)) is not None:
        tiles = zip(outliers.nearest[0].split("; "), outliers.pictures[0], strict=False)
        blank = replace(blank, notes=(*blank.notes, *outliers.notes(0)), tiles=tuple(tiles))
    return _map(model, record, blank, picture, index, window=settings.window)


def map_of_places(model: BoostedModel, record: ImageRecord, picture: Picture, target: int) -> Explanation:
    """Return the method ``map`` of an image without what the model says of it as a whole, which takes far longer.

    Raises
    ------
    ImageError
        The image cannot be used.
    """
    blank = METHODS["map"].explanation(record.image_id, model.bundle.classes[target], picture=picture)
    return _map(model, record, blank, picture, target, window=0)


def _map(
    model: BoostedModel, record: ImageRecord, blank: Explanation, picture: Picture, target: int, *, window: int
) -> Explanation:
    bundle, values = model.bundle, np.zeros(picture.shape[:2])
    means = np.zeros(len(bundle.classes))
    for store in bundle.models:
        shares, places = _by_place(model, record, store, window=window)
        values += spread(shares[:, :, target], places, values.shape)
        means += means_over(shares, places, values.shape)
    base = bundle.base
    return replace(
        blank, values=values.astype(np.float32), limits=(0.0, 1.0), overall=bundle.classes[int(means.argmax())],
        centre=1 / len(bundle.classes) if base is None else float(base[target]),
        base=EVEN if base is None else "the prediction without any feature",
    )  # fmt: skip


def _by_place(model: BoostedModel, record: ImageRecord, store: str, *, window: int) -> tuple[Floats, Places]:
    """Return what the models of a store say of each place, shape (rows, columns, classes), and where the places are.

    A place is described as an image is: windows around it, pooled by the norm of training.
    """
    settings, encoder = model.settings[store], model.encoders[store]
    view = settings.views[0]
    image = _frame(model, record, store)
    frame = image if settings.pad == "none" else pad_image(image, crop=view.crop)
    height, width = frame.shape[:2]
    side = _side(
        encoder,
        round(window * view.factor(record.mpp)) if window else 0,
        crop=view.crop,
        shorter=min(height, width),
        alone=settings.mode != "dense",
    )
    steps = _STEPS[settings.mode]
    tops, lefts = (grid_starts(length, side=side, step=side // steps, most=_MOST_PLACES) for length in (height, width))
    corners = np.array([(top, left, top + side, left + side) for top in tops for left in lefts])
    if settings.mode == "dense" and isinstance(encoder, Encoder):
        descriptors = encoder.encode_windows(frame, corners)
    else:
        crops = [frame[top:bottom, left:right] for top, left, bottom, right in corners]
        size = settings.batch_size
        descriptors = np.concatenate(
            [encoder.encode(np.stack(crops[at : at + size])) for at in range(0, len(crops), size)]
        )
    grid = descriptors.reshape(len(tops), len(lefts), -1)
    pooled = np.stack([norm_pool(around, settings.pool) for around in around(grid, steps // 4)])
    shares = model.bundle.store_share(store, pooled[:, np.newaxis]).reshape(*grid.shape[:2], -1)
    return shares, [
        (starts + side / 2 - (padded - length) // 2) / length
        for starts, padded, length in zip((tops, lefts), frame.shape, image.shape, strict=False)
    ]


def _side(encoder: CropEncoder, window: int, *, crop: int, shorter: int, alone: bool) -> int:
    """Return the side of a window: what is asked for or a default, and as large as the network needs it to be.

    A window that is encoded `alone` is as large as a crop: a smaller one has more of its cells at its borders, and one
    that is resized is magnified, so the models would see what no crop of training was like.
    """
    side = min(max(_LEAST, window or (crop if alone else min(crop, shorter // 3))), shorter)
    model = getattr(encoder, "model", None)  # one that gives vectors resizes its crops, and has no maps
    while model is not None and side < shorter and any(axis.cells < 1 for axis in map_axes(model, size=side, axis=0)):
        side = min(2 * side, shorter)
    return side


def _frame(model: BoostedModel, record: ImageRecord, store: str) -> Picture:
    """Return the image as the encoder of a store sees it: scaled and normalised, neither coloured nor turned."""
    settings = model.settings[store]
    (image,) = normalise_images(
        [record], settings=settings, views=settings.views, skip_errors=False, crop_seed="pixels"
    )
    if not isinstance(image, NormalisedImage):
        raise ImageError(image.message)
    return np.ascontiguousarray(image.scales[settings.views[0].level])
