"""The network of a process that trains fold after fold: compiled once, it takes the starting values of each."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from .model import build_model, resolved
from .settings import FinetuneSettings
from .state import training_variables

_last: dict[Hashable, Any] = {}
"""The network of the last fold by all that its graph follows from; one at most, since more would fill the memory."""


def network_of_fold(settings: FinetuneSettings, *, classes: int, fold: int) -> Any:
    """Return the compiled network of `build_model`, as a fold of these settings begins.

    What TensorFlow and JAX compile for a training step belongs to one network object, and for a small network takes
    longer than the training itself. So the network of the last fold is used again, if it is of the same settings, with
    every variable of a new one: weights, statistics, states of random generators and of the optimiser.

    Raises
    ------
    InputError, WeightsError
        See `build_model`.
    """
    model = build_model(settings, classes=classes, fold=fold)
    key = (settings, classes, *resolved(settings).items())  # the input's convention follows from the weights file
    if key not in _last:
        release_network()
        return _last.setdefault(key, model)
    for variable, value in zip(training_variables(_last[key]), training_variables(model), strict=True):
        variable.assign(value)
    return _last[key]


def release_network() -> None:
    """Forget the network, so that its memory is free."""
    _last.clear()
