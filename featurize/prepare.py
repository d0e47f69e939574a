"""Prepare images for an encoder: decode, normalise stains and cut crops, ahead in a thread or in processes."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..core import ImageError, Message, TissueError, message_of
from ..core.formats import Floats, Integers, Pixels, read_header
from ..core.jobs import in_threads, map_ahead
from ..data import (
    Fingerprint,
    ImageRecord,
    crop_key,
    decode_record,
    fingerprint,
    is_blank,
    pixels_sha256,
    resize_image,
)
from ..stains import (
    HeAugmenter,
    MacenkoNormalizer,
    Normalizer,
    check_stains,
    get_stain,
    make_normalizer,
)
from .crops import corners_of, crop_boxes, cut_crop, draw_augmentation
from .settings import FeaturizeSettings, View

T = TypeVar("T")


@dataclass(frozen=True)
class StainInfo:
    """Stains of an image at the first scale, checks of its normalisation, and what its pixels are.

    Attributes
    ----------
    vectors : ndarray of float64, shape (3, 2), or None
        Haematoxylin and eosin as columns; None if they were not estimated.
    tissue : float
        Share of tissue pixels.
    residual : float
        Root mean square of the optical density that the stains do not explain; NaN if they were not estimated.
    skipped : bool
        Whether normalisation was skipped at any scale, because of too little tissue.
    pixels : str
        See `bchisto.data.pixels_sha256`.
    blank : bool
        Whether it shows nothing, see `bchisto.data.is_blank`.
    whitened, foreign : float
        Largest share, over all normalised scales, of stained pixels that turned white, NaN if there is no such scale;
        and of pixels that are not tissue and keep their colour, 0 to 1.
    basis : float
        Smallest share, over all normalised scales, of stained pixels that gave the stains; NaN if there is none.
    doubtful : bool
        Whether a check of the normalised stains failed at any scale.
    fingerprint : ndarray of float16, optional
        For the search for near-duplicates among training images, see `bchisto.data.fingerprint`.
    """

    vectors: Floats | None = None
    tissue: float = math.nan
    residual: float = math.nan
    skipped: bool = False
    pixels: str = ""
    blank: bool = False
    whitened: float = math.nan
    foreign: float = 0.0
    basis: float = math.nan
    doubtful: bool = False
    fingerprint: Fingerprint | None = None


class ImageFailure(NamedTuple):
    """An image that could not be used, and the reason."""

    record: ImageRecord
    message: str


@dataclass(frozen=True)
class NormalisedImage:
    """An image at every scale, normalised.

    Attributes
    ----------
    index : int
        Position among the records.
    scales : dict of str to ndarray of uint8, shape (height, width, 3)
        Normalised images, by `View.level`.
    stain : StainInfo
        Stains at the first scale.
    key : str
        Source of its random colours and crops, see `bchisto.data.crop_key`.
    """

    index: int
    scales: dict[str, Pixels]
    stain: StainInfo
    key: str


@dataclass
class PreparedCrops:
    """Crops of one augmentation, or in dense mode its frames and the windows in them."""

    image: int
    augmentation: int
    stain: StainInfo
    crops: dict[View, Pixels] = field(default_factory=dict)
    frames: dict[str, Pixels] = field(default_factory=dict)
    windows: dict[View, Integers] = field(default_factory=dict)


def normalise_images(
    records: Sequence[ImageRecord],
    *,
    settings: FeaturizeSettings,
    views: Sequence[View],
    skip_errors: bool,
    crop_seed: str = "id",
    processes: int = 1,
) -> Iterator[NormalisedImage | ImageFailure]:
    """Decode and normalise images one after the other, or ahead of their turn in worker processes.

    Parameters
    ----------
    records : sequence of ImageRecord
    settings : FeaturizeSettings
    views : sequence of View
    skip_errors : bool
    crop_seed : {"id", "pixels"}
        See `bchisto.data.crop_key`.
    processes : int
        Number of worker processes. With 1, this process does the work when the next image is requested.

    Raises
    ------
    ImageError
        An image cannot be used. With `skip_errors` an `ImageFailure` is yielded instead.
    """
    normalise = functools.partial(
        _normalise,
        settings=settings,
        views=tuple(views),
        skip_errors=skip_errors,
        crop_seed=crop_seed,
    )
    numbered = list(enumerate(records))
    if processes == 1 or len(numbered) == 1:
        return map(normalise, numbered)
    return map_ahead(normalise, numbered, processes=processes)


def _normalise(
    numbered: tuple[int, ImageRecord],
    *,
    settings: FeaturizeSettings,
    views: Sequence[View],
    skip_errors: bool,
    crop_seed: str,
) -> NormalisedImage | ImageFailure:
    """Decode an image, given with its position, and normalise it at each scale; see `normalise_images`."""
    index, record = numbered
    scales = {}
    try:
        image = decode_record(record)
        if record.mpp is None and any(view.unit for view in views):
            record = record.scaled_by(record.header or read_header(record.path))
        normalizer = make_normalizer(settings.stain)
        for view in views:
            if view.level not in scales:
                scales[view.level] = _at_scale(record, image, view, settings, normalizer)
    except ImageError as error:
        message = message_of(error)
        if record.called not in message:
            message = Message("{}: {}", record.called, message)
        if not skip_errors:
            raise type(error)(message).skippable() from error
        return ImageFailure(record, message)
    key = crop_key(record, image, crop_seed=crop_seed)
    stain = replace(
        _joined([stain for _, stain in scales.values()]), blank=is_blank(image), pixels=key
    )
    if crop_seed != "pixels":
        # the key is an ID then; only images of training are searched for near-duplicates
        stain = replace(stain, pixels=pixels_sha256(image), fingerprint=fingerprint(image))
    pixels = {level: normalised for level, (normalised, _) in scales.items()}
    return NormalisedImage(index, pixels, stain, key)


def _joined(stains: Sequence[StainInfo]) -> StainInfo:
    """Return the stains at the first scale with the worst checks of all scales; NaN means a scale without a check."""
    return replace(
        stains[0],
        skipped=any(info.skipped for info in stains),
        whitened=float(np.fmax.reduce([info.whitened for info in stains])),
        foreign=max(info.foreign for info in stains),
        basis=float(np.fmin.reduce([info.basis for info in stains])),
        doubtful=any(info.doubtful for info in stains),
    )


def _at_scale(
    record: ImageRecord,
    image: Pixels,
    view: View,
    settings: FeaturizeSettings,
    normalizer: Normalizer,
) -> tuple[Pixels, StainInfo]:
    """Resize an image for a view, and normalise it; return it with its stains, which are checked."""
    height, width = image.shape[:2]
    if view in settings.needs:
        misfit = view.misfit(record, width=width, height=height)
        if misfit is not None:
            raise ImageError(misfit)
    resized = resize_image(image, view.factor(record.mpp))
    tissue = float(MacenkoNormalizer().tissue(resized).mean())
    try:
        normalised, estimate = normalizer.normalize_with_estimate(resized)
    except TissueError as error:
        if settings.stain_fallback == "error":
            remedies = [Message("use {stain_fallback:skip-normalisation}")]
            raise TissueError("{}: {}", record.called, error, remedies=remedies) from error
        return resized, StainInfo(tissue=tissue, skipped=True)
    stain = StainInfo(tissue=tissue)
    if estimate is not None:
        stain = replace(stain, vectors=estimate.stains, residual=estimate.residual)
    if get_stain(settings.stain).checked:
        check = check_stains(resized, normalised, estimate)
        stain = replace(
            stain,
            whitened=check.whitened,
            foreign=check.foreign,
            basis=check.basis,
            doubtful=bool(check.reasons),
        )
    return normalised, stain


def prepare_crops(
    images: Iterable[NormalisedImage | ImageFailure],
    *,
    settings: FeaturizeSettings,
    views: Sequence[View],
) -> Iterator[PreparedCrops | ImageFailure]:
    """Yield the crops of each image for each augmentation; in dense mode, turned frames and windows."""
    for image in images:
        if isinstance(image, ImageFailure):
            yield image
            continue
        augmenters = {}
        if settings.changes_colours:
            augmenters = {scale: HeAugmenter(pixels) for scale, pixels in image.scales.items()}
        for number in range(settings.augmentations):
            draw = draw_augmentation(
                image.key, number, seed=settings.seed, color_range=settings.color_range
            )
            frames = image.scales | {
                scale: augmenter.augment(hematoxylin=draw.hematoxylin, eosin=draw.eosin)
                for scale, augmenter in augmenters.items()
            }
            item = PreparedCrops(image.index, number, image.stain)
            dense = settings.mode == "dense"
            if dense:
                frames = {scale: draw.turn_frame(pixels) for scale, pixels in frames.items()}
                item.frames = frames
            for view in views:
                crop = view.crop
                frame = settings.description.frame(frames[view.level], crop=crop)
                height, width = frame.shape[:2]
                boxes = crop_boxes(
                    draw, height=height, width=width, crop=crop, count=settings.crops
                )
                if dense:
                    item.windows[view] = corners_of(boxes, crop=crop)
                else:
                    item.crops[view] = np.stack([cut_crop(frame, box, crop=crop) for box in boxes])
            yield item


def prefetch(items: Iterable[T]) -> Iterator[T]:
    """Yield `items`, which a thread computes two in advance. Its errors are raised here, in order."""
    iterator = iter(items)
    end: Any = object()
    results = in_threads(lambda _: next(iterator, end), itertools.repeat(None), threads=1)
    yield from itertools.takewhile(lambda item: item is not end, results)
