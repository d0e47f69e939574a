"""The saved state of a training: everything that its next epoch depends on, with the best weights."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..jobs import read_pack, write_pack

_TIMES_ITS_COST = 10.0
"""A state is saved again after so many times the seconds that saving took: at most a tenth of the time."""

_MOST_SECONDS = 60.0
"""And after so many at the latest: a kill costs no more, or the epoch that runs."""


@dataclass
class Progress:
    """What training has come to: part of the saved state.

    Attributes
    ----------
    done : int
        Epochs.
    best : float
        The loss by which the kept weights were chosen.
    waited : int
        Epochs since then.
    rows : list
        The log.
    kept : list of ndarray
        Weights of the best epoch.
    """

    done: int = 0
    best: float = math.inf
    waited: int = 0
    rows: list[list[Any]] = field(default_factory=list)
    kept: list[npt.NDArray[Any]] = field(default_factory=list)


def training_variables(model: Any) -> list[Any]:
    """Return all that training changes and goes on from, the slots of the optimiser among it, which are made first."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]


class StateFile:
    """Saves and restores one training.

    Parameters
    ----------
    path : Path
    model : keras.Model
        Compiled.
    key : str
        Of the training, see `bchisto.jobs.key_of`.
    """

    def __init__(self, path: Path, model: Any, key: str) -> None:
        self._path, self._model, self._key = path, model, key
        self._variables = {f"variable{n}": variable for n, variable in enumerate(training_variables(model))}
        self._written, self._cost = time.monotonic(), 0.0

    def restore(self) -> Progress:
        """Read a saved state into the model; one that does not hold is left, and training starts anew."""
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
        """Save the state where it is due, and return whether it was."""
        from keras import ops

        started = time.monotonic()
        if started - self._written < min(_MOST_SECONDS, _TIMES_ITS_COST * self._cost):
            return False
        plain = {name: getattr(progress, name) for name in ("done", "best", "waited", "rows")}
        arrays = {name: ops.convert_to_numpy(variable.value) for name, variable in self._variables.items()}
        if progress.waited:  # else the best weights are those of the model
            arrays |= {f"best{n}": value for n, value in enumerate(progress.kept)}
        arrays["progress"] = np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8)
        write_pack(self._path, self._key, arrays)
        self._written = time.monotonic()
        self._cost = self._written - started
        return True


def copied_weights(model: Any) -> list[npt.NDArray[Any]]:
    """Return the weights in memory of their own: JAX's next step writes into that of the present ones."""
    return [np.array(value) for value in model.get_weights()]
