"""Measure the cost of training on this machine by a few steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data import ImageRecord, decode_whole
from .batches import Source, training_batches
from .images import ImageBank, make_reader
from .model import build_model, resolved
from .regions import cut_region
from .settings import FinetuneSettings

_STEPS = 3
"""Number of timed steps, after a first step that compiles."""


@dataclass(frozen=True)
class TrainingCost:
    """Cost of training in time and disk space.

    Attributes
    ----------
    read, step : float
        Seconds to read an image, and to train on a sample.
    samples : int
        Number of samples of an image in an epoch.
    image_bytes, weight_bytes : int
        Disk space of an image and of a model, in bytes.
    """

    read: float
    step: float
    samples: int
    image_bytes: int
    weight_bytes: int


def time_training(record: ImageRecord, *, settings: FinetuneSettings, classes: int, most: int = 16) -> TrainingCost:
    """Measure the time to read an image and to train on a sample, with random weights.

    Parameters
    ----------
    record : ImageRecord
        A typical image.
    settings : FinetuneSettings
    classes : int
    most : int
        Largest batch that is timed; batches are those of the settings if they are smaller.

    Returns
    -------
    TrainingCost
    """
    settings = replace(settings, weights="random", rate_multipliers=())
    chosen = resolved(settings)
    started = time.perf_counter()
    image = make_reader(stain=settings.stain, rule=settings.rule, size=chosen["size"])(record)
    read = time.perf_counter() - started
    batch = min(chosen["batch_size"], most)
    regions = []
    if settings.turned:
        regions = [cut_region(*decode_whole(record), size=chosen["size"], treat=np.ascontiguousarray)] * batch
    bank = ImageBank.of([image] * batch, [f"{record.image_id}/{number}" for number in range(batch)], regions)
    stored = bank.pixels.nbytes // batch
    source = Source.of(replace(settings, batch_size=batch), bank, np.zeros(batch, dtype=np.int64))
    model = build_model(settings, classes=classes, fold=0)
    size = sum(int(np.prod(weight.shape)) for weight in model.weights) * 4
    samples = source.samples(np.arange(batch))
    each = settings.rule.number(*image.shape[:2]) * settings.offline_copies
    make = training_batches(source, samples, augmentations=settings.augmentations, crops=settings.crops)
    step = _seconds(lambda epoch: model.train_on_batch(*make(epoch)[0])) / batch
    return TrainingCost(read, step, each, stored, size)


def _seconds(work: Callable[[int], Any]) -> float:
    """Return the mean seconds of a step, without the first one."""
    work(0)
    started = time.perf_counter()
    for step in range(_STEPS):
        work(step)
    return (time.perf_counter() - started) / _STEPS
