"""The state of a training, from which it goes on, and its curves for TensorBoard.

TensorFlow writes the files, so TensorBoard is needed only to view them. Other backends of Keras have no graph.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import DependencyError, Message
from ..core.jobs import read_pack, write_pack

_BUCKETS = 30
"""Number of buckets of a histogram, as in TensorBoard."""


class EventLog:
    """Writes event files into a folder. A resumed run adds a file.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    DependencyError
        TensorFlow is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import tensorflow as tf
        except ImportError as error:
            raise DependencyError(Message("{tensorboard} writes with TensorFlow; pip install tensorflow")) from error
        self._tf = tf
        self._writer = tf.summary.create_file_writer(str(folder))

    def write(self, values: Mapping[str, Any], *, step: int) -> None:
        """Add a point to each curve, except for empty values."""
        points = [(name, np.float32(value)) for name, value in values.items() if value != ""]
        self._write(points, step=step, plugin="scalars", kind=1)

    def write_weights(self, model: Any, *, step: int) -> None:
        """Add a histogram of each trained variable, named by its path in the network."""
        from keras import ops

        values = [(v.path, _histogram(ops.convert_to_numpy(v.value))) for v in model.trainable_variables]
        self._write(values, step=step, plugin="histograms", kind=2)

    def write_graph(self, model: Any) -> None:
        """Add the graph of a prediction with the shapes of its tensors. Other backends than TensorFlow have none."""
        import keras

        if keras.backend.backend() != "tensorflow":
            return
        inputs = self._tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype)
        traced = self._tf.function(lambda images: model(images, training=False)).get_concrete_function(inputs)
        with self._writer.as_default():
            self._tf.summary.graph(traced.graph.as_graph_def(add_shapes=True))
        self._writer.flush()

    def _write(self, values: Iterable[tuple[str, npt.ArrayLike]], *, step: int, plugin: str, kind: int) -> None:
        summary = self._tf.compat.v1.SummaryMetadata  # tells TensorBoard which of its pages shows the value
        mark = summary(plugin_data=summary.PluginData(plugin_name=plugin), data_class=kind)
        with self._writer.as_default():
            for name, value in values:
                self._tf.summary.write(name, self._tf.constant(value), step=step, metadata=mark)
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
        self._variables = {f"variable{n}": variable for n, variable in enumerate(training_variables(model))}
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
        arrays = {name: ops.convert_to_numpy(variable.value) for name, variable in self._variables.items()}
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
