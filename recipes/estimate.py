"""What a boosted experiment will take: its units, time and disk, from a few units that are timed here and now."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..boost import PRESETS, fit_text, model_params
from ..data import ImageRecord
from ..encoders import Encoder
from ..experiment import Work
from ..featurize import FeaturizeSettings, describe_images, images_per_block
from ..finetune import FinetuneSettings, time_training
from ..jobs import Ticker, format_seconds

__all__ = ["Estimate", "estimate_boosted", "estimate_cnn", "estimate_text"]

_FEW, _MORE = 1, 3
"""Augmentations, and boosting rounds over 2, of the two timed units; their difference is the cost of one (ours)."""

_TRAIN_SHARE = 0.9
"""Of the images that train in a fold of ten."""


@dataclass(frozen=True)
class Estimate:
    """One stage: how many units, seconds on the given processes, and bytes it leaves."""

    stage: str
    units: int
    seconds: float
    bytes: int


def estimate_boosted(
    records: Sequence[ImageRecord],
    *,
    settings: FeaturizeSettings,
    folds: int,
    seeds: int,
    preset: str,
    classes: int,
    how: Work,
) -> list[Estimate]:
    """Time a few units of each stage and scale them up.

    Parameters
    ----------
    records : sequence of ImageRecord
        All images; the first is described, with random weights, since time does not depend on them.
    settings : FeaturizeSettings
    folds : int
        Over all protocols.
    seeds, preset, classes
        Of the boosting.
    how : Work
        How it would be done.

    Returns
    -------
    list of Estimate
    """
    encoders = {choice: Encoder(choice.name, layers=choice.layers, weights="random") for choice in settings.encoders}
    targets = {
        f"{choice.name}-{view.crop}-{view.scale}": (encoder, view)
        for choice, encoder in encoders.items()
        for view in settings.views
    }
    crops = min(settings.crops, settings.batch_size)

    def describe(augmentations: int) -> float:
        started = time.perf_counter()
        small = replace(settings, augmentations=augmentations, crops=crops)
        list(describe_images(records[:1], settings=small, targets=targets, ticker=Ticker(None)))
        return time.perf_counter() - started

    describe(1)  # compiles
    few, more = describe(_FEW), describe(_MORE)
    one = max(0.0, more - few) / (_MORE - _FEW)
    image = max(0.0, few - _FEW * one) + settings.augmentations * one * settings.crops / crops
    numbers = len(records) * settings.augmentations * sum(encoder.dim for encoder, _ in targets.values())
    stages = [
        Estimate(
            "featurize",
            math.ceil(len(records) / images_per_block(settings)),
            len(records) * image / how.networks().processes,
            4 * numbers,
        )
    ]
    seconds = size = 0.0
    for dim in sorted({encoder.dim for encoder, _ in targets.values()}):
        stores = sum(encoder.dim == dim for encoder, _ in targets.values())
        model_seconds, model_bytes = _time_model(
            round(_TRAIN_SHARE * len(records)), settings.augmentations, dim, classes=classes, preset=preset
        )
        seconds += stores * folds * seeds * model_seconds
        size += (
            stores * folds * seeds * model_bytes * 2
        )  # in the folder and, compressed to about a third, in the bundle
    models = len(targets) * folds * seeds
    return [*stages, Estimate("boost", models, seconds / how.cpu().processes, round(size * 2 / 3))]


def _time_model(images: int, augmentations: int, dim: int, *, classes: int, preset: str) -> tuple[float, float]:
    """Return seconds and bytes of one model, on made-up descriptors with a little structure."""
    rng = np.random.default_rng(0)
    labels = np.arange(images) % classes
    centres = rng.normal(0, 1, (classes, dim)).astype(np.float32)
    features = (0.3 * centres[labels])[:, None] + rng.standard_normal((images, augmentations, dim), dtype=np.float32)
    chosen = PRESETS[preset]
    params = model_params(chosen, classes=classes, seed=0, fold_position=0)
    timed = []
    for rounds in (2 * _FEW, 2 * _MORE):
        started = time.perf_counter()
        text = fit_text(features, labels.astype(np.int64), params=params, rounds=rounds)
        timed.append((time.perf_counter() - started, len(text)))
    (few, few_bytes), (more, more_bytes) = timed
    per_round = max(0.0, more - few) / (2 * (_MORE - _FEW))
    bytes_per_round = (more_bytes - few_bytes) / (2 * (_MORE - _FEW))
    start = max(0.0, few - 2 * _FEW * per_round)
    return start + chosen.rounds * per_round, few_bytes + chosen.rounds * bytes_per_round


def estimate_cnn(
    records: Sequence[ImageRecord],
    *,
    stage: str,
    settings: FinetuneSettings,
    classes: int,
    folds: int,
    parts: int,
    how: Work,
    new_images: bool = True,
) -> Estimate:
    """Time a few steps of training and scale them up: at most so long, since training stops early.

    Parameters
    ----------
    records : sequence of ImageRecord
        All images; the first is read.
    stage : str
        What the estimate is of.
    settings : FinetuneSettings
    classes, folds : int
    parts : int
        Into how many the images are divided, each with folds of its own.
    how : Work
        How it would be done.
    new_images : bool
        Whether the decoded images are not those of an earlier stage.
    """
    cost = time_training(records[0], settings=settings, classes=classes)
    epoch = _TRAIN_SHARE * len(records) * cost.samples * cost.step
    seconds = folds * settings.epochs * epoch + (len(records) * cost.read if new_images else 0.0)
    # weights lie in the folder and in the bundle
    size = 2 * folds * parts * cost.weight_bytes + (len(records) * cost.image_bytes if new_images else 0)
    return Estimate(stage, folds * parts, seconds / how.networks().processes, size)


def estimate_text(stages: Sequence[Estimate], *, jobs: int) -> str:
    """Write the stages as a table for a terminal."""
    total = Estimate(
        "in all",
        sum(stage.units for stage in stages),
        sum(stage.seconds for stage in stages),
        sum(stage.bytes for stage in stages),
    )
    lines = [f"{'stage':12}{'units':>8}{'time':>12}{'disk':>10}   (on {jobs} processes of this machine)"]
    lines += [
        f"{stage.stage:12}{stage.units:>8}{format_seconds(stage.seconds):>12}{stage.bytes / 1e6:>7,.0f} MB"
        for stage in (*stages, total)
    ]
    return "\n".join(lines)
