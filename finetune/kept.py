"""The network of a process that trains fold after fold: compiled once, it takes the starting values of each."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from .frozen import keeps_features, split_frozen
from .model import build_model, resolved
from .on_device import augmenting, belongs_on_device, seed_noise
from .settings import FinetuneSettings
from .state import training_variables

_kept: dict[Hashable, Any] = {}
"""The network of the last fold by all that its graph follows from; one at most, since more would fill the memory."""

_parts: dict[int, Any] = {}
"""What is made of that network, by its identity."""


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
    new = build_model(settings, classes=classes, fold=fold)
    key = (settings, classes, *resolved(settings).items())  # the input's convention follows from the weights file
    old = _kept.get(key)
    if old is None:
        let_go()
        _kept[key] = new
        return new
    for variable, value in zip(training_variables(old), training_variables(new), strict=True):
        variable.assign(value)
    return old


def parts_of(model: Any, settings: FinetuneSettings, *, fold: int) -> dict[str, Any]:
    """Return by what a network of `network_of_fold` is trained, if not as a whole: options of `train_model`."""
    frozen = keeps_features(settings)
    if not (frozen or belongs_on_device(settings.augmentations)):
        return {}
    if id(model) not in _parts:
        _parts[id(model)] = split_frozen(model, settings) if frozen else augmenting(model, settings.augmentations)
    part = _parts[id(model)]
    if frozen:
        return {"frozen": part}
    seed_noise(part, [settings.seed, fold])
    return {"learner": part}


def let_go() -> None:
    """Forget the network, so that its memory is free."""
    _kept.clear()
    _parts.clear()
