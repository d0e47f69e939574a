"""Heat maps of boosted ensembles: the probability of a class at each position of an image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...boost import MEANING
from ...core.formats import Flags, Floats, Floats32, Integers
from ...data import ImageRecord, decode_record
from ...encoders import CropEncoder, Encoder
from ...featurize import FeaturizeSettings, NormalisedImage, normalise_images
from ...predict import BoostedModel, Outliers, TrainingLooks
from ...stains import MACENKO_BETA, get_stain, optical_density
from .explanation import Explanation, Picture
from .methods import Asked, answered

_SMALL = "too small for a map: its windows all overlap, so the colour is that of the whole image"

_STEPS = {"dense": 8, "exact": 4}
"""Number of grid positions per window side. Dense mode permits more, since it encodes the image only once."""

_MOST_PLACES = 32
"""Largest number of grid positions along an axis."""

_LARGER = 1.2
"""Ratio to the largest training image from which an image is a field, which is mapped by windows of that size.

What is hardly larger has no room for several windows."""

_FLAT = 8
"""Grey levels by which pixels differ where a field shows nothing, as in the gaps of a mosaic of images."""

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


def grid_starts(length: int, *, side: int, step: float) -> Integers:
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
    bundle = model.bundle
    classes = bundle.classes
    blank, maps = _map_field(model, record, asked, file) or _map_image(model, record, asked, file)
    base = bundle.base
    meaning = "the prediction without any feature"
    if base is None:
        base = np.full(len(classes), 1 / len(classes))
        meaning = "even shares of all classes"
    return blank.about_decision(maps, base, classes=classes, base_is=meaning)


def _map_field(
    model: BoostedModel, record: ImageRecord, asked: Asked, file: Path | None
) -> tuple[Explanation, Floats] | None:
    """Return the prediction and the maps of a field larger than the training images; None of any other image.

    Windows of the size of the largest training image are predicted as images are, half of it apart, or a quarter in
    small fields, at most `_MOST_PLACES` along an axis. The prediction is their mean. What shows nothing is NaN.
    """
    import cv2

    image = decode_record(record)
    shape = np.array(image.shape[:2])
    size = _window_size(model, record, shape, asked.settings.window)
    if size is None:
        return None
    height, width = size
    steps = 4 if (shape <= 5 * size).all() else 2
    tops = grid_starts(shape[0], side=height, step=height / steps)
    lefts = grid_starts(shape[1], side=width, step=width / steps)
    middles = (tops + height // 2, lefts + width // 2)
    shows, shows_widely = _showing(image, height)
    rows, columns = np.nonzero(shows_widely[np.ix_(*middles)])
    if not len(rows):
        return None
    windows = [
        replace(
            record,
            image_id=f"{record.image_id} at {left},{top}",
            pixels=image[top : top + height, left : left + width],
        )
        for top, left in zip(tops[rows], lefts[columns], strict=True)
    ]
    blank, predictions, compared = answered(asked, model, record, windows)
    notes = [
        f"larger than the training images: map and prediction are of {len(rows)} windows of {width} x {height} pixels",
        *blank.notes,
    ]
    outliers = Outliers.of(model.bundle, compared, model=file)
    if outliers is not None and outliers.marked.all():
        notes.insert(0, f"every position is an outlier: {MEANING}")
    # the last map is of ones, by which the others are divided next to positions without a window
    grid = np.zeros((predictions.shape[1] + 1, len(tops), len(lefts)))
    grid[:-1, rows, columns] = predictions.T
    grid[-1, rows, columns] = 1
    places = [middle / length for middle, length in zip(middles, shape, strict=True)]
    maps = interpolated(grid, places, blank.shape[:2])
    drawn = cv2.resize(shows, maps[-1].T.shape, interpolation=cv2.INTER_NEAREST)
    maps[-1, maps[-1] * drawn < 1e-9] = np.nan
    return replace(blank, notes=tuple(notes)), maps[:-1] / maps[-1]


def _window_size(
    model: BoostedModel, record: ImageRecord, shape: Integers, window: int | None
) -> Integers | None:
    """Return height and width of the windows of a field; None of an image that is hardly larger than in training."""
    ends = TrainingLooks(model).ends
    if not ends.keys() >= {"short", "long"}:
        return None
    size = np.array([ends["short"][1], ends["long"][1]])
    if model.rescales and "field" in ends:  # as many micrometres
        size *= ends["field"][1] / size[0] / record.look.mpp
    if shape[0] > shape[1]:
        size = size[::-1]
    if not (shape >= _LARGER * size).any():
        return None
    return np.minimum(window or size.round(), shape).astype(np.int64)


def _showing(image: Picture, height: int) -> tuple[Picture, Picture]:
    """Return where a field shows something, and around which pixels at least half of a window does, as 0 and 1."""
    import cv2

    kernel = np.ones([height // 16 * 2 + 1] * 2)
    gradient = cv2.morphologyEx(image, cv2.MORPH_GRADIENT, kernel).max(axis=2)
    shows = cv2.erode((gradient > _FLAT).astype(np.uint8), kernel)
    return shows, cv2.erode(shows, kernel)


def _map_image(
    model: BoostedModel, record: ImageRecord, asked: Asked, file: Path | None
) -> tuple[Explanation, Floats]:
    """Return the prediction and the maps: at each position the mean of two predictions, of the position and the image.

    The windows around a position resemble each other, unlike the crops of training, which are from all over an image.
    So the prediction of only the position is less accurate, and the map is more often of another class than the image.
    If all windows overlap, no place is apart from the others, and the map is the prediction of the image.
    """
    blank, predictions, compared = answered(asked, model, record, [record])
    notes = blank.notes
    outliers = Outliers.of(model.bundle, compared, model=file)
    if outliers is not None:
        notes = (*notes, *outliers.notes(0))
    answer = predictions.T[..., np.newaxis]
    maps = []
    overlap = []
    for store in model.bundle.models:
        grid, places, overlaps = _by_place(model, record, store, window=asked.settings.window)
        maps.append(interpolated(np.moveaxis(grid, 2, 0), places, blank.shape[:2]))
        overlap.append(overlaps)
    shares = (sum(maps) + answer) / 2
    if all(overlap):
        notes = (_SMALL, *notes)
        shares = np.broadcast_to(answer, shares.shape).copy()
    assert blank.picture is not None  # the image that was predicted
    glass = _glass(model, blank.picture)
    if not glass.all():
        shares[:, glass] = np.nan
    return replace(blank, notes=notes), shares


def _glass(model: BoostedModel, picture: Picture) -> Flags:
    """Return the pixels in which no channel has the optical density of tissue, if the model normalises stains."""
    stained = all(get_stain(settings.stain).checked for settings in model.settings.values())
    return np.asarray(stained & (optical_density(picture).max(axis=2) < MACENKO_BETA))


def _by_place(
    model: BoostedModel, record: ImageRecord, store: str, *, window: int | None
) -> tuple[Floats, Places, bool]:
    """Return what the models of one feature file add to the probabilities at each grid position, and the positions.

    The third value is whether all windows overlap.

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
    places = [
        (starts + side / 2 - (padded - length) // 2) / length
        for starts, padded, length in zip((tops, lefts), frame.shape, image.shape, strict=False)
    ]
    overlaps = max(tops[-1], lefts[-1]) < side
    return contributions.reshape(*grid.shape[:2], -1), places, overlaps


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
    assert isinstance(image, NormalisedImage)  # no failure, which is an error here
    return np.ascontiguousarray(image.scales[settings.views[0].level])
