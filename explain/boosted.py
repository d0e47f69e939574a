"""Why a boosted ensemble says what it says: probabilities by place, contributions by channel, channels by place."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..core import ImageError, InputError
from ..data import ImageRecord
from ..encoders import CropEncoder, Encoder, get_spec, map_axes
from ..evaluate import nothing_learnt
from ..featurize import NormalisedImage, norm_pool, normalise_images, pad_image
from ..jobs import Ticker
from ..predict import BoostedModel
from .explanation import EVEN, Explanation, Picture
from .methods import METHODS, ExplainSettings, answered
from .places import Floats, Places, around, grid_starts, means_over, spread

_STEPS = {"dense": 8, "exact": 4}
"""Places in the length of a window: a frame is encoded once for all of them, a crop each time."""

_MOST_PLACES = 32
"""Places along an axis."""

_LEAST = 32
"""Smallest window, pixels as the encoder sees it."""


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
        ``contributions``, float64 of shape (classes, channels), what each channel adds to the score of each class;
        ``base`` and ``scores``, float64 of shape (classes,), with ``base + contributions.sum(axis=1) == scores``; and
        ``store``, ``encoder``, ``layer`` and ``channel`` of shape (channels,). Of ``channels`` a map whose mean over
        the picture is the sum of the contributions that are shown.

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
    if settings.method == "map":
        return _map(model, record, blank, picture, index, window=settings.window)
    shared, base = _shared_out(model, features)
    if settings.method == "contributions":
        return _contributions(model, blank, shared, base, index, top=settings.top)
    return _channels(model, record, blank, shared[index], float(base[index]), top=settings.top)


def check_boosted(model: BoostedModel, method: str) -> None:
    """Refuse, before any work, a method that a model cannot be asked by.

    Raises
    ------
    InputError
        Heads without contributions, trees without a split, or, of ``channels``, an encoder without feature maps.
    """
    if method == "map":
        return
    bundle = model.bundle
    heads = {fitted.head for models in bundle.models.values() for fitted in models}
    if heads - {"lightgbm"}:
        raise InputError(
            "{method} {}: is for the head lightgbm, whose trees share out their score; this model "
            "has {}, for which there is the method map",
            method,
            ", ".join(sorted(heads)),
        )
    if bundle.constant == bundle.count:
        raise InputError("{method} {}: {}", method, nothing_learnt(f"{bundle.count} of {bundle.count} models"))
    vectors = [encoder.name for encoder in model.encoders.values() if not isinstance(encoder, Encoder)]
    if method == "channels" and vectors:
        raise InputError("{method} channels: {} gives vectors and has no feature maps; use map", vectors[0])


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
        base=EVEN if base is None else "what the models answer before any channel is known",
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
        encoder, round(window * view.scale), crop=view.crop, shorter=min(height, width), alone=settings.mode != "dense"
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
    return np.ascontiguousarray(image.scales[settings.views[0].scale])


def channels_of(model: BoostedModel) -> list[Channel]:
    """Return what the numbers of all descriptors are, store after store."""
    return [
        Channel(store, model.encoders[store].name, layer, channel)
        for store in model.bundle.models
        for layer, length in zip(model.encoders[store].layers, model.encoders[store].parts, strict=True)
        for channel in range(length)
    ]


def _shared_out(model: BoostedModel, features: dict[str, npt.NDArray[np.float32]]) -> tuple[Floats, Floats]:
    """Return contributions, float64 of shape (classes, channels), and the base of each class.

    They are less the mean over classes: what is added to all scores alike changes no probability.
    """
    by_store = model.bundle.contributions(features)
    each = [by_store[store][0] - by_store[store][0].mean(axis=0) for store in model.bundle.models]
    return np.concatenate([shares[:, :-1] for shares in each], axis=1), np.sum(
        [shares[:, -1] for shares in each], axis=0
    )


def _named_arrays(channels: list[Channel]) -> dict[str, npt.NDArray[np.generic]]:
    names = {name: np.array([getattr(channel, name) for channel in channels]) for name in ("store", "encoder", "layer")}
    return {**names, "channel": np.array([channel.channel for channel in channels], dtype=np.int32)}


def _largest(values: Floats, most: int) -> list[int]:
    """Return the indices of the values of the largest size, of those that are not zero."""
    return [int(index) for index in np.argsort(-np.abs(values), kind="stable")[:most] if values[index]]


def _contributions(
    model: BoostedModel, blank: Explanation, shared: Floats, base: Floats, target: int, *, top: int
) -> Explanation:
    channels, own = channels_of(model), shared[target]
    largest = _largest(own, top)
    rest = float(own.sum() - own[largest].sum())
    several = len(model.bundle.models) > len({(channel.encoder, channel.layer) for channel in channels})
    names = [f"{channel.store if several else channel.encoder} {channel.layer}" for channel in channels]
    layers: dict[str, float] = defaultdict(float)
    for name, value in zip(names, own, strict=True):
        layers[name] += float(value)
    bars = [(f"all of {name}", value) for name, value in layers.items()]
    bars += [(f"{names[index]} {channels[index].channel}", float(own[index])) for index in largest]
    bars += [("all other channels", rest), ("before any channel is known", float(base[target]))]
    scores = base + shared.sum(axis=1)
    bars += [(f"score of {model.bundle.classes[index]}", float(scores[index])) for index in np.argsort(-scores)]
    arrays = {"contributions": shared, "base": base, "scores": scores, **_named_arrays(channels)}
    return replace(blank, bars=tuple(bars), arrays=arrays)


def _channels(
    model: BoostedModel, record: ImageRecord, blank: Explanation, own: Floats, base: float, *, top: int
) -> Explanation:
    assert blank.picture is not None
    channels, largest = channels_of(model), _largest(own, top)
    values = np.zeros(blank.picture.shape[:2])
    for store in dict.fromkeys(channels[index].store for index in largest):
        maps = _feature_maps(model.encoders[store], _frame(model, record, store))
        for index in (index for index in largest if channels[index].store == store):
            active, places = maps[channels[index].layer]
            strength = spread(np.abs(active[:, :, channels[index].channel]), places, values.shape)
            mean = strength.mean()
            values += own[index] * (strength / mean if mean > 0 else 1.0)
    chosen = [channels[index] for index in largest]
    arrays = {"contributions": own[largest], **_named_arrays(chosen)}
    shown = float(own[largest].sum())
    sums = (
        f"score {base + own.sum():+.3f} = {base:+.3f} before any channel is known {shown:+.3f} by the {len(largest)} "
        f"channels shown {own.sum() - shown:+.3f} by all others"
    )
    return replace(blank, values=values.astype(np.float32), arrays=arrays, notes=(sums, *blank.notes))


def _feature_maps(encoder: CropEncoder, frame: Picture) -> dict[str, tuple[npt.NDArray[np.float32], Places]]:
    """Return each layer's map of a frame, float32 of shape (rows, columns, d), and where its cells are."""
    assert isinstance(encoder, Encoder)  # see `check_boosted`
    from keras import ops

    images = ops.convert_to_tensor(frame[np.newaxis].astype(np.float32))
    outputs = encoder.model(get_spec(encoder.name).preprocess(images), training=False)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    axes = [map_axes(encoder.model, size=size, axis=axis) for axis, size in enumerate(frame.shape[:2])]
    maps: dict[str, tuple[npt.NDArray[np.float32], Places]] = {}
    for index, (layer, output) in enumerate(zip(encoder.layers, outputs, strict=True)):
        values = np.asarray(ops.convert_to_numpy(ops.cast(output, "float32")))[0]
        centres = [
            (axis[index].first + np.arange(cells) * axis[index].stride) / size
            for axis, cells, size in zip(axes, values.shape, frame.shape, strict=False)
        ]
        maps[layer] = values, centres
    return maps
