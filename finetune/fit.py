"""Training a network epoch by epoch, so that a killed run goes on where it stopped and ends the same."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import InputError
from ..jobs import write_rows
from .balance import class_weights, copy_classes, sample_training
from .batches import Source, still_batches, training_batches
from .events import EventLog
from .frozen import Split
from .on_device import make_drawer
from .patches import Indices, Samples
from .settings import FinetuneSettings
from .state import StateFile, copied_weights

_log = logging.getLogger(__name__)

_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class TrainingPlan:
    """How a fold is trained.

    Attributes
    ----------
    settings : FinetuneSettings
    train, validate : ndarray of int64
        Positions of images; without any to validate, all epochs are trained and the last weights are kept.
    classes : int
    copies : tuple of float
        How often an image of each class stands in an epoch; empty for once.
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
    frozen: Split | None = None,
    learner: Any = None,
) -> None:
    """Train until the validation loss has not fallen for `patience` epochs, and keep the best weights; of 0 the last.

    Parameters
    ----------
    model : keras.Model
        Compiled; holds the best weights afterwards.
    source : Source
    plan : TrainingPlan
    state : Path
        Everything that the next epoch depends on and the history so far, see `StateFile`; read where it exists.
    log : Path
        CSV: epoch, loss, accuracy, and both on the validation part. Written from the history, so that a training that
        is gone on from tells no other epochs than its state.
    on_epoch : callable
        Called after each epoch with a few words, also for those that an earlier run trained.
    on_saved : callable
        Called with a number of epochs that a kill does not take any more, all together at the end.
    events : Path, optional
        Folder for TensorBoard.
    key : str
        Of the training; a state of another is not gone on from.
    frozen : Split, optional
        The two parts of `model`, where its encoder makes the same of each sample in every epoch: then the top alone is
        trained, on features that are computed first, if they fit.
    learner : keras.Model, optional
        See `augmenting`: then samples are augmented on its device.

    Raises
    ------
    InputError
        A batch larger than the training part, a class without an image there, or a loss that is no number.
    """
    settings, samples = plan.settings, training_samples(source, plan)
    if source.batch_size > len(samples):
        raise InputError(
            "{batch_size} {}: more than the {} samples that train; lower it", source.batch_size, len(samples)
        )
    weights = loss_weights(source, samples, plan)
    held = source.samples(plan.validate)
    of_train = of_held = None
    network = model
    how: dict[str, Any] = {"augmentations": settings.augmentations, "crops": settings.crops}
    if frozen is not None and (features := frozen.features(source, samples, held, **how)) is not None:
        model, (of_train, of_held) = frozen.top, features
    drawer = None if learner is None else functools.partial(make_drawer, settings.augmentations)
    batches = training_batches(source, samples, **how, features=of_train, drawer=drawer)
    learner = model if learner is None else learner
    saved = StateFile(state, learner, key)
    now = saved.restore()
    safe = now.done
    judges = still_batches(source, held, weights=weights, features=of_held)
    curves = None if events is None else EventLog(events)
    if now.rows:
        write_rows(log, _COLUMNS, now.rows)
    for row in now.rows:
        on_epoch(_words(row))
    on_saved(safe)
    if curves is not None and not now.done:
        curves.write_graph(network)
        curves.write_weights(model, step=0)
    stops = len(held) > 0 and settings.patience > 0
    while now.done < settings.epochs and not (stops and now.waited >= settings.patience):
        shuffled = batches(now.done)
        history = learner.fit(shuffled, epochs=1, class_weight=weights, verbose=0, shuffle=False).history
        shuffled.let_go()
        row = [now.done + 1, history["loss"][-1], history["accuracy"][-1], "", ""]
        if len(held):
            row[3:] = _judge(model, judges)
        judged = row[3] if len(held) else row[1]
        if not math.isfinite(judged):
            raise InputError("{}: the loss is {} after epoch {}; lower {learning_rate}", log, judged, row[0])
        now.done += 1
        now.rows.append(row)
        if not stops or judged < now.best:
            now.best, now.waited, now.kept = judged, 0, copied_weights(model)
        else:
            now.waited += 1
        whole = saved.save(now)
        write_rows(log, _COLUMNS, now.rows)
        if curves is not None:
            curves.write(dict(zip(_COLUMNS[1:], row[1:], strict=True)), step=now.done)
            curves.write_weights(model, step=now.done)
        _log.debug("%s: epoch %d, %s", log.stem, now.done, _words(row))
        on_epoch(_words(row))
        if whole:
            on_saved(now.done - safe)
            safe = now.done
    on_saved(now.done - safe)
    judges.let_go()
    model.set_weights(now.kept)


def training_samples(source: Source, plan: TrainingPlan) -> Samples:
    """List what an epoch trains on: the sampled images as often as their class stands, their patches and copies.

    Raises
    ------
    InputError
        See `sample_training`.
    """
    settings = plan.settings
    chosen = plan.train[sample_training(source.labels[plan.train], method=settings.sampling, seed=settings.seed)]
    chosen = chosen[copy_classes(source.labels[chosen], factors=plan.copies, seed=settings.seed)]
    return source.samples(chosen, copies=settings.made)


def loss_weights(source: Source, samples: Samples, plan: TrainingPlan) -> dict[int, float] | None:
    """Return the weights of the classes in the loss, None if they are not weighted.

    They follow from what an epoch trains on: classes that sampling has made even are not corrected a second time.

    Raises
    ------
    InputError
        See `class_weights`.
    """
    return class_weights(source.labels[samples.images], classes=plan.classes) if plan.settings.class_weights else None


def _judge(model: Any, batches: Any) -> tuple[float, float]:
    """Return loss and accuracy."""
    loss, accuracy = model.evaluate(batches, verbose=0)
    return float(loss), float(accuracy)


def _words(row: list[Any]) -> str:
    held = f", val_loss {row[3]:.3f}, val_accuracy {row[4]:.3f}" if row[3] != "" else ""
    return f"loss {row[1]:.3f}, accuracy {row[2]:.3f}{held}"
