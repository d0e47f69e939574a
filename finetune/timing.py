"""What training costs on this machine, from a few steps."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from ..data import ImageRecord
from .augment import OFFLINE
from .batches import Source, training_batches
from .images import ImageBank, make_reader
from .model import build_model, resolved
from .settings import FinetuneSettings

__all__ = ["time_training"]

_STEPS = 3
"""Steps that are timed, after a first one that compiles (ours)."""


def time_training(record: ImageRecord, *, settings: FinetuneSettings, classes: int) -> tuple[float, float, int, int]:
    """Time the reading of an image and the training of a sample, with random weights.

    Parameters
    ----------
    record : ImageRecord
        An image like all others.
    settings : FinetuneSettings
    classes : int

    Returns
    -------
    tuple of float, float, int, int
        Seconds to read an image, seconds to train a sample, samples of an image in an epoch, bytes of the weights.
    """
    chosen = resolved(replace(settings, weights="random"))
    started = time.perf_counter()
    image = make_reader(stain=settings.stain, rule=settings.rule, size=chosen["size"])(record)
    read = time.perf_counter() - started
    batch = min(chosen["batch_size"], 16)
    bank = ImageBank.of([image] * batch, [f"{record.image_id}/{place}" for place in range(batch)])
    source = Source(bank, np.zeros(batch, dtype=np.int64), settings.rule, chosen["size"], settings.seed, batch)
    model = build_model(replace(settings, weights="random", multipliers=()), classes=classes, fold=0)
    samples = source.samples(np.arange(batch))
    make = training_batches(source, samples, augmentations=settings.augmentations, crops=settings.crops)
    model.train_on_batch(*make(0)[0])
    started = time.perf_counter()
    for epoch in range(_STEPS):
        model.train_on_batch(*make(epoch)[0])
    step = (time.perf_counter() - started) / (_STEPS * batch)
    copies = settings.rotations * settings.crops if OFFLINE in settings.augmentations else 1
    size = sum(int(np.prod(weight.shape)) for weight in model.weights) * 4
    return read, step, settings.rule.number(*image.shape[:2]) * copies, size
