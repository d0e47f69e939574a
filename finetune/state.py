"""The saved state of a training: everything that its next epoch depends on, and the best weights beside it."""

from __future__ import annotations

import json
import logging
import math
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..formats import DAMAGE
from ..jobs import atomic_output, save_arrays

_log = logging.getLogger(__name__)

_TIMES_ITS_COST = 10.0
"""A state is saved again after so many times the seconds that saving took: at most a tenth of the time (ours)."""

_MOST_SECONDS = 60.0
"""And after so many at the latest (ours): a kill costs no more, or the epoch that runs."""


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


def remove_state(path: Path) -> None:
    """Remove a state and the weights beside it."""
    for file in (path, *_all_weights(path)):
        file.unlink(missing_ok=True)


class StateFile:
    """Saves and restores one training.

    The best weights are those of the state, as long as its epoch is the best. Else they lie in a file beside it, which
    is written once: of AlexNet a quarter of 0.9 GB. Its name says the epoch, so that a kill between the two files
    leaves the earlier ones whole.

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
        self._variables = training_variables(model)
        self._written, self._cost = time.monotonic(), 0.0

    def restore(self) -> Progress:
        """Read a saved state into the model; one that does not hold is left, and training starts anew."""
        if self._path.is_file():
            found = self._found()
            if isinstance(found, Progress):
                return found
            _log.warning("%s: %s; trained from the start", self._path, found)
        remove_state(self._path)
        return Progress(kept=copied_weights(self._model))

    def _found(self) -> Progress | str:
        """Read a saved state into the model; or say why it does not hold."""
        weights = self._model.get_weights()
        try:
            arrays = _read(self._path)
            facts = json.loads(arrays["facts"].tobytes())
            found = Progress(int(facts["done"]), float(facts["best"]), int(facts["waited"]), list(facts["rows"]))
            if [row[0] for row in found.rows] != list(range(1, found.done + 1)):
                raise ValueError("its history is not that of its epochs")
            now = [arrays[f"now{place}"] for place in range(len(self._variables))]
            if found.waited:
                best = _read(_weights(self._path, found))
                found.kept = [best[f"best{place}"] for place in range(len(weights))]
        except DAMAGE as error:
            return f"not a whole training state ({str(error) or type(error).__name__})"
        if facts.get("key") != self._key:
            return "made under other settings"
        if not (_alike(now, self._variables) and _alike(found.kept or weights, weights)):
            return "the state of another network"
        for value, variable in zip(now, self._variables, strict=True):
            variable.assign(value)
        found.kept = found.kept or copied_weights(self._model)
        return found

    def save(self, now: Progress) -> bool:
        """Save the state where it is due, and return whether it was."""
        from keras import ops

        started = time.monotonic()
        if started - self._written < min(_MOST_SECONDS, _TIMES_ITS_COST * self._cost):
            return False
        weights = _weights(self._path, now)
        if now.waited and not weights.is_file():
            _write(weights, {f"best{place}": value for place, value in enumerate(now.kept)})
        facts = {"done": now.done, "best": now.best, "waited": now.waited, "rows": now.rows, "key": self._key}
        arrays = {f"now{place}": ops.convert_to_numpy(one.value) for place, one in enumerate(self._variables)}
        _write(self._path, arrays | {"facts": np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)})
        for other in _all_weights(self._path):
            if other != weights:
                other.unlink(missing_ok=True)
        self._written = time.monotonic()
        self._cost = self._written - started
        return True


def copied_weights(model: Any) -> list[npt.NDArray[Any]]:
    """Return the weights in memory of their own: JAX's next step writes into that of the present ones."""
    return [np.array(value) for value in model.get_weights()]


def _weights(path: Path, now: Progress) -> Path:
    """Return the file of the best weights, those of `waited` epochs ago."""
    return path.with_suffix(f".best{now.done - now.waited}.npz")


def _all_weights(path: Path) -> list[Path]:
    return [*path.parent.glob(f"{path.stem}.best*.npz")]


def _alike(values: Sequence[Any], others: Sequence[Any]) -> bool:
    return [tuple(one.shape) for one in values] == [tuple(one.shape) for one in others]


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    with path.open("rb") as handle, zipfile.ZipFile(handle), np.load(handle, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _write(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    with atomic_output(path) as temporary, temporary.open("wb") as handle:
        save_arrays(handle, arrays)
