"""Compute features of images while a thread prepares the next ones if a core is free, and measure how long it takes."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import timeit
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..core import ImageError, InputError, Message, by_key, few
from ..core.jobs import Ticker, default_jobs, visible_gpus
from ..data import ImageFiles, ImageRecord
from ..encoders import CropEncoder, Encoder
from .crops import GRID, draw_augmentation
from .device import cached_describer
from .pooling import CropDescription, Features
from .prepare import (
    ImageFailure,
    NormalisedImage,
    PreparedCrops,
    StainInfo,
    normalise_images,
    prefetch,
    prepare_crops,
)
from .settings import FeaturizeSettings, View

_log = logging.getLogger(__name__)

_LARGEST = 4
"""Sizes of images that decide the memory of a process: an encoder keeps its network compiled for so many shapes."""

_MOST_APART = {"float32": 2.0**-8, "float16": 2.0**-8, "bfloat16": 2.0**-5}
"""Largest difference between features of a GPU and of the CPU, by precision, in parts of the largest feature.

That is four times the distance from 1 to the next number in which a GPU multiplies: 2^-10 of float16, and of TF32,
which it takes for float32; 2^-7 of bfloat16. Three times as much was measured, see docs/performance.md. Crops at
another position change half of the features by 3 % and more.
"""


Targets = Mapping[str, tuple[CropEncoder, View]]
"""Name of a feature file to the encoder and the view of its features."""

Pass = tuple[FeaturizeSettings, Targets]
"""Settings and targets for which an image is decoded once."""

Encode = Callable[[PreparedCrops], dict[str, Features]]
"""Returns the features of the crops, or windows, of an augmentation by the name of the feature file."""


class ImageDescriptors(NamedTuple):
    """Pooled features of an image: name of the feature file to float32 of shape (augmentations computed, d)."""

    record: ImageRecord
    stain: StainInfo
    features: dict[str, Features]


Described = ImageDescriptors | ImageFailure


def describe_images(
    records: Sequence[ImageRecord],
    *,
    settings: FeaturizeSettings,
    targets: Targets,
    ticker: Ticker,
    skip_errors: bool = False,
    crop_seed: str = "id",
    helpers: int = 1,
    on_device: bool | None = None,
) -> Generator[Described, None, None]:
    """Compute the features of images one after the other.

    Parameters
    ----------
    records : sequence of ImageRecord
        The images.
    settings : FeaturizeSettings
        Stain, augmentation, crops, pooling, batch size and seed.
    targets : mapping
        Name of a feature file to encoder and view.
    ticker : Ticker
        Counts progress, one step per augmentation of an image.
    skip_errors : bool
        Yield an `ImageFailure` for an image that cannot be used, instead of raising an error.
    crop_seed : {"id", "pixels"}
        Source of the random colours and crops: the image's id or its decoded pixels, see `bchisto.data.crop_key`.
    helpers : int
        Processes that decode and normalise images ahead of a GPU; 1 means a thread of this process.
    on_device : bool, optional
        Whether colours, crops and pooling are computed on the device of Keras's backend; by default if that is a GPU,
        see `why_on_cpu`.

    Yields
    ------
    ImageDescriptors or ImageFailure
        In the order of `records`.

    Raises
    ------
    ImageError
        An image cannot be decoded or used, or a feature is not finite; the message names the image.
    InputError
        `on_device` is true, and the device cannot compute these features; the message names the reason.
    """
    encoders = [encoder for encoder, _ in targets.values()]
    if on_device is None:
        on_device = on_gpu(settings, encoders)
    elif on_device:
        reason = why_on_cpu(settings, encoders)
        if reason:
            raise InputError("`on_device`: {}", reason)
    views = tuple(dict.fromkeys(view for _, view in targets.values()))
    normalised = normalise_images(
        records,
        settings=settings,
        views=views,
        skip_errors=skip_errors,
        crop_seed=crop_seed,
        processes=helpers,
    )
    with_maps: Any = targets  # the device and dense mode get only networks with feature maps
    encode: Encode = functools.partial(_encode_crops, targets, settings.description)
    if settings.mode == "dense":
        encode = functools.partial(_encode_frames, with_maps)
    prepare = functools.partial(prepare_crops, settings=settings, views=views)
    by_crop = functools.partial(_crop_by_crop, records=records, settings=settings, encode=encode)
    if on_device:

        def on_cpu(image: NormalisedImage) -> Described:
            return next(by_crop(prepare([image]), ticker=Ticker(None)))

        images = prefetch(normalised)
        described = _on_device(images, records, settings, with_maps, ticker, on_cpu)
    else:
        crops = prepare(normalised)
        if default_jobs() > 1:  # on a single core, a thread would only take the cache
            crops = prefetch(crops)
        described = by_crop(crops, ticker=ticker)
    for item in described:
        fault = _not_finite(item) if isinstance(item, ImageDescriptors) else ""
        if not fault:
            yield item
        elif skip_errors:
            yield ImageFailure(item.record, fault)
        else:
            raise ImageError(fault)


def _not_finite(item: ImageDescriptors) -> str:
    """Return a message about features that are not finite; empty if all are."""
    for name, values in item.features.items():
        if not np.isfinite(values).all():
            subject = f"{item.record.called}: its features of {name}"
            return f"{subject} are not finite; check the weights or use float32"
    return ""


def on_gpu(settings: FeaturizeSettings, encoders: Collection[CropEncoder]) -> bool:
    """Return whether colours, crops and pooling are computed on the device of Keras's backend: if that is a GPU."""
    return not why_on_cpu(settings, encoders)


def why_on_cpu(settings: FeaturizeSettings, encoders: Collection[CropEncoder]) -> str:
    """Return why the CPU computes colours, crops and pooling; empty if a GPU does.

    It depends on what runs the encoders, and not on the option ``engine``, which may be ``auto``.
    """
    for encoder in encoders:
        if not isinstance(encoder, Encoder) or encoder.engine != "keras":
            return f"{encoder.engine} runs {encoder.name}"
    if settings.mode == "exact" and settings.crops == GRID:
        return "a grid has another number of crops for each size of images"
    if not visible_gpus():
        return "Keras uses no GPU"
    return ""


def _crop_by_crop(
    prepared: Iterable[PreparedCrops | ImageFailure],
    records: Sequence[ImageRecord],
    settings: FeaturizeSettings,
    encode: Encode,
    ticker: Ticker,
) -> Iterator[Described]:
    """Compute features of crops or frames that were prepared on the CPU."""
    description = settings.description
    pooled: dict[str, list[Features]] = {}
    for item in prepared:
        if isinstance(item, ImageFailure):
            ticker.tick(settings.augmentations)
            yield item
            continue
        for name, descriptors in encode(item).items():
            pooled.setdefault(name, []).append(description.pool(descriptors))
        ticker.tick()
        if item.augmentation + 1 == settings.augmentations:
            features = {name: np.stack(rows) for name, rows in pooled.items()}
            yield ImageDescriptors(records[item.image], item.stain, features)
            pooled = {}


def _on_device(
    images: Iterable[NormalisedImage | ImageFailure],
    records: Sequence[ImageRecord],
    settings: FeaturizeSettings,
    targets: Mapping[str, tuple[Encoder, View]],
    ticker: Ticker,
    on_cpu: Callable[[NormalisedImage], Described],
) -> Iterator[Described]:
    """Compute features with all steps after normalisation on the device, always one image ahead.

    `on_cpu` takes images of sizes that the device does not take, and in float32 those whose features float16 cannot
    hold.
    """
    describer = cached_describer(tuple(targets.items()), settings)
    in_float16 = any(encoder.scale for encoder, _ in targets.values())
    pending: list[Callable[[], Described]] = []
    float32_images = []

    def start(image: NormalisedImage | ImageFailure) -> Callable[[], Described]:
        if isinstance(image, ImageFailure):
            return lambda: image
        if not describer.takes(image.scales):
            return functools.partial(on_cpu, image)
        draws = [
            draw_augmentation(
                image.key, number, seed=settings.seed, color_range=settings.color_range
            )
            for number in range(settings.augmentations)
        ]
        fetch = describer.start(image.scales, draws)

        def finish() -> Described:
            described = ImageDescriptors(records[image.index], image.stain, fetch())
            if in_float16 and _not_finite(described):
                float32_images.append(described.record.image_id)
                return on_cpu(image)
            return described

        return finish

    def finished() -> Described:
        described = pending.pop(0)()
        ticker.tick(settings.augmentations)
        return described

    failure = None
    try:
        for item in images:
            pending.append(start(item))
            if len(pending) > 1:
                yield finished()
    except ImageError as error:
        failure = error  # the images before it are finished first, as on the CPU
    while pending:
        yield finished()
    if float32_images:
        text = "{} of {} images: {precision:float16} cannot hold their features; computed again in float32 ({})"
        _log.warning(Message(text, len(float32_images), len(records), few(float32_images)))
    if failure is not None:
        raise failure


def _encode_crops(
    targets: Targets,
    description: CropDescription,
    item: PreparedCrops,
) -> dict[str, Features]:
    """Encode the crops of each view."""
    return {
        name: description.encode(encoder, item.crops[view])
        for name, (encoder, view) in targets.items()
    }


def _encode_frames(
    targets: Mapping[str, tuple[Encoder, View]], item: PreparedCrops
) -> dict[str, Features]:
    """Encode each frame once per encoder, for the windows of all views of its scale."""
    groups = by_key(targets, lambda name: (id(targets[name][0]), targets[name][1].level))
    encoded: dict[str, Features] = {}
    for names in groups.values():
        windows = [item.windows[targets[name][1]] for name in names]
        encoder, view = targets[names[0]]
        vectors = encoder.encode_windows(item.frames[view.level], np.concatenate(windows))
        ends = np.cumsum([len(boxes) for boxes in windows])[:-1]
        encoded.update(zip(names, np.split(vectors, ends), strict=True))
    return encoded


class DescribingCost(NamedTuple):
    """Cost of one image: seconds of one process, and numbers in its rows of all feature files."""

    seconds: float
    numbers: int


def time_describing(
    record: ImageRecord,
    *,
    settings: FeaturizeSettings,
    targets: Targets,
) -> DescribingCost:
    """Measure the cost of an image, from those of its first augmentation and of one more.

    Parameters
    ----------
    record, settings, targets
        As for `describe_images`.

    Raises
    ------
    ImageError
        The image cannot be used.
    """

    def describe(trial: FeaturizeSettings) -> float:
        described = describe_images([record], settings=trial, targets=targets, ticker=Ticker(None))
        return timeit.timeit(lambda: list(described), number=1)

    crops = min(settings.crops, settings.crops_at_once)
    passes = float(settings.augmentations)
    first = replace(settings, augmentations=1, crops=crops)
    if on_gpu(settings, [encoder for encoder, _ in targets.values()]):
        # functions of fewer crops would only be compiled for this
        passes = 1.0
        first = settings
    elif crops and settings.mode == "exact":  # a grid, or a frame, is one pass
        passes *= settings.crops / crops
    describe(first)  # the first run compiles, so it is not timed
    seconds = describe(first)
    # the image with its first pass, and for each further pass what one more of them takes
    if passes > 1:
        further = describe(replace(first, augmentations=2)) - seconds
        if further <= 0:  # other work came between; a pass takes at most as long as the image
            further = seconds
        seconds += further * (passes - 1)
    return DescribingCost(
        seconds, settings.augmentations * sum(encoder.dim for encoder, _ in targets.values())
    )


def unlike_on_gpu(record: ImageRecord, of_gpu: Iterable[Pass], of_cpu: Iterable[Pass]) -> str:
    """Return how features that a GPU computes of an image differ from those of the CPU; empty if they agree.

    The GPU computes all augmentations, since what is compiled for them is used again. The CPU computes only the first.

    Parameters
    ----------
    record : ImageRecord
        An image that can be used.
    of_gpu, of_cpu : iterable of (FeaturizeSettings, mapping)
        Settings and targets, as for `describe_images`, of the same feature files in the same order.
    """

    def described(settings: FeaturizeSettings, targets: Targets) -> Any:
        images: Any = describe_images(
            [record], settings=settings, targets=targets, ticker=Ticker(None), crop_seed="pixels"
        )
        return next(images).features

    for (settings, targets), (cpu_settings, cpu_targets) in zip(of_gpu, of_cpu, strict=True):
        reason = why_on_cpu(settings, [encoder for encoder, _ in targets.values()])
        if reason:
            return f"it does not compute {', '.join(targets)}: {reason}"
        features = described(settings, targets)
        expected = described(replace(cpu_settings, augmentations=1), cpu_targets)
        for name, (row,) in expected.items():
            distance = np.abs(features[name][0] - row).max() / np.abs(row).max()
            if distance > _MOST_APART[settings.precision]:
                return f"its features of {name} differ by {distance:.2%} of the largest"
    return ""


def rehearse(
    records: Sequence[ImageRecord],
    describe: Callable[[ImageRecord], object],
    *,
    files: ImageFiles | None = None,
) -> None:
    """Describe an image of each of the largest sizes, so that this process takes as much memory as the work will.

    Parameters
    ----------
    records : sequence of ImageRecord
    describe : callable
        Describes an image.
    files : ImageFiles, optional
        Known headers of the images.
    """
    files = files or ImageFiles()

    def size_of(record: ImageRecord) -> tuple[int, int]:
        return record.sides(files.header(record.path))

    records_by_size = by_key(records, size_of)
    for size in sorted(records_by_size, key=math.prod)[-_LARGEST:]:
        for record in records_by_size[size]:
            with contextlib.suppress(ImageError):  # the work itself reports it
                describe(record)
                break  # one image of each size is enough
