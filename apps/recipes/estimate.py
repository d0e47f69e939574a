"""Estimates units, time and disk space of the steps of a recipe, from a few units that are timed on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...boost import Preset, TrainingPart, TrainingTerms, fit_text, get_head, model_params
from ...core.jobs import cpu_resources, format_seconds, network_resources
from ...data import PUBLISHED_FOLDS, Dataset, ImageRecord, published_folds
from ...encoders import cached_encoder, gives_maps
from ...featurize import images_per_block, time_describing
from ...finetune import time_training
from .parts import fold_names, open_images
from .recipe import Recipe, ReproduceRequest
from .steps import BoostStep, FeaturizeStep, FinetuneStep, Step

_FEW, _MORE = 1, 3
"""Half the numbers of boosting rounds of the two timed models; their difference gives the cost of a round."""

_TRAIN_SHARE = 0.9
"""Fraction of the images in the training part of a fold, with ten folds."""

_MOST_FITTED = 200
"""Largest number of images on which classifiers other than LightGBM are timed."""

_OFFICIAL_FOLDS = {"breakhis": 5}
"""Number of official hold-outs of a dataset; the official splits of other datasets have one."""


@dataclass(frozen=True)
class Estimate:
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


class PlannedImages:
    """The images of a recipe for an estimate: all magnifications together, and not decoded.

    Parameters
    ----------
    recipe : Recipe
    request : ReproduceRequest

    Attributes
    ----------
    work : Work
        Settings of the planned work.
    parts : int
        Number of parts into which the images are divided, each with its own folds.
    """

    def __init__(self, recipe: Recipe, request: ReproduceRequest) -> None:
        self._recipe, self._request, self._part = recipe, request, open_images(recipe, request)
        self.work = request.work
        self.parts = max(1, len(recipe.magnifications))
        self.kept: list[Any] = []

    def read(self, reading: Mapping[str, Any]) -> tuple[Dataset, Sequence[ImageRecord]]:
        """Return the dataset, and the images of it that would be used."""
        dataset = self._part.read(reading)
        if not self._request.quick:
            return dataset, dataset.records
        quick = self._recipe.quick
        if (count := quick.get("images_per_class_and_fold")) is None:
            most = quick["images_per_class"] * len(dataset.classes) * self.parts
        else:
            most = count * len(dataset.classes) * sum(map(self.folds, fold_names(self._recipe, self._request)))
        return dataset, dataset.records[:most]

    def folds(self, name: str) -> int:
        """Return how many folds a protocol has."""
        if name in PUBLISHED_FOLDS:
            return len({fold for _, fold, _ in published_folds(name)})
        return int(name) if name.isdecimal() else _OFFICIAL_FOLDS.get(str(self._part.layout), 1)


def estimate_step(step: Step, ahead: PlannedImages) -> Estimate:
    """Estimate a step from a few of its units, which are timed."""
    if isinstance(step, FeaturizeStep):
        return _estimate_featurize(step, ahead)
    return _estimate_boost(step, ahead) if isinstance(step, BoostStep) else _estimate_finetune(step, ahead)


def _estimate_featurize(step: FeaturizeStep, ahead: PlannedImages) -> Estimate:
    """Time the feature extraction of the first image with few augmentations, and scale it up."""
    _, records = ahead.read(step.reading)
    cost = time_describing(records[0], settings=step.settings)
    units = math.ceil(len(records) / images_per_block(step.settings))
    seconds = len(records) * cost.seconds / network_resources(ahead.work.jobs).processes
    return Estimate("featurize", units, seconds, 4 * len(records) * cost.numbers)


def _estimate_boost(step: BoostStep, ahead: PlannedImages) -> Estimate:
    """Time the training on random features of each dimension, with a few boosting rounds, and scale it up."""
    settings, features = step.settings, step.features
    dataset, records = ahead.read(step.reading)
    # for networks with feature maps, weights are random, since neither time nor size depends on them
    dims = [
        cached_encoder(
            choice,
            weights="random" if gives_maps(choice) else features.weights_of(choice.label),
            precision=features.precision,
            engine="keras" if gives_maps(choice) else features.engine,
            seed=0,
        ).dim
        for choice in features.encoders
        for _ in features.views
    ]
    number = ahead.parts * sum(map(ahead.folds, step.folds.folds))
    images = round(_TRAIN_SHARE * len(records) / ahead.parts)
    units, seconds, size = 0, 0.0, 0.0
    for dim in sorted(set(dims)):
        part = _made_up(images, features.augmentations, dim, classes=len(dataset.classes), preset=settings.lightgbm)
        for head in settings.heads:
            model_seconds, model_bytes = _time_head(part, settings.lightgbm, head)
            models = dims.count(dim) * number * (settings.seeds if get_head(head).seeded else 1)
            units += models
            seconds += models * model_seconds
            size += 2 * models * model_bytes  # in the folder, and in the model file, compressed to about a third
    return Estimate("boost", units, seconds / cpu_resources(ahead.work.jobs).processes, round(size * 2 / 3))


def _made_up(images: int, augmentations: int, dim: int, *, classes: int, preset: Preset) -> TrainingPart:
    """Return random features that depend a little on the class, as a training part."""
    rng = np.random.default_rng(0)
    labels = np.arange(images) % classes
    centres = rng.normal(0, 1, (classes, dim)).astype(np.float32)
    noise = rng.standard_normal((images, augmentations, dim), dtype=np.float32)
    features = (0.3 * centres[labels])[:, None] + noise
    return TrainingPart(features, labels.astype(np.int64), [None] * images, classes, 0, preset.rounds)


def _time_lightgbm(part: TrainingPart, preset: Preset) -> tuple[float, float]:
    """Return seconds and bytes of one LightGBM model, from two models with few rounds."""
    params = model_params(preset, classes=part.classes, seed=0, fold_position=0)
    timed = []
    for rounds in (2 * _FEW, 2 * _MORE):
        started = time.perf_counter()
        text = fit_text(part.features, part.labels, params=params, rounds=rounds)
        timed.append((time.perf_counter() - started, len(text)))
    (few, few_bytes), (more, more_bytes) = timed
    per_round = max(0.0, more - few) / (2 * (_MORE - _FEW))
    bytes_per_round = (more_bytes - few_bytes) / (2 * (_MORE - _FEW))
    start = max(0.0, few - 2 * _FEW * per_round)
    return start + preset.rounds * per_round, few_bytes + preset.rounds * bytes_per_round


def _time_head(part: TrainingPart, preset: Preset, name: str) -> tuple[float, float]:
    """Return seconds and bytes of a classifier, from one on some of the images; time is scaled by their number."""
    if name == "lightgbm":
        return _time_lightgbm(part, preset)
    spec, images = get_head(name), len(part.labels)
    fitted_on = min(images, _MOST_FITTED)
    few = replace(
        part, features=part.features[:fitted_on], labels=part.labels[:fitted_on], groups=part.groups[:fitted_on]
    )
    params = spec.params(TrainingTerms(preset, 0, images), classes=part.classes, seed=0, fold_position=0)
    started = time.perf_counter()
    (fitted,) = spec.fit(few, [params])
    return (time.perf_counter() - started) * images / fitted_on, len(fitted.data)


def _estimate_finetune(step: FinetuneStep, ahead: PlannedImages) -> Estimate:
    """Time a few training steps and scale them up; this is an upper limit, since training can stop early."""
    settings, folds, reading = step.settings, step.folds, step.reading
    dataset, records = ahead.read(reading)
    kept = (settings.stain, settings.size if settings.rule.kind == "resize" else 0, reading)
    new = kept not in ahead.kept  # else the file of decoded images is there from an earlier step
    ahead.kept.append(kept)
    images = math.ceil(len(records) / ahead.parts)
    copies = sum(dict(settings.copies).get(item.label or "", 1.0) for item in records) / len(records)
    seen = math.ceil(images * copies)
    cost = time_training(records[0], settings=settings, classes=len(dataset.classes))
    # Each fold is trained by one process, so a single fold takes as long with any number of processes. More threads
    # would make it faster, by a factor that depends on the network and is not included here.
    side_by_side = {name: ahead.work.training(ahead.folds(name)).processes for name in folds.folds}
    turns = ahead.parts * sum(math.ceil(ahead.folds(name) / count) for name, count in side_by_side.items())
    fold = seen * cost.samples * _TRAIN_SHARE * settings.epochs * cost.step
    seconds = turns * fold + (len(records) * cost.read / cpu_resources(ahead.work.jobs).cores if new else 0.0)
    number = sum(map(ahead.folds, folds.folds))
    # weights are in the folder and in the model file
    size = 2 * number * ahead.parts * cost.weight_bytes + (len(records) * cost.image_bytes if new else 0)
    return Estimate("finetune", number * ahead.parts, seconds, size)


def estimate_text(stages: Sequence[Estimate], *, jobs: int) -> str:
    """Return the stages as a text table."""
    total = Estimate(
        "in all",
        sum(stage.units for stage in stages),
        sum(stage.seconds for stage in stages),
        sum(stage.bytes for stage in stages),
    )
    width = max(12, *(len(stage.stage) + 2 for stage in stages))
    lines = [f"{'stage':{width}}{'units':>8}{'time':>12}{'disk':>10}   (on this machine; processes: {jobs})"]
    lines += [
        f"{stage.stage:{width}}{stage.units:>8}{format_seconds(stage.seconds):>12}{stage.bytes / 1e6:>7,.0f} MB"
        for stage in (*stages, total)
    ]
    return "\n".join(lines)
