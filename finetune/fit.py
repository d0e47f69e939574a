"""Training a network epoch by epoch, so that a killed run goes on where it stopped and ends the same."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..jobs import atomic_output, write_rows
from .augment import make_augmenter
from .balance import class_weights, sample_training

__all__ = ["TrainingData", "TrainingPlan", "train_model"]

_log = logging.getLogger(__name__)

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
_PREDICT_BATCH = 32


@dataclass(frozen=True)
class TrainingData:
    """All images of a run, and which of them train and validate in a fold.

    Attributes
    ----------
    images : ndarray of uint8, shape (n, size, size, 3)
    labels : ndarray of int, shape (n,)
    train, validate : ndarray of int
        Positions.
    """

    images: Images
    labels: Labels
    train: Labels
    validate: Labels


@dataclass(frozen=True)
class TrainingPlan:
    """How a fold is trained.

    Attributes
    ----------
    epochs, patience, batch_size : int
    sampling : str
    weighted : bool
    augmentations : tuple of str
    seed : int
    classes : int
    """

    epochs: int
    patience: int
    batch_size: int
    sampling: str
    weighted: bool
    augmentations: tuple[str, ...]
    seed: int
    classes: int


def _batches(data: TrainingData, plan: TrainingPlan, epoch: int) -> Any:
    """Return the shuffled, augmented batches of an epoch as a Keras data set; a thread prepares ahead."""
    import keras

    chosen = data.train[sample_training(data.labels[data.train], method=plan.sampling, seed=plan.seed)]
    order = np.random.default_rng(np.random.SeedSequence([plan.seed, epoch])).permutation(len(chosen))
    augment = make_augmenter(plan.augmentations, size=data.images.shape[1]) if plan.augmentations else None

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return -(-len(order) // plan.batch_size)

        def __getitem__(self, number: int) -> tuple[npt.NDArray[np.float32], Labels]:
            places = order[number * plan.batch_size : (number + 1) * plan.batch_size]
            pictures = []
            for place in places.tolist():
                image = data.images[chosen[place]]
                if augment is not None:
                    image = augment(image, np.random.SeedSequence([plan.seed, int(chosen[place]), epoch, place]))
                pictures.append(image)
            return np.stack(pictures).astype(np.float32), data.labels[chosen[places]]

    return Batches()


def train_model(
    model: Any, data: TrainingData, plan: TrainingPlan, *, state: Path, log: Path, on_epoch: Callable[[], None]
) -> None:
    """Train until the validation loss has not fallen for `patience` epochs, and keep the best weights.

    Parameters
    ----------
    model : keras.Model
        Compiled; holds the best weights afterwards.
    data : TrainingData
    plan : TrainingPlan
    state : Path
        Everything that the next epoch depends on, written after each one; read where it exists.
    log : Path
        CSV: epoch, loss, accuracy, and both on the validation part.
    on_epoch : callable
        Called after each epoch, also those that an earlier run trained.

    Raises
    ------
    InputError
        A batch larger than the training part, or a class without an image there.
    """
    if plan.batch_size > len(data.train):
        raise InputError(f"--batch-size {plan.batch_size}: more than the {len(data.train)} images that train; lower it")
    weights = class_weights(data.labels[data.train], classes=plan.classes) if plan.weighted else None
    held = data.images[data.validate].astype(np.float32), data.labels[data.validate]
    model.optimizer.build(model.trainable_variables)  # its slots are part of the state
    variables = [*model.variables, *model.optimizer.variables]
    done, best, waited, rows, kept = _restore(state, model, variables)
    for _ in range(done):
        on_epoch()
    while done < plan.epochs and waited < plan.patience:
        history = model.fit(
            _batches(data, plan, done), epochs=1, class_weight=weights, verbose=0, shuffle=False
        ).history
        loss, accuracy = (float(value) for value in model.evaluate(*held, batch_size=_PREDICT_BATCH, verbose=0))
        done += 1
        rows.append([done, history["loss"][-1], history["accuracy"][-1], loss, accuracy])
        if not np.isfinite(loss):
            raise InputError(f"{log}: the validation loss is {loss} after epoch {done}; lower --rate")
        if loss < best:
            best, waited, kept = loss, 0, [np.asarray(value) for value in model.get_weights()]
        else:
            waited += 1
        _save(state, variables, {"done": done, "best": best, "waited": waited, "rows": rows}, kept)
        write_rows(log, ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"], rows)
        _log.debug(
            "%s: epoch %d, loss %.4f, validation %.4f, accuracy %.3f", log.stem, done, rows[-1][1], loss, accuracy
        )
        on_epoch()
    model.set_weights(kept)


def _save(path: Path, variables: list[Any], facts: dict[str, Any], kept: list[npt.NDArray[Any]]) -> None:
    from keras import ops

    arrays = {f"now{place}": ops.convert_to_numpy(variable.value) for place, variable in enumerate(variables)}
    arrays |= {f"best{place}": value for place, value in enumerate(kept)}
    arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    with atomic_output(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, allow_pickle=False, **arrays)


def _restore(
    path: Path, model: Any, variables: list[Any]
) -> tuple[int, float, int, list[list[Any]], list[npt.NDArray[Any]]]:
    """Return epochs done, best loss, epochs waited, log rows and best weights; a state that does not fit is left."""
    fresh: tuple[int, float, int, list[list[Any]], list[npt.NDArray[Any]]]
    fresh = (0, float("inf"), 0, [], [np.asarray(value) for value in model.get_weights()])
    if not path.is_file():
        return fresh
    try:
        with np.load(path, allow_pickle=False) as file:
            facts = json.loads(file["facts"].tobytes())
            now = [file[f"now{place}"] for place in range(len(variables))]
            kept = [file[f"best{place}"] for place in range(len(model.get_weights()))]
    except (OSError, ValueError, KeyError, EOFError, csv.Error) as error:
        _log.warning("%s: not a whole training state (%s); trained from the start", path, error)
        return fresh
    if any(tuple(value.shape) != tuple(variable.shape) for value, variable in zip(now, variables, strict=True)):
        _log.warning("%s: the state of another network; trained from the start", path)
        return fresh
    for value, variable in zip(now, variables, strict=True):
        variable.assign(value)
    return int(facts["done"]), float(facts["best"]), int(facts["waited"]), list(facts["rows"]), kept
