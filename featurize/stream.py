"""From image files to descriptors: decoding, stain work and crops in a thread, inference beside it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ..data import ImageRecord, decode_record, resize_image
from ..errors import BchistoError, ImageError, TissueError
from ..jobs import Ticker
from ..stains import HeAugmenter, MacenkoNormalizer, Normalizer, make_normalizer
from .crops import crop_boxes, cut_crop, draw_augmentation
from .encoder import Encoder
from .pooling import norm_pool
from .settings import FeaturizeSettings, View

__all__ = ["ImageDescriptors", "ImageFailure", "StainInfo", "describe_images"]

T = TypeVar("T")

_AHEAD = 2
"""Augmentations prepared ahead of inference: one being encoded, one ready (ours; more only costs memory)."""


@dataclass(frozen=True)
class StainInfo:
    """What stain normalisation found in an image at the first scale.

    Attributes
    ----------
    vectors : ndarray of float64, shape (3, 2), or None
        Haematoxylin and eosin as columns; None where none were estimated.
    tissue : float
        Share of tissue pixels.
    residual : float
        Optical density left unexplained, root mean square; NaN where no stains were estimated.
    skipped : bool
        Whether normalisation was skipped for too little tissue, at any scale.
    """

    vectors: npt.NDArray[np.float64] | None
    tissue: float
    residual: float
    skipped: bool


@dataclass(frozen=True)
class ImageDescriptors:
    """The pooled descriptors of an image: store name to float32 of shape (augmentations, d)."""

    record: ImageRecord
    stain: StainInfo
    features: dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class ImageFailure:
    """An image that could not be used, and why."""

    record: ImageRecord
    message: str


@dataclass
class _Prepared:
    """The crops of one augmentation, or in dense mode its frames with the windows in them."""

    image: int
    augmentation: int
    stain: StainInfo
    crops: dict[View, npt.NDArray[np.uint8]] = field(default_factory=dict)
    frames: dict[float, npt.NDArray[np.uint8]] = field(default_factory=dict)
    windows: dict[View, npt.NDArray[np.int64]] = field(default_factory=dict)


def describe_images(
    records: Sequence[ImageRecord],
    *,
    settings: FeaturizeSettings,
    targets: Mapping[str, tuple[Encoder, View]],
    ticker: Ticker,
    skip_errors: bool = False,
) -> Iterator[ImageDescriptors | ImageFailure]:
    """Describe images one after the other.

    Parameters
    ----------
    records : sequence of ImageRecord
        The images.
    settings : FeaturizeSettings
        Stain, augmentation, crops, pooling, batch size and seed are taken from here.
    targets : mapping
        Store name to encoder and view.
    ticker : Ticker
        Ticked once per augmentation of an image.
    skip_errors : bool
        Yield an `ImageFailure` for an image that cannot be used, instead of raising.

    Yields
    ------
    ImageDescriptors or ImageFailure
        In the order of `records`.

    Raises
    ------
    ImageError
        An image cannot be decoded or used, or gives a descriptor that is not finite; the message names it.
    """
    views = tuple(dict.fromkeys(view for _, view in targets.values()))
    prepared = _prefetch(_prepare(records, settings=settings, views=views, skip_errors=skip_errors), ahead=_AHEAD)
    features: dict[str, npt.NDArray[np.float32]] = {}
    for item in prepared:
        if isinstance(item, ImageFailure):
            ticker.tick(settings.augmentations)
            yield item
            continue
        record = records[item.image]
        if item.augmentation == 0:
            shape = {name: (settings.augmentations, encoder.dim) for name, (encoder, _) in targets.items()}
            features = {name: np.empty(size, np.float32) for name, size in shape.items()}
        if settings.mode == "dense":
            encoded = _encode_frames(targets, item)
        else:
            encoded = {
                name: _encode(encoder, item.crops[view], batch_size=settings.batch_size)
                for name, (encoder, view) in targets.items()
            }
        for name, descriptors in encoded.items():
            features[name][item.augmentation] = norm_pool(descriptors, settings.pool)
        ticker.tick()
        if item.augmentation + 1 == settings.augmentations:
            broken = [name for name, values in features.items() if not np.isfinite(values).all()]
            if not broken:
                yield ImageDescriptors(record, item.stain, features)
            else:
                message = (
                    f"{record.path}: its descriptors of {broken[0]} are not finite; check the weights or use float32"
                )
                if not skip_errors:
                    raise ImageError(message)
                yield ImageFailure(record, message)


def _encode(encoder: Encoder, crops: npt.NDArray[np.uint8], *, batch_size: int) -> npt.NDArray[np.float32]:
    batches = [encoder.encode(crops[start : start + batch_size]) for start in range(0, len(crops), batch_size)]
    return np.concatenate(batches)


def _encode_frames(targets: Mapping[str, tuple[Encoder, View]], item: _Prepared) -> dict[str, npt.NDArray[np.float32]]:
    """Encode each frame once per encoder, for the windows of all views of its scale."""
    groups: dict[tuple[int, float], list[str]] = {}
    for name, (encoder, view) in targets.items():
        groups.setdefault((id(encoder), view.scale), []).append(name)
    encoded: dict[str, npt.NDArray[np.float32]] = {}
    for (_, scale), names in groups.items():
        windows = [item.windows[targets[name][1]] for name in names]
        found = targets[names[0]][0].encode_windows(item.frames[scale], np.concatenate(windows))
        ends = np.cumsum([len(some) for some in windows])[:-1]
        encoded.update(zip(names, np.split(found, ends), strict=True))
    return encoded


def _prepare(
    records: Sequence[ImageRecord], *, settings: FeaturizeSettings, views: Sequence[View], skip_errors: bool
) -> Iterator[_Prepared | ImageFailure]:
    normalizer = make_normalizer(settings.stain)
    for index, record in enumerate(records):
        try:
            scales, stain = _normalised(record, settings=settings, views=views, normalizer=normalizer)
        except ImageError as error:
            message = str(error) if str(record.path) in str(error) else f"{record.path}: {error}"
            if not skip_errors:
                raise type(error)(message) from error
            yield ImageFailure(record, message)
            continue
        for number in range(settings.augmentations):
            drawn = draw_augmentation(record.image_id, number, seed=settings.seed, color_range=settings.color_range)
            item = _Prepared(index, number, stain)
            coloured = {
                scale: source.augment(hematoxylin=drawn.hematoxylin, eosin=drawn.eosin)
                if isinstance(source, HeAugmenter)
                else source
                for scale, source in scales.items()
            }
            if settings.mode == "dense":
                item.frames.update({scale: drawn.turn_frame(image) for scale, image in coloured.items()})
            for view in views:
                image = (item.frames or coloured)[view.scale]
                height, width = image.shape[:2]
                boxes = crop_boxes(drawn, height=height, width=width, crop=view.crop, count=settings.crops)
                if settings.mode == "dense":
                    corners = [(box.top, box.left, box.top + view.crop, box.left + view.crop) for box in boxes]
                    item.windows[view] = np.array(corners, dtype=np.int64)
                else:
                    item.crops[view] = np.stack([cut_crop(image, box, crop=view.crop) for box in boxes])
            yield item


def _normalised(
    record: ImageRecord, *, settings: FeaturizeSettings, views: Sequence[View], normalizer: Normalizer
) -> tuple[dict[float, HeAugmenter | npt.NDArray[np.uint8]], StainInfo]:
    """Decode an image, and resize and normalise it at every scale; the stains are those of the first scale.

    Where no colour is to change, the image itself stands in place of its augmenter.
    """
    image = decode_record(record)
    scales: dict[float, HeAugmenter | npt.NDArray[np.uint8]] = {}
    first: StainInfo | None = None
    for view in views:
        if view.scale in scales:
            continue
        resized = resize_image(image, view.scale)
        height, width = resized.shape[:2]
        if (message := view.misfit(record.path, width=width, height=height)) is not None:
            raise ImageError(message)
        tissue = MacenkoNormalizer().tissue_share(resized)
        try:
            normalised, estimate = normalizer.normalize_with_estimate(resized)
            info = StainInfo(
                vectors=None if estimate is None else estimate.stains,
                tissue=tissue,
                residual=float("nan") if estimate is None else estimate.residual,
                skipped=False,
            )
        except TissueError as error:
            if settings.stain_fallback == "error":
                raise TissueError(
                    f"{record.path}: {error}; leave it out, or use --stain-fallback skip-normalisation"
                ) from error
            normalised, info = resized, StainInfo(None, tissue, float("nan"), skipped=True)
        first = info if first is None else replace(first, skipped=first.skipped or info.skipped)
        scales[view.scale] = normalised if settings.color_range == (1.0, 1.0) else HeAugmenter(normalised)
    if first is None:  # settings always hold a view
        raise ImageError(f"{record.path}: no view to describe it by")
    return scales, first


def _prefetch(items: Iterable[T], *, ahead: int) -> Iterator[T]:
    """Yield `items`, made up to `ahead` in advance by a thread; an error in it is raised here."""
    ready: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(maxsize=ahead)
    stop = threading.Event()

    def put(entry: tuple[T] | BaseException | None) -> None:
        while not stop.is_set():
            try:
                ready.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return

    def fill() -> None:
        try:
            for item in items:
                put((item,))
                if stop.is_set():
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, which raises it
            put(error)

    thread = threading.Thread(target=fill, daemon=True, name="bchisto-prepare")
    thread.start()
    try:
        while (entry := ready.get()) is not None:
            if isinstance(entry, BchistoError):
                raise entry
            if isinstance(entry, BaseException):
                raise RuntimeError("preparing crops failed") from entry  # noqa: TRY004 - a failure passed on
            yield entry[0]
    finally:
        stop.set()
        thread.join()
