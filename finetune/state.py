"""Save the state of a training: everything on which the next epoch depends, and the best weights."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.jobs import read_pack, write_pack

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
