"""Fit a network epoch by epoch, with a state from which it goes on and its curves for TensorBoard."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError
from ..core.jobs import read_pack, write_pack, write_rows
from .batches import Source, still_batches, training_batches
from .patches import Indices, Samples
from .settings import FinetuneSettings, class_weights, copy_classes, sample_training

_BUCKETS = 30
"""Number of buckets of a histogram, as in TensorBoard."""


class EventLog:
    """Writes event files into a folder with TensorFlow, so TensorBoard is needed only to view them.

    A resumed run adds a file.
    """

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self._tf, self._writer = tf, tf.summary.create_file_writer(str(folder))

    def write(self, model: Any, values: Mapping[str, Any], *, step: int) -> None:
        """Add a point to each curve that has a value, and a histogram of each trained variable, named by its path."""
        from keras import ops

        summary = (
            self._tf.compat.v1.SummaryMetadata
        )  # tells TensorBoard which of its pages shows the value
        entries: list[tuple[str, Any, str, int]] = [
            *(
                (name, np.float32(value), "scalars", 1)
                for name, value in values.items()
                if value != ""
            ),
            *(
                (v.path, _histogram(ops.convert_to_numpy(v.value)), "histograms", 2)
                for v in model.trainable_variables
            ),
        ]
        with self._writer.as_default():
            for name, value, plugin, kind in entries:
                mark = summary(plugin_data=summary.PluginData(plugin_name=plugin), data_class=kind)
                self._tf.summary.write(name, self._tf.constant(value), step=step, metadata=mark)
        self._writer.flush()

    def write_graph(self, model: Any) -> None:
        """Add the graph of a prediction with the shapes of its tensors. Other backends than TensorFlow have none."""
        import keras

        if keras.backend.backend() != "tensorflow":
            return
        inputs = self._tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype)
        traced = self._tf.function(
            lambda images: model(images, training=False)
        ).get_concrete_function(inputs)
        with self._writer.as_default():
            self._tf.summary.graph(traced.graph.as_graph_def(add_shapes=True))
        self._writer.flush()


def _histogram(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return left edge, right edge and number of finite values of each bucket, shape (buckets, 3)."""
    finite = values[np.isfinite(values)].astype(np.float64)
    counts, edges = np.histogram(finite, bins=_BUCKETS)
    return np.column_stack([edges[:-1], edges[1:], counts])


_TIMES_ITS_COST = 10.0
"""Time between two saves as a multiple of the time that a save takes, so that saving takes a tenth of it at most."""

_MOST_SECONDS = 60.0
"""Longest time between two saves, in seconds. An interruption loses at most that, or the running epoch."""


@dataclass
class Progress:
    """Progress of a training, part of the saved state.

    Attributes
    ----------
    done : int
        Number of trained epochs.
    best : float
        Loss of the best epoch.
    waited : int
        Number of epochs since the best epoch.
    rows : list
        Rows of the log.
    kept : list of ndarray
        Weights of the best epoch.
    """

    done: int = 0
    best: float = math.inf
    waited: int = 0
    rows: list[list[Any]] = field(default_factory=list)
    kept: list[npt.NDArray[Any]] = field(default_factory=list)


def training_variables(model: Any) -> list[Any]:
    """Return all variables that training changes: weights, statistics and the state of the optimiser."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]


class StateFile:
    """File that saves and restores the state of one training.

    Parameters
    ----------
    path : Path
    model : keras.Model
        Compiled.
    key : str
        Key of the training, see `bchisto.core.jobs.key_of`.
    """

    def __init__(self, path: Path, model: Any, key: str) -> None:
        self._path, self._model, self._key = path, model, key
        self._variables = {
            f"variable{n}": variable for n, variable in enumerate(training_variables(model))
        }
        self._written, self._cost = time.monotonic(), 0.0

    def restore(self) -> Progress:
        """Load a saved state into the model. If it is missing or damaged, training starts at the first epoch."""
        shapes = {name: tuple(variable.shape) for name, variable in self._variables.items()}
        arrays = read_pack(self._path, self._key, {**shapes, "progress": (None,)})
        if arrays is None:
            return Progress(kept=copied_weights(self._model))
        for name, variable in self._variables.items():
            variable.assign(arrays[name])
        kept = copied_weights(self._model)
        progress = Progress(**json.loads(arrays["progress"].tobytes()), kept=kept)
        if progress.waited:
            progress.kept = [arrays[f"best{n}"] for n in range(len(kept))]
        return progress

    def save(self, progress: Progress) -> bool:
        """Save the state if enough time has passed, and return whether it was saved."""
        from keras import ops

        started = time.monotonic()
        if started - self._written < min(_MOST_SECONDS, _TIMES_ITS_COST * self._cost):
            return False
        plain = {name: getattr(progress, name) for name in ("done", "best", "waited", "rows")}
        arrays = {
            name: ops.convert_to_numpy(variable.value) for name, variable in self._variables.items()
        }
        if progress.waited:  # otherwise the model holds the best weights
            arrays |= {f"best{n}": value for n, value in enumerate(progress.kept)}
        arrays["progress"] = np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8)
        write_pack(self._path, self._key, arrays)
        self._written = time.monotonic()
        self._cost = self._written - started
        return True


def copied_weights(model: Any) -> list[npt.NDArray[Any]]:
    """Return copies of the weights, since the next step of JAX overwrites the memory of the current ones."""
    return [np.array(value) for value in model.get_weights()]


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
        The loss is not finite.
    """
    settings, samples = plan.settings, training_samples(source, plan)
    weights = loss_weights(source, samples, plan)
    validated = source.samples(plan.validate)
    make_epoch = training_batches(
        source, samples, augmentations=settings.augmentations, crops=settings.crops
    )
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
        curves.write(model, {}, step=0)
    stops = len(validated) > 0 and settings.patience > 0
    while progress.done < settings.epochs and not (stops and progress.waited >= settings.patience):
        epoch = make_epoch(progress.done)
        history = model.fit(epoch, epochs=1, class_weight=weights, verbose=0, shuffle=False).history
        epoch.release()
        row = [progress.done + 1, history["loss"][-1], history["accuracy"][-1], "", ""]
        if len(validated):
            row[3:] = map(float, model.evaluate(validation, verbose=0))
        loss = row[3] if len(validated) else row[1]
        if not math.isfinite(loss):
            raise InputError(
                "{}: the loss is {} after epoch {}; lower {learning_rate}", log, loss, row[0]
            )
        progress.done += 1
        progress.rows.append(row)
        if not stops or loss < progress.best:
            progress.best, progress.waited, progress.kept = loss, 0, copied_weights(model)
        else:
            progress.waited += 1
        was_saved = state_file.save(progress)
        write_rows(log, _COLUMNS, progress.rows)
        if curves is not None:
            curves.write(model, dict(zip(_COLUMNS[1:], row[1:], strict=True)), step=progress.done)
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
    chosen = plan.train[
        sample_training(source.labels[plan.train], method=settings.sampling, seed=settings.seed)
    ]
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
    return (
        class_weights(source.labels[samples.images], classes=plan.classes)
        if plan.settings.class_weights
        else None
    )


def _words(row: list[Any]) -> str:
    held = f", val_loss {row[3]:.3f}, val_accuracy {row[4]:.3f}" if row[3] != "" else ""
    return f"loss {row[1]:.3f}, accuracy {row[2]:.3f}{held}"
