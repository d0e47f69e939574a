"""Training a network epoch by epoch, so that a killed run goes on where it stopped and ends the same."""

from __future__ import annotations

import json
import logging
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..jobs import DAMAGE, atomic_output, write_rows
from ..runs import Mark
from .augment import OFFLINE
from .balance import class_weights, copy_classes, sample_training
from .batches import Source, still_batches, training_batches
from .events import EventLog
from .patches import Indices, Samples

__all__ = ["TrainingPlan", "train_model", "training_samples", "training_variables"]

_log = logging.getLogger(__name__)

_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class TrainingPlan:
    """How a fold is trained.

    Attributes
    ----------
    train, validate : ndarray of int64
        Positions of images; without any to validate, all epochs are trained and the last weights are kept.
    epochs, patience : int
    sampling : str
    weighted : bool
    augmentations : tuple of str
    rotations, crops : int
        Copies of each image under ``rotations-crops``.
    copies : tuple of float
        How often an image of each class stands in an epoch; empty for once.
    seed : int
    classes : int
    """

    train: Indices
    validate: Indices
    epochs: int
    patience: int
    sampling: str
    weighted: bool
    augmentations: tuple[str, ...]
    seed: int
    classes: int
    rotations: int = 5
    crops: int = 5
    copies: tuple[float, ...] = ()


@dataclass
class _Progress:
    """What training has come to: part of the saved state."""

    done: int
    best: float
    waited: int
    rows: list[list[Any]]
    kept: list[npt.NDArray[Any]]


def train_model(
    model: Any,
    source: Source,
    plan: TrainingPlan,
    *,
    state: Path,
    log: Path,
    on_epoch: Callable[[str], None],
    events: Path | None = None,
    mark: Mark | None = None,
) -> None:
    """Train until the validation loss has not fallen for `patience` epochs, and keep the best weights.

    Parameters
    ----------
    model : keras.Model
        Compiled; holds the best weights afterwards.
    source : Source
    plan : TrainingPlan
    state : Path
        Everything that the next epoch depends on and the history so far, written after each one; read where it exists.
    log : Path
        CSV: epoch, loss, accuracy, and both on the validation part. Written from the history, so that it never tells
        other epochs than the state.
    on_epoch : callable
        Called after each epoch with a few words, also for those that an earlier run trained.
    events : Path, optional
        Folder for TensorBoard.
    mark : Mark, optional
        What the state is made under; one of other settings is not gone on from.

    Raises
    ------
    InputError
        A batch larger than the training part, a class without an image there, or a loss that is no number.
    """
    samples = training_samples(source, plan)
    if source.batch_size > len(samples):
        raise InputError(f"`batch_size` {source.batch_size}: more than the {len(samples)} samples that train; lower it")
    weights = class_weights(source.labels[plan.train], classes=plan.classes) if plan.weighted else None
    batches = training_batches(source, samples, augmentations=plan.augmentations, crops=plan.crops)
    held = source.samples(plan.validate)
    variables = training_variables(model)
    now = _restore(state, model, variables, mark)
    curves = None if events is None else EventLog(events)
    if now.rows:
        write_rows(log, _COLUMNS, now.rows)
    for row in now.rows:
        on_epoch(_words(row))
    while now.done < plan.epochs and now.waited < plan.patience:
        history = model.fit(batches(now.done), epochs=1, class_weight=weights, verbose=0, shuffle=False).history
        row = [now.done + 1, history["loss"][-1], history["accuracy"][-1], "", ""]
        if len(held):
            row[3:] = (float(value) for value in model.evaluate(still_batches(source, held), verbose=0))
        judged = row[3] if len(held) else row[1]
        if not math.isfinite(judged):
            raise InputError(f"{log}: the loss is {judged} after epoch {row[0]}; lower `learning_rate`")
        now.done += 1
        now.rows.append(row)
        if not len(held) or judged < now.best:
            now.best, now.waited, now.kept = judged, 0, _copied(model)
        else:
            now.waited += 1
        _save(state, variables, now, mark)
        write_rows(log, _COLUMNS, now.rows)
        if curves is not None:
            curves.write(dict(zip(_COLUMNS[1:], row[1:], strict=True)), step=now.done)
        _log.debug("%s: epoch %d, %s", log.stem, now.done, _words(row))
        on_epoch(_words(row))
    model.set_weights(now.kept)


def training_samples(source: Source, plan: TrainingPlan) -> Samples:
    """List what an epoch trains on: the sampled images as often as their class stands, their patches and copies.

    Raises
    ------
    InputError
        See `sample_training`.
    """
    chosen = plan.train[sample_training(source.labels[plan.train], method=plan.sampling, seed=plan.seed)]
    chosen = chosen[copy_classes(source.labels[chosen], factors=plan.copies, seed=plan.seed)]
    copies = plan.rotations * plan.crops if OFFLINE in plan.augmentations else 1
    return source.samples(chosen, copies=copies)


def training_variables(model: Any) -> list[Any]:
    """Return all that training changes and goes on from, the slots of the optimiser among it, which are made first."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]


def _copied(model: Any) -> list[npt.NDArray[Any]]:
    """Return the weights in memory of their own: JAX's next step writes into that of the present ones."""
    return [np.array(value) for value in model.get_weights()]


def _words(row: list[Any]) -> str:
    held = f", val_loss {row[3]:.3f}, val_accuracy {row[4]:.3f}" if row[3] != "" else ""
    return f"loss {row[1]:.3f}, accuracy {row[2]:.3f}{held}"


def _save(path: Path, variables: list[Any], now: _Progress, mark: Mark | None) -> None:
    from keras import ops

    if mark is not None:
        mark.hold()
    arrays = {f"now{place}": ops.convert_to_numpy(variable.value) for place, variable in enumerate(variables)}
    arrays |= {f"best{place}": value for place, value in enumerate(now.kept)}
    facts = {"done": now.done, "best": now.best, "waited": now.waited, "rows": now.rows}
    facts |= {} if mark is None else {"settings": mark.sha256}
    arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    with atomic_output(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, allow_pickle=False, **arrays)


def _restore(path: Path, model: Any, variables: list[Any], mark: Mark | None) -> _Progress:
    """Read a saved state into the model; one that does not hold is left, and training starts anew."""
    fresh = _Progress(0, math.inf, 0, [], _copied(model))
    if not path.is_file():
        return fresh
    try:
        with path.open("rb") as handle, zipfile.ZipFile(handle), np.load(handle, allow_pickle=False) as file:
            facts = json.loads(file["facts"].tobytes())
            now = [file[f"now{place}"] for place in range(len(variables))]
            kept = [file[f"best{place}"] for place in range(len(fresh.kept))]
        found = _Progress(int(facts["done"]), float(facts["best"]), int(facts["waited"]), list(facts["rows"]), kept)
        if len(found.rows) != found.done or [row[0] for row in found.rows] != list(range(1, found.done + 1)):
            raise ValueError("its history is not that of its epochs")
    except DAMAGE as error:
        reason = str(error) or type(error).__name__
        _log.warning("%s: not a whole training state (%s); trained from the start", path, reason)
        return fresh
    if mark is not None and not mark.accepts(facts.get("settings")):
        _log.warning("%s: made under other settings; trained from the start", path)
        return fresh
    pairs = [*zip(now, variables, strict=True), *zip(kept, fresh.kept, strict=True)]
    if any(tuple(value.shape) != tuple(variable.shape) for value, variable in pairs):
        _log.warning("%s: the state of another network; trained from the start", path)
        return fresh
    for value, variable in zip(now, variables, strict=True):
        variable.assign(value)
    return found
