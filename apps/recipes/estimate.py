"""Estimates units, time and disk space of the steps of a recipe, from a few units that are timed on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ...boost import Preset, TrainingPart, TrainingTerms, get_head
from ...core.jobs import Work, cpu_resources, format_seconds
from ...data import ImageRecord, decode_whole
from ...featurize import estimate_describing, images_per_block, timed_targets
from ...finetune import (
    FinetuneSettings,
    ImageBank,
    Source,
    StainTreatment,
    build_model,
    cut_region,
    resolved,
    training_batches,
)
from .image_sets import ImageSet
from .steps import BoostStep, FeaturizeStep, FinetuneStep, RecipeStep

_TRAIN_SHARE = 0.9
"""Fraction of the images in the training part of a fold, with ten folds."""

_MOST_FITTED = 200
"""Largest number of images on which classifiers are timed."""

_MOST_TIMED = 16
"""Largest batch that is timed; batches are those of the settings if they are smaller."""

_TIMED_STEPS = 3
"""Number of timed steps of a network, after a first step that compiles."""


class Estimate(NamedTuple):
    """The estimate of one stage.

    Attributes
    ----------
    stage : str
    units : int
    seconds : float
        Time with the given processes.
    bytes : int
        Size of the files that the stage writes.
    """

    stage: str
    units: int
    seconds: float
    bytes: int


def estimate_step(
    step: RecipeStep, image_sets: Sequence[ImageSet], *, work: Work, before: Sequence[RecipeStep]
) -> Estimate:
    """Estimate a step on the images of all sets from a few of its units, which are timed.

    Parameters
    ----------
    step : RecipeStep
    image_sets : sequence of ImageSet
    work : Work
        Settings of the planned work.
    before : sequence of RecipeStep
        Earlier steps, whose files of decoded images are there.
    """
    datasets = [image_set.read(step.reading) for image_set in image_sets]
    records = [record for dataset in datasets for record in dataset.records]
    if isinstance(step, FeaturizeStep):
        described = estimate_describing(records, step.settings, jobs=work.jobs)
        units = math.ceil(len(records) / images_per_block(step.settings))
        return Estimate("featurize", units, described.seconds, 4 * described.numbers)
    folds = [
        len(plan.folds)
        for image_set in image_sets
        for plan in image_set.plans(step.folds, reading=step.reading, seed=step.settings.seed)
    ]
    images = math.ceil(len(records) / len(image_sets))
    classes = len(datasets[0].classes)
    if isinstance(step, BoostStep):
        return _estimate_boost(step, images, classes=classes, folds=folds, work=work)
    # a few training steps, scaled up: an upper limit, since training can stop early
    settings = step.settings
    copies_by_class = dict(settings.copies)
    copies = sum(copies_by_class.get(item.label_text, 1.0) for item in records) / len(records)
    cost = time_training(records[0], settings=settings, classes=classes)
    # Each fold is trained by one process, so a single fold takes as long with any number of processes. More threads
    # would make it faster, by a factor that depends on the network and is not included here.
    turns = sum(math.ceil(count / work.training(count).processes) for count in folds)
    fold = math.ceil(images * copies) * cost.samples * _TRAIN_SHARE * settings.epochs * cost.step
    seconds = turns * fold
    # weights are in the folder and in the model file
    size = 2 * sum(folds) * cost.weight_bytes
    if _decoded(step) not in map(_decoded, before):
        seconds += len(records) * cost.read / cpu_resources(work.jobs).cores
        size += len(records) * cost.image_bytes
    return Estimate("finetune", sum(folds), seconds, size)


def _estimate_boost(
    step: BoostStep, images: int, *, classes: int, folds: Sequence[int], work: Work
) -> Estimate:
    """Time a model of each classifier on random features of each dimension, and scale it up."""
    settings = step.settings
    training_images = round(_TRAIN_SHARE * images)
    dims = [encoder.dim for encoder, _ in timed_targets(step.features).values()]
    units = 0
    seconds = 0.0
    size = 0
    for dim in sorted(set(dims)):
        shape = (min(training_images, _MOST_FITTED), step.features.augmentations, dim)
        for head in settings.heads:
            head_seconds, head_bytes = _time_head(
                head, settings.lightgbm, shape, classes=classes, images=training_images
            )
            models = dims.count(dim) * sum(folds)
            if get_head(head).seeded:
                models *= settings.seeds
            units += models
            seconds += models * head_seconds
            size += models * head_bytes
    return Estimate("boost", units, seconds / cpu_resources(work.jobs).processes, size)


def _time_head(
    name: str, preset: Preset, shape: tuple[int, int, int], *, classes: int, images: int
) -> tuple[float, int]:
    """Return seconds and bytes of a classifier, from random features; time is scaled by the number of images."""
    rng = np.random.default_rng(0)
    spec = get_head(name)
    labels = np.arange(shape[0]) % classes
    centres = rng.normal(0, 1, (classes, shape[2])).astype(np.float32)
    features = (0.3 * centres[labels])[:, None] + rng.standard_normal(shape, dtype=np.float32)
    training = TrainingPart(
        features, labels.astype(np.int64), [None] * shape[0], classes, 0, preset.rounds
    )
    params = spec.params(TrainingTerms(preset, 0, images), classes=classes, seed=0, fold_position=0)
    start = time.perf_counter()
    (fitted,) = spec.fit(training, [params])
    seconds = time.perf_counter() - start
    # stored in the folder, with its text, and in the model file
    size = 2 * len(fitted.data) + len(fitted.text or "")
    return seconds * images / shape[0], size


def _decoded(step: RecipeStep) -> Any:
    """Return what the file of decoded images depends on; None for steps without one."""
    if not isinstance(step, FinetuneStep):
        return None
    settings = step.settings
    return settings.stain, (settings.size if settings.rule.kind == "resize" else 0), step.reading


class TrainingCost(NamedTuple):
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


def untrained(settings: FinetuneSettings) -> FinetuneSettings:
    """Return settings of the same network with random weights, for its costs."""
    return replace(settings, weights="random", rate_multipliers=(), fresh=())


def time_training(record: ImageRecord, *, settings: FinetuneSettings, classes: int) -> TrainingCost:
    """Measure the time to read an image and to train on a sample, with random weights.

    Parameters
    ----------
    record : ImageRecord
        A typical image.
    settings : FinetuneSettings
    classes : int
    """
    settings = untrained(settings)
    size = resolved(settings)["size"]
    start = time.perf_counter()
    image = StainTreatment(settings.stain, settings.rule, size).read(record)
    reading = time.perf_counter() - start
    batch = min(resolved(settings)["batch_size"], _MOST_TIMED)
    regions = []
    if settings.turned:
        whole = decode_whole(record)
        regions = [cut_region(*whole, size=size, treat=np.ascontiguousarray)] * batch
    bank = ImageBank.of(
        [image] * batch, [f"{record.image_id}/{number}" for number in range(batch)], regions
    )
    source = Source.of(replace(settings, batch_size=batch), bank, np.zeros(batch, dtype=np.int64))
    model = build_model(settings, classes=classes, fold=0)
    samples = source.samples(np.arange(batch))
    samples_of_image = settings.rule.number(*image.shape[:2]) * settings.offline_copies
    make_batches = training_batches(
        source, samples, augmentations=settings.augmentations, crops=settings.crops
    )
    model.train_on_batch(*make_batches(0)[0])  # compiles
    start = time.perf_counter()
    for epoch in range(_TIMED_STEPS):
        model.train_on_batch(*make_batches(epoch)[0])
    training = (time.perf_counter() - start) / _TIMED_STEPS / batch
    return TrainingCost(
        reading, training, samples_of_image, bank.pixels.nbytes // batch, 4 * model.count_params()
    )


def estimate_text(stages: Sequence[Estimate], *, jobs: int) -> str:
    """Return the stages as a text table."""
    total = Estimate("in all", *map(sum, zip(*(stage[1:] for stage in stages), strict=True)))
    width = max(12, *(len(stage.stage) + 2 for stage in stages))
    lines = [
        f"{'stage':{width}}{'units':>8}{'time':>12}{'disk':>10}   (on this machine; processes: {jobs})"
    ]
    lines += [
        f"{stage.stage:{width}}{stage.units:>8}{format_seconds(stage.seconds):>12}{stage.bytes / 1e6:>7,.0f} MB"
        for stage in (*stages, total)
    ]
    return "\n".join(lines)
