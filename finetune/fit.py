"""Fit a network epoch by epoch, with a state from which training resumes, and curves for TensorBoard."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core import Content, InputError
from ..core.formats import Array, Integers
from ..core.jobs import read_pack, write_pack, write_rows
from .batches import Source, still_batches, training_batches
from .samples import EpochSamples
from .settings import FinetuneSettings, class_weights, copy_classes, sample_training

_BUCKETS = 30
"""Number of buckets of a histogram, as in TensorBoard."""

_SCALAR = 1
_TENSOR = 2
"""Kinds of data, `DataClass` of TensorBoard's ``summary.proto``."""

_TIMES_ITS_COST = 10.0
"""Time between two saves as a multiple of the time that a save takes, so that saving takes a tenth of it at most."""

_MOST_SECONDS = 60.0
"""Longest time between two saves, in seconds. An interruption loses at most that, or the running epoch."""


class TrainingPlan(NamedTuple):
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
    train: Integers
    validate: Integers
    classes: int
    copies: tuple[float, ...] = ()


class Epoch(NamedTuple):
    """A trained epoch: its number from 1, and the figures of the training and of the validation images, if any."""

    epoch: int
    loss: float
    accuracy: float
    val_loss: float | None = None
    val_accuracy: float | None = None

    @property
    def decisive_loss(self) -> float:
        """The loss that decides on the best epoch."""
        return self.loss if self.val_loss is None else self.val_loss

    def __str__(self) -> str:
        text = f"loss {self.loss:.3f}, accuracy {self.accuracy:.3f}"
        if self.val_loss is not None:
            text += f", val_loss {self.val_loss:.3f}, val_accuracy {self.val_accuracy:.3f}"
        return text


class EventLog:
    """Writes event files into a folder with TensorFlow, so TensorBoard is needed only to view them.

    A resumed run adds a file.
    """

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self._tf = tf
        self._writer = tf.summary.create_file_writer(str(folder))

    def write(self, model: Any, values: Content, *, epoch: int) -> None:
        """Add an epoch: its values to the curves, and a histogram of each trained variable, named by its path."""
        from keras import ops

        with self._writer.as_default():
            for name, value in values.items():
                if value is not None:
                    self._add(name, np.float32(value), epoch, plugin="scalars", kind=_SCALAR)
            for variable in model.trainable_variables:
                weights = ops.convert_to_numpy(variable.value)
                finite = weights[np.isfinite(weights)].astype(np.float64)
                counts, edges = np.histogram(finite, bins=_BUCKETS)
                # left edge, right edge and number of values of each bucket
                buckets = np.column_stack([edges[:-1], edges[1:], counts])
                self._add(variable.path, buckets, epoch, plugin="histograms", kind=_TENSOR)
        self._writer.flush()

    def _add(self, name: str, value: Any, epoch: int, *, plugin: str, kind: int) -> None:
        summary = self._tf.compat.v1.SummaryMetadata
        # tells TensorBoard which of its pages shows the value
        page = summary(plugin_data=summary.PluginData(plugin_name=plugin), data_class=kind)
        self._tf.summary.write(name, self._tf.constant(value), step=epoch, metadata=page)

    def begin(self, model: Any) -> None:
        """Add the weights of an untrained network, and the graph of a prediction with the shapes of its tensors."""
        import keras

        self.write(model, {}, epoch=0)
        if keras.backend.backend() != "tensorflow":  # the others have no graph
            return
        inputs = self._tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype)
        traced = self._tf.function(
            lambda images: model(images, training=False)
        ).get_concrete_function(inputs)
        with self._writer.as_default():
            self._tf.summary.graph(traced.graph.as_graph_def(add_shapes=True))
        self._writer.flush()


@dataclass
class FitState:
    """The progress of a training, which is part of the saved state.

    Attributes
    ----------
    done : int
        Number of trained epochs.
    best : float
        Loss of the best epoch.
    waited : int
        Number of epochs since the best epoch.
    rows : list of Epoch
        All trained epochs.
    kept : list of ndarray
        Weights of the best epoch.
    """

    kept: list[Array]
    done: int = 0
    best: float = math.inf
    waited: int = 0
    rows: list[Epoch] = field(default_factory=list)

    def add(self, epoch: Epoch, model: Any, *, best_only: bool) -> None:
        """Add an epoch; keep its weights if its loss is the lowest, or always without `best_only`."""
        self.done += 1
        self.rows.append(epoch)
        if best_only and not epoch.decisive_loss < self.best:
            self.waited += 1
            return
        self.best = epoch.decisive_loss
        self.waited = 0
        self.kept = copied_weights(model)


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
        self._path = path
        self._model = model
        self._key = key
        self._variables = {
            f"variable{n}": variable for n, variable in enumerate(training_variables(model))
        }
        self._written = time.monotonic()
        self._cost = 0.0

    def restore(self) -> FitState:
        """Load a saved state into the model. If it is missing or damaged, training starts at the first epoch."""
        shapes = {name: tuple(variable.shape) for name, variable in self._variables.items()}
        arrays = read_pack(self._path, self._key, {**shapes, "progress": (None,)})
        if arrays is None:
            return FitState(kept=copied_weights(self._model))
        for name, variable in self._variables.items():
            variable.assign(arrays[name])
        kept = copied_weights(self._model)
        progress = json.loads(arrays["progress"].tobytes())
        progress["rows"] = [Epoch(*row) for row in progress["rows"]]
        fit_state = FitState(**progress, kept=kept)
        if fit_state.waited:
            fit_state.kept = [arrays[f"best{n}"] for n in range(len(kept))]
        return fit_state

    def save(self, fit_state: FitState) -> bool:
        """Save the state if enough time has passed, and return whether it was saved."""
        from keras import ops

        start = time.monotonic()
        if start - self._written < min(_MOST_SECONDS, _TIMES_ITS_COST * self._cost):
            return False
        progress = {name: getattr(fit_state, name) for name in ("done", "best", "waited", "rows")}
        arrays = {
            name: ops.convert_to_numpy(variable.value) for name, variable in self._variables.items()
        }
        if fit_state.waited:  # otherwise the model holds the best weights
            arrays |= {f"best{n}": value for n, value in enumerate(fit_state.kept)}
        arrays["progress"] = np.frombuffer(json.dumps(progress).encode(), dtype=np.uint8)
        write_pack(self._path, self._key, arrays)
        self._written = time.monotonic()
        self._cost = self._written - start
        return True


def copied_weights(model: Any) -> list[Array]:
    """Return copies of the weights, since the next step of JAX overwrites the memory of the current ones."""
    return [np.array(value) for value in model.get_weights()]


def train_model(
    model: Any,
    source: Source,
    plan: TrainingPlan,
    *,
    state: Path,
    log: Path,
    on_saved: Callable[[Sequence[Epoch]], None] = lambda epochs: None,
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
    on_saved : callable
        Called with all epochs so far: first with those that an earlier run saved, then whenever they are saved, and at
        the end.
    events : Path, optional
        Folder for TensorBoard.
    key : str
        Key of the training. A state with another key is ignored.

    Raises
    ------
    InputError
        The loss is not finite.
    """
    settings = plan.settings
    samples = training_samples(source, plan)
    weights = loss_weights(source, samples, plan)
    make_epoch = training_batches(
        source, samples, augmentations=settings.augmentations, crops=settings.crops
    )
    state_file = StateFile(state, model, key)
    fit_state = state_file.restore()
    validation_samples = source.samples(plan.validate)
    validation = still_batches(source, validation_samples, weights=weights)
    curves = None if events is None else EventLog(events)
    if fit_state.done:  # the curves of these epochs are written already
        write_rows(log, Epoch._fields, fit_state.rows)
    elif curves is not None:
        curves.begin(model)
    on_saved(fit_state.rows)
    stops_early = len(validation_samples) > 0 and settings.patience > 0
    while fit_state.done < settings.epochs:
        if stops_early and fit_state.waited >= settings.patience:
            break
        batches = make_epoch(fit_state.done)
        history = model.fit(batches, epochs=1, class_weight=weights, verbose=0, shuffle=False)
        batches.release()
        figures = [history.history[name][-1] for name in ("loss", "accuracy")]
        if len(validation_samples):
            figures += map(float, model.evaluate(validation, verbose=0))
        epoch = Epoch(fit_state.done + 1, *figures)
        if not math.isfinite(epoch.decisive_loss):
            raise InputError(
                "{}: the loss is {} after epoch {}; lower {learning_rate}",
                log,
                epoch.decisive_loss,
                epoch.epoch,
            )
        fit_state.add(epoch, model, best_only=stops_early)
        was_saved = state_file.save(fit_state)
        write_rows(log, Epoch._fields, fit_state.rows)
        if curves is not None:
            figures_by_name = epoch._asdict()
            number = figures_by_name.pop("epoch")
            curves.write(model, figures_by_name, epoch=number)
        if was_saved:
            on_saved(fit_state.rows)
    on_saved(fit_state.rows)
    validation.release()
    model.set_weights(fit_state.kept)


def training_samples(source: Source, plan: TrainingPlan) -> EpochSamples:
    """Return the samples of an epoch: all patches and variants of the sampled and repeated training images.

    Raises
    ------
    InputError
        See `sample_training`.
    """
    settings = plan.settings
    seed = settings.seed
    images = plan.train
    images = images[sample_training(source.labels[images], method=settings.sampling, seed=seed)]
    images = images[copy_classes(source.labels[images], factors=plan.copies, seed=seed)]
    return source.samples(images, copies=settings.offline_copies)


def loss_weights(
    source: Source, samples: EpochSamples, plan: TrainingPlan
) -> dict[int, float] | None:
    """Return the weight of each class in the loss, or None if classes are not weighted.

    Weights follow from the samples of an epoch, so classes that sampling has balanced are not corrected twice.

    Raises
    ------
    InputError
        See `class_weights`.
    """
    if not plan.settings.class_weights:
        return None
    return class_weights(source.labels[samples.images], classes=plan.classes)
