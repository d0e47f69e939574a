"""Why a boosted ensemble says what it says: probabilities by place, contributions by channel, channels by place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..data import ImageRecord
from ..encoders import CropEncoder, Encoder, get_spec, map_axes
from ..errors import ImageError, InputError
from ..featurize import NormalisedImage, norm_pool, normalise_images, pad_image
from ..jobs import Ticker
from ..predict import BoostedModel
from .explanation import Explanation, Picture
from .methods import METHODS, ExplainSettings

Floats = npt.NDArray[np.float64]
Places = Sequence[Floats]
"""Where the rows and the columns of a grid are, as shares of height and width; ascending."""

_STEPS = {"dense": 8, "exact": 4}
"""Places in the length of a window: a frame is encoded once for all of them, a crop each time (ours)."""

_MOST_PLACES = 32
"""Places along an axis (ours)."""

_LEAST = 32
"""Smallest window, pixels as the encoder sees it (ours)."""


@dataclass(frozen=True)
class Channel:
    """A number of a descriptor: which store, encoder, layer and channel of it."""

    store: str
    encoder: str
    layer: str
    channel: int


def explain_boosted(
    model: BoostedModel, record: ImageRecord, picture: Picture, *, settings: ExplainSettings, target: int | None
) -> Explanation:
    """Explain one image.

    Parameters
    ----------
    model : BoostedModel
    record : ImageRecord
    picture : ndarray of uint8, shape (height, width, 3)
        As it is shown.
    settings : ExplainSettings
    target : int or None
        The class; None for the likeliest.

    Returns
    -------
    Explanation
        Of ``map`` the probability of the class at each place. ``contributions`` has no map: its arrays are
        ``contributions``, float64 of shape (classes, channels), what each channel adds to the raw score of each class;
        ``base`` and ``raw``, float64 of shape (classes,), with ``base + contributions.sum(axis=1) == raw``; and
        ``store``, ``encoder``, ``layer`` and ``channel`` of shape (channels,). Of ``channels`` a map whose mean over
        the picture is the sum of the contributions that are shown.

    Raises
    ------
    ImageError
        The image cannot be used.
    """
    ((_, found, _),) = model.describe([record], ticker=Ticker(None), skip_errors=False)
    if isinstance(found, str):
        raise ImageError(found)
    shares, classes = model.bundle.predict(found)[0], model.bundle.classes
    place = int(shares.argmax()) if target is None else target
    blank = Explanation.by(
        METHODS[settings.method], record.image_id, classes[place], predicted=classes[int(shares.argmax())],
        score=float(shares[place]), picture=picture,
    )  # fmt: skip
    if settings.method == "map":
        return _map(model, record, blank, picture, place, window=settings.window)
    shared, base = _shared_out(model, found)
    if settings.method == "contributions":
        return _contributions(model, blank, shared, base, place, top=settings.top)
    return _channels(model, record, blank, picture, shared[place], top=settings.top)


def map_of_places(model: BoostedModel, record: ImageRecord, picture: Picture, target: int) -> Explanation:
    """Return the method ``map`` of an image without what the model says of it as a whole, which takes far longer.

    Raises
    ------
    ImageError
        The image cannot be used.
    """
    blank = Explanation.by(METHODS["map"], record.image_id, model.bundle.classes[target], picture=picture)
    return _map(model, record, blank, picture, target, window=0)


def _map(
    model: BoostedModel, record: ImageRecord, blank: Explanation, picture: Picture, target: int, *, window: int
) -> Explanation:
    values = np.zeros(picture.shape[:2])
    for store in model.bundle.models:
        shares, places = _by_place(model, record, store, window=window)
        values += _spread(shares[:, :, target], places, values.shape)
    centre = 1 / len(model.bundle.classes)
    return replace(blank, values=values.astype(np.float32), centre=centre, limits=(0.0, 1.0))


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
        encoder, round(window * view.scale), crop=view.crop, shorter=min(height, width), alone=settings.mode != "dense"
    )
    steps = _STEPS[settings.mode]
    tops, lefts = (_grid_starts(length, side=side, step=side // steps, most=_MOST_PLACES) for length in (height, width))
    corners = np.array([(top, left, top + side, left + side) for top in tops for left in lefts])
    if settings.mode == "dense" and isinstance(encoder, Encoder):
        descriptors = encoder.encode_windows(frame, corners, geometry=settings.geometry)
    else:
        crops = [frame[top:bottom, left:right] for top, left, bottom, right in corners]
        size = settings.batch_size
        descriptors = np.concatenate(
            [encoder.encode(np.stack(crops[at : at + size])) for at in range(0, len(crops), size)]
        )
    grid = descriptors.reshape(len(tops), len(lefts), -1)
    pooled = np.stack([norm_pool(around, settings.pool) for around in _around(grid, steps // 4)])
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


def _around(grid: npt.NDArray[np.float32], reach: int) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the descriptors of each place of a grid and of those up to `reach` places away, shape (k, d)."""
    height, width, depth = grid.shape
    for row in range(height):
        for column in range(width):
            rows, columns = (slice(max(0, at - reach), at + reach + 1) for at in (row, column))
            yield grid[rows, columns].reshape(-1, depth)


def _frame(model: BoostedModel, record: ImageRecord, store: str) -> Picture:
    """Return the image as the encoder of a store sees it: scaled and normalised, neither coloured nor turned."""
    settings = model.settings[store]
    (found,) = normalise_images(
        [record], settings=settings, views=settings.views, skip_errors=False, crop_seed=model.bundle.crop_seed
    )
    if not isinstance(found, NormalisedImage):
        raise ImageError(found.message)
    return np.ascontiguousarray(found.scales[settings.views[0].scale])


def channels_of(model: BoostedModel) -> list[Channel]:
    """Return what the numbers of all descriptors are, store after store."""
    return [
        Channel(store, model.encoders[store].name, layer, channel)
        for store in model.bundle.models
        for layer, length in zip(model.encoders[store].layers, model.encoders[store].parts, strict=True)
        for channel in range(length)
    ]


def _shared_out(model: BoostedModel, features: dict[str, npt.NDArray[np.float32]]) -> tuple[Floats, Floats]:
    """Return contributions, float64 of shape (classes, channels), and the base of each class."""
    found = model.bundle.contributions(features)
    each = [found[store][0] for store in model.bundle.models]
    return np.concatenate([one[:, :-1] for one in each], axis=1), np.sum([one[:, -1] for one in each], axis=0)


def _named_arrays(channels: list[Channel]) -> dict[str, npt.NDArray[np.generic]]:
    names = {name: np.array([getattr(one, name) for one in channels]) for name in ("store", "encoder", "layer")}
    return {**names, "channel": np.array([one.channel for one in channels], dtype=np.int32)}


def _largest(values: Floats, most: int) -> list[int]:
    """Return the places of the values of the largest size, of those that are not zero."""
    return [int(place) for place in np.argsort(-np.abs(values), kind="stable")[:most] if values[place]]


def _contributions(
    model: BoostedModel, blank: Explanation, shared: Floats, base: Floats, target: int, *, top: int
) -> Explanation:
    channels, own = channels_of(model), shared[target]
    largest = _largest(own, top)
    rest = float(own.sum() - own[largest].sum())
    several = len(model.bundle.models) > len({(one.encoder, one.layer) for one in channels})
    names = [f"{one.store if several else one.encoder} {one.layer}" for one in channels]
    layers: dict[str, float] = defaultdict(float)
    for name, value in zip(names, own, strict=True):
        layers[name] += float(value)
    bars = [(f"all of {name}", value) for name, value in layers.items()]
    bars += [(f"{names[place]} {channels[place].channel}", float(own[place])) for place in largest]
    bars += [("all other channels", rest), ("before any channel is known", float(base[target]))]
    raw = base + shared.sum(axis=1)
    bars += [(f"raw score of {model.bundle.classes[place]}", float(raw[place])) for place in np.argsort(-raw)]
    arrays = {"contributions": shared, "base": base, "raw": raw, **_named_arrays(channels)}
    return replace(blank, bars=tuple(bars), arrays=arrays)


def _channels(
    model: BoostedModel, record: ImageRecord, blank: Explanation, picture: Picture, own: Floats, *, top: int
) -> Explanation:
    channels, largest = channels_of(model), _largest(own, top)
    values = np.zeros(picture.shape[:2])
    for store in dict.fromkeys(channels[place].store for place in largest):
        maps = _feature_maps(model.encoders[store], _frame(model, record, store))
        for place in (place for place in largest if channels[place].store == store):
            active, places = maps[channels[place].layer]
            strength = _spread(np.abs(active[:, :, channels[place].channel]), places, values.shape)
            mean = strength.mean()
            values += own[place] * (strength / mean if mean > 0 else 1.0)
    chosen = [channels[place] for place in largest]
    arrays = {"contributions": own[largest], **_named_arrays(chosen)}
    return replace(blank, values=values.astype(np.float32), arrays=arrays)


def _feature_maps(encoder: CropEncoder, frame: Picture) -> dict[str, tuple[npt.NDArray[np.float32], Places]]:
    """Return each layer's map of a frame, float32 of shape (rows, columns, d), and where its cells are."""
    if not isinstance(encoder, Encoder):
        raise InputError(f"`method` channels: {encoder.name} gives vectors and has no feature maps; use map")
    from keras import ops

    images = ops.convert_to_tensor(frame[np.newaxis].astype(np.float32))
    outputs = encoder.model(get_spec(encoder.name).preprocess(images), training=False)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    axes = [map_axes(encoder.model, size=size, axis=axis) for axis, size in enumerate(frame.shape[:2])]
    found: dict[str, tuple[npt.NDArray[np.float32], Places]] = {}
    for place, (layer, output) in enumerate(zip(encoder.layers, outputs, strict=True)):
        values = np.asarray(ops.convert_to_numpy(ops.cast(output, "float32")))[0]
        centres = [
            (axis[place].first + np.arange(cells) * axis[place].stride) / size
            for axis, cells, size in zip(axes, values.shape, frame.shape, strict=False)
        ]
        found[layer] = values, centres
    return found


def _spread(values: npt.NDArray[np.floating], places: Places, shape: Sequence[int]) -> Floats:
    """Interpolate linearly between the places of a grid; beyond the outermost ones their values go on.

    Parameters
    ----------
    values : ndarray, shape (rows, columns)
    places : Places
        Where they are.
    shape : sequence of int
        Height and width of the picture.

    Returns
    -------
    ndarray of float64, shape `shape`

    Examples
    --------
    >>> _spread(np.array([[0.0, 1.0]]), [np.array([0.5]), np.array([0.25, 0.75])], (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    down, across = (_weights(one, size) for one, size in zip(places, shape, strict=True))
    return np.asarray(down @ np.asarray(values, np.float64) @ across.T)


def _weights(places: Floats, size: int) -> Floats:
    """Return how much of each place is in each pixel, float64 of shape (size, places)."""
    pixels = (np.arange(size) + 0.5) / size
    return np.stack([np.interp(pixels, places, one) for one in np.eye(len(places))], axis=1)


def _grid_starts(length: int, *, side: int, step: int, most: int) -> npt.NDArray[np.int64]:
    """Return where windows of `side` pixels begin so that they cover a length evenly, about `step` pixels apart.

    Examples
    --------
    >>> _grid_starts(100, side=40, step=25, most=32).tolist()
    [0, 20, 40, 60]
    """
    count = min(most, -(-(length - side) // max(1, step)) + 1)
    return np.unique(np.linspace(0, length - side, count).round().astype(np.int64))
