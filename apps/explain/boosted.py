"""Heat maps of boosted ensembles: the probability of a class at each position of an image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...core import ImageError
from ...core.formats import Floats, Floats32, Integers
from ...data import ImageRecord
from ...encoders import CropEncoder, Encoder
from ...featurize import FeaturizeSettings, NormalisedImage, normalise_images
from ...predict import BoostedModel, Outliers
from .explanation import Explanation, Picture
from .methods import Asked, answered

_SINGLE = (
    "one value: the image is no larger than one window of the map, so its colour shows no places"
)

_STEPS = {"dense": 8, "exact": 4}
"""Number of grid positions per window side. Dense mode permits more, since it encodes the image only once."""

_MOST_PLACES = 32
"""Largest number of grid positions along an axis."""

_LEAST = 32
"""Smallest side of a window, in pixels at the scale of the encoder."""

Places = Sequence[Floats]
"""Positions of the rows and of the columns of a grid, as ascending fractions of height and width."""


def interpolated(values: Floats | Floats32, places: Places, shape: Sequence[int]) -> Floats:
    """Interpolate linearly between the positions of a grid. Beyond the outermost positions, values are constant.

    Parameters
    ----------
    values : ndarray, shape (..., rows, columns)
    places : Places
        Positions of the rows and columns.
    shape : sequence of int
        Height and width of the image.

    Returns
    -------
    ndarray of float64, shape (..., height, width)

    Examples
    --------
    >>> interpolated(np.array([[0.0, 1.0]]), [np.array([0.5]), np.array([0.25, 0.75])], (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    weights = [
        np.stack([np.interp((np.arange(size) + 0.5) / size, at, unit) for unit in np.eye(len(at))])
        for at, size in zip(places, shape, strict=True)
    ]
    return np.asarray(weights[0].T @ values @ weights[1])


def grid_starts(length: int, *, side: int, step: int) -> Integers:
    """Return the starts of windows of `side` pixels that cover a length evenly, about `step` pixels apart.

    Examples
    --------
    >>> grid_starts(100, side=40, step=25).tolist()
    [0, 20, 40, 60]
    """
    count = min(_MOST_PLACES, math.ceil((length - side) / max(1, step)) + 1)
    return np.unique(np.linspace(0, length - side, count).round().astype(np.int64))


def around(grid: Floats32, reach: int) -> Iterator[Floats32]:
    """Yield the features at each grid position and at its neighbours up to `reach` away, shape (k, d)."""
    for cell in np.ndindex(grid.shape[:2]):
        rows, columns = (slice(max(0, index - reach), index + reach + 1) for index in cell)
        yield grid[rows, columns].reshape(-1, grid.shape[2])


def explain_boosted(
    model: BoostedModel, record: ImageRecord | None, asked: Asked, *, file: Path | None = None
) -> Explanation:
    """Explain one image by the method ``map``: the probability of a class at each position.

    Parameters
    ----------
    model : BoostedModel
    record : ImageRecord
    asked : Asked
    file : Path, optional
        The model file; a file next to it lists the names of the training images.

    Returns
    -------
    Explanation
        Its notes name the nearest training images, if the model file holds a reference for that.

    Raises
    ------
    ImageError
        The image cannot be used.
    """
    assert record is not None  # no method explains a boosted model itself
    blank, shares, compared = answered(asked, model, record)
    outliers = Outliers.of(model.bundle, [compared], model=file)
    if outliers is not None:
        blank = replace(blank, notes=(*blank.notes, *outliers.notes(0)))
    return _map(model, record, blank, shares, window=asked.settings.window)


def _map(
    model: BoostedModel,
    record: ImageRecord,
    blank: Explanation,
    shares: Floats,
    *,
    window: int | None,
) -> Explanation:
    """Return the explanation with its map: at each position the mean of two predictions, of the position and the image.

    The windows around a position resemble each other, unlike the crops of training, which are from all over an image.
    So the prediction of only the position is less accurate, and the map is more often of another class than the image.
    """
    bundle = model.bundle
    shape = blank.shape[:2]
    classes = bundle.classes
    maps = np.zeros((len(classes), *shape))
    single = True
    for store in bundle.models:
        grid, places = _by_place(model, record, store, window=window)
        single = single and grid.shape[:2] == (1, 1)
        maps += interpolated(np.moveaxis(grid, 2, 0), places, shape)
    maps = (maps + shares[:, np.newaxis, np.newaxis]) / 2
    if single:
        blank = replace(blank, notes=(_SINGLE, *blank.notes))
    base = bundle.base
    meaning = "the prediction without any feature"
    if base is None:
        base = np.full(len(classes), 1 / len(classes))
        meaning = "even shares of all classes"
    return blank.about_decision(maps, base, classes=classes, base_is=meaning)


def _by_place(
    model: BoostedModel, record: ImageRecord, store: str, *, window: int | None
) -> tuple[Floats, Places]:
    """Return what the models of one feature file add to the probabilities at each grid position, and the positions.

    These contributions have the shape (rows, columns, classes). The features of a position are pooled from the windows
    around it, in the same way as the crops of an image.
    """
    settings = model.settings[store]
    encoder = model.encoders[store]
    view = settings.views[0]
    image = _scaled_image(record, settings)
    description = settings.description
    frame = description.frame(image, crop=view.crop)  # padded if a crop does not fit
    height, width = frame.shape[:2]
    # without a requested side, micrometres per pixel need not be known
    pixels = round(window * view.factor(record.mpp)) if window else 0
    side = _side(
        encoder,
        pixels,
        crop=view.crop,
        shorter=min(height, width),
        separately=settings.mode != "dense",
    )
    steps = _STEPS[settings.mode]
    tops = grid_starts(height, side=side, step=side // steps)
    lefts = grid_starts(width, side=side, step=side // steps)
    corners = np.array([(top, left, top + side, left + side) for top in tops for left in lefts])
    if settings.mode == "dense" and isinstance(encoder, Encoder):
        descriptors = encoder.encode_windows(frame, corners)
    else:
        crops = [frame[top:bottom, left:right] for top, left, bottom, right in corners]
        descriptors = description.encode(encoder, crops)
    grid = descriptors.reshape(len(tops), len(lefts), -1)
    features = np.stack([description.pool(rows) for rows in around(grid, steps // 4)])
    contributions = model.bundle.store_share(store, features[:, np.newaxis])
    return contributions.reshape(*grid.shape[:2], -1), [
        (starts + side / 2 - (padded - length) // 2) / length
        for starts, padded, length in zip((tops, lefts), frame.shape, image.shape, strict=False)
    ]


def _side(encoder: CropEncoder, window: int, *, crop: int, shorter: int, separately: bool) -> int:
    """Return the side of a window: the requested one or a default, but no smaller than the network needs.

    If each window is encoded `separately`, the default is the size of a crop. In a smaller window more cells are at the
    border, and if the encoder resizes it, it is magnified, so it would not resemble the crops of training.
    """
    default = crop if separately else min(crop, shorter // 3)
    side = min(max(_LEAST, window or default), shorter)
    # an encoder without feature maps has no geometry, and resizes its crops
    geometry = getattr(encoder, "geometry", None)
    if geometry is None:
        return side
    while side < shorter and any(axis.cells < 1 for axis in geometry.axes(size=side, axis=0)):
        side = min(2 * side, shorter)
    return side


def _scaled_image(record: ImageRecord, settings: FeaturizeSettings) -> Picture:
    """Return the image as the encoder of a feature file sees it: scaled and normalised, without augmentation."""
    (image,) = normalise_images(
        [record], settings=settings, views=settings.views, skip_errors=False, crop_seed="pixels"
    )
    if not isinstance(image, NormalisedImage):
        raise ImageError(image.message)
    return np.ascontiguousarray(image.scales[settings.views[0].level])
