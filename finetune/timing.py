"""What training costs on this machine, from a few steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data import ImageRecord, decode_whole
from .batches import Source, training_batches
from .frozen import keeps_features, split_frozen
from .images import ImageBank, RegionBank, make_reader
from .model import build_model, resolved
from .regions import cut_region
from .settings import FinetuneSettings

_STEPS = 3
"""Steps that are timed, after a first one that compiles (ours)."""


@dataclass(frozen=True)
class TrainingCost:
    """What training costs.

    Attributes
    ----------
    read, step : float
        Seconds to read an image, and to train a sample.
    once : float
        Seconds of a sample before the first epoch: what a frozen encoder makes of it, where that is kept.
    samples : int
        Of an image in an epoch.
    image_bytes, weight_bytes : int
        On the disk, of an image and of a model.
    """

    read: float
    step: float
    samples: int
    image_bytes: int
    weight_bytes: int
    once: float = 0.0


def time_training(record: ImageRecord, *, settings: FinetuneSettings, classes: int, images: int = 1) -> TrainingCost:
    """Time the reading of an image and the training of a sample, with random weights.

    Parameters
    ----------
    record : ImageRecord
        An image like all others.
    settings : FinetuneSettings
    classes : int
    images : int
        Of a fold: whether the features of a frozen encoder are kept depends on their number.

    Returns
    -------
    TrainingCost
    """
    settings = replace(settings, weights="random", rate_multipliers=())
    chosen = resolved(settings)
    started = time.perf_counter()
    image = make_reader(stain=settings.stain, rule=settings.rule, size=chosen["size"])(record)
    read = time.perf_counter() - started
    batch = min(chosen["batch_size"], 16)
    bank = ImageBank.of([image] * batch, [f"{record.image_id}/{place}" for place in range(batch)])
    stored = image.nbytes
    if settings.turned:
        region = cut_region(*decode_whole(record), size=chosen["size"], treat=np.ascontiguousarray)
        bank, stored = replace(bank, regions=RegionBank.of([region] * batch)), stored + region.pixels.nbytes
    source = Source.of(replace(settings, batch_size=batch), bank, np.zeros(batch, dtype=np.int64))
    model = build_model(settings, classes=classes, fold=0)
    size = sum(int(np.prod(weight.shape)) for weight in model.weights) * 4
    samples = source.samples(np.arange(batch))
    each = settings.rule.number(*image.shape[:2]) * settings.made
    make = training_batches(source, samples, augmentations=settings.augmentations, crops=settings.crops)
    split = split_frozen(model, settings) if keeps_features(settings) else None
    if split is not None and split.fits(images * each):
        once = _seconds(lambda epoch: split.encoder.predict_on_batch(make(epoch)[0][0])) / batch
        pictures, labels = make(0)[0]
        features = split.encoder.predict_on_batch(pictures)
        step = _seconds(lambda epoch: split.top.train_on_batch(features, labels)) / batch
    else:
        once, step = 0.0, _seconds(lambda epoch: model.train_on_batch(*make(epoch)[0])) / batch
    return TrainingCost(read, step, each, stored, size, once)


def _seconds(work: Callable[[int], Any]) -> float:
    """Return the seconds of a step, without the first."""
    work(0)
    started = time.perf_counter()
    for step in range(_STEPS):
        work(step)
    return (time.perf_counter() - started) / _STEPS
