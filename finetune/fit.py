"""Train a network epoch by epoch. An interrupted run resumes where it stopped, and ends with the same result."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import InputError
from ..core.jobs import write_rows
from .batches import Source, still_batches, training_batches
from .patches import Indices, Samples
from .settings import FinetuneSettings, class_weights, copy_classes, sample_training
from .state import EventLog, StateFile, copied_weights

_log = logging.getLogger(__name__)

_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class TrainingPlan:
    """How a fold is trained.

    Attributes
    ----------
    settings : FinetuneSettings
    train, validate : ndarray of int64
        Positions of images. Without validation images, all epochs are trained and the last weights are kept.
    classes : int
        Number of classes.
    copies : tuple of float
        How often an image of each class is used in an epoch; empty for once.
    """

    settings: FinetuneSettings
    train: Indices
    validate: Indices
    classes: int
    copies: tuple[float, ...] = ()


def train_model(
    model: Any,
    source: Source,
    plan: TrainingPlan,
    *,
    state: Path,
    log: Path,
    on_epoch: Callable[[str], None],
    on_saved: Callable[[int], None] = lambda epochs: None,
    events: Path | None = None,
    key: str = "",
) -> None:
    """Train until the validation loss has not fallen for `patience` epochs, and keep the best weights.

    With a `patience` of 0, all epochs are trained and the last weights are kept.

    Parameters
    ----------
    model : keras.Model
        Compiled; holds the best weights afterwards.
    source : Source
    plan : TrainingPlan
    state : Path
        File of the training state and the history, see `StateFile`. If it exists, training resumes from it.
    log : Path
        CSV file: epoch, loss, accuracy, and both on the validation images. It is rewritten from the saved history, so
        that it always agrees with the state.
    on_epoch : callable
        Called after each epoch with a short text, also for epochs that an earlier run trained.
    on_saved : callable
        Called with the number of epochs that were newly saved, and at the end with the others.
    events : Path, optional
        Folder for TensorBoard.
    key : str
        Key of the training. A state with another key is ignored.

    Raises
    ------
    InputError
        A batch is larger than the training part, a class has no training images, or the loss is not finite.
    """
    settings, samples = plan.settings, training_samples(source, plan)
    if source.batch_size > len(samples):
        raise InputError(
            "{batch_size} {}: more than the {} samples that train; lower it", source.batch_size, len(samples)
        )
    weights = loss_weights(source, samples, plan)
    validated = source.samples(plan.validate)
    make_epoch = training_batches(source, samples, augmentations=settings.augmentations, crops=settings.crops)
    state_file = StateFile(state, model, key)
    progress = state_file.restore()
    saved_epochs = progress.done
    validation = still_batches(source, validated, weights=weights)
    curves = None if events is None else EventLog(events)
    if progress.rows:
        write_rows(log, _COLUMNS, progress.rows)
    for row in progress.rows:
        on_epoch(_words(row))
    on_saved(saved_epochs)
    if curves is not None and not progress.done:
        curves.write_graph(model)
        curves.write_weights(model, step=0)
    stops = len(validated) > 0 and settings.patience > 0
    while progress.done < settings.epochs and not (stops and progress.waited >= settings.patience):
        epoch = make_epoch(progress.done)
        history = model.fit(epoch, epochs=1, class_weight=weights, verbose=0, shuffle=False).history
        epoch.release()
        row = [progress.done + 1, history["loss"][-1], history["accuracy"][-1], "", ""]
        if len(validated):
            row[3:] = _judge(model, validation)
        loss = row[3] if len(validated) else row[1]
        if not math.isfinite(loss):
            raise InputError("{}: the loss is {} after epoch {}; lower {learning_rate}", log, loss, row[0])
        progress.done += 1
        progress.rows.append(row)
        if not stops or loss < progress.best:
            progress.best, progress.waited, progress.kept = loss, 0, copied_weights(model)
        else:
            progress.waited += 1
        was_saved = state_file.save(progress)
        write_rows(log, _COLUMNS, progress.rows)
        if curves is not None:
            curves.write(dict(zip(_COLUMNS[1:], row[1:], strict=True)), step=progress.done)
            curves.write_weights(model, step=progress.done)
        _log.debug("%s: epoch %d, %s", log.stem, progress.done, _words(row))
        on_epoch(_words(row))
        if was_saved:
            on_saved(progress.done - saved_epochs)
            saved_epochs = progress.done
    on_saved(progress.done - saved_epochs)
    validation.release()
    model.set_weights(progress.kept)


def training_samples(source: Source, plan: TrainingPlan) -> Samples:
    """Return the samples of an epoch: all patches and variants of the sampled and repeated training images.

    Raises
    ------
    InputError
        See `sample_training`.
    """
    settings = plan.settings
    chosen = plan.train[sample_training(source.labels[plan.train], method=settings.sampling, seed=settings.seed)]
    chosen = chosen[copy_classes(source.labels[chosen], factors=plan.copies, seed=settings.seed)]
    return source.samples(chosen, copies=settings.offline_copies)


def loss_weights(source: Source, samples: Samples, plan: TrainingPlan) -> dict[int, float] | None:
    """Return the weight of each class in the loss, or None if classes are not weighted.

    Weights follow from the samples of an epoch, so classes that sampling has balanced are not corrected twice.

    Raises
    ------
    InputError
        See `class_weights`.
    """
    return class_weights(source.labels[samples.images], classes=plan.classes) if plan.settings.class_weights else None


def _judge(model: Any, batches: Any) -> tuple[float, float]:
    """Return loss and accuracy on some batches."""
    loss, accuracy = model.evaluate(batches, verbose=0)
    return float(loss), float(accuracy)


def _words(row: list[Any]) -> str:
    held = f", val_loss {row[3]:.3f}, val_accuracy {row[4]:.3f}" if row[3] != "" else ""
    return f"loss {row[1]:.3f}, accuracy {row[2]:.3f}{held}"
