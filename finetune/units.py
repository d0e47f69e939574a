"""One fold as a work unit: train, keep the best weights, predict the images that it tests."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..jobs import Ticker, read_probabilities, write_probabilities
from .batches import Source, still_batches
from .fit import TrainingPlan, train_model
from .images import ImageBank
from .model import build_model, resolved
from .pretrained import is_whole_h5, save_h5
from .settings import FinetuneSettings

__all__ = ["FoldUnit", "predict_samples", "read_fold", "train_fold"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoldUnit:
    """A fold to train.

    Attributes
    ----------
    settings : FinetuneSettings
    fold : int
    images : Path
        The file of all images, see `prepare_images`.
    labels : tuple of int
        Of all images.
    train, validate, test : tuple of int
        Positions.
    test_names : tuple of (str, str)
        Image and patch of each prediction; the patch is empty for whole images.
    classes : int
    folder : Path
        ``RUN/finetune/<folds>-<network>``.
    workers : int
        Threads that prepare batches.
    tensorboard : bool
        Whether curves are written for TensorBoard.
    """

    settings: FinetuneSettings
    fold: int
    images: Path
    labels: tuple[int, ...]
    train: tuple[int, ...]
    validate: tuple[int, ...]
    test: tuple[int, ...]
    test_names: tuple[tuple[str, str], ...]
    classes: int
    folder: Path
    workers: int = 1
    tensorboard: bool = False

    @property
    def weights(self) -> Path:
        """The best weights."""
        return self.folder / "models" / f"fold{self.fold}.weights.h5"

    @property
    def predictions(self) -> Path:
        """The predictions of the test images."""
        return self.folder / "models" / f"fold{self.fold}.csv"

    @property
    def log(self) -> Path:
        """Loss and accuracy of each epoch."""
        return self.folder / "logs" / f"fold{self.fold}.csv"

    @property
    def state(self) -> Path:
        """What training goes on from, until the fold is finished."""
        return self.folder / "models" / f"fold{self.fold}.state.npz"

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the predictions in their file."""
        return tuple(f"{image}:{patch}" if patch else image for image, patch in self.test_names)


def train_fold(unit: FoldUnit, ticker: Ticker) -> None:
    """Train, save the weights, predict.

    Raises
    ------
    InputError
        See `train_model`; the message names the fold.
    """
    settings = unit.settings
    chosen = resolved(settings)
    source = Source(
        bank=ImageBank.open(unit.images),
        labels=np.array(unit.labels, dtype=np.int64),
        rule=settings.rule,
        size=chosen["size"],
        seed=settings.seed,
        batch_size=chosen["batch_size"],
        workers=unit.workers,
    )
    model = build_model(settings, classes=unit.classes, fold=unit.fold)
    ticked = 0

    def tick(words: str) -> None:
        nonlocal ticked
        ticked += 1
        ticker.tick(note=f"fold {unit.fold}: {words}")

    plan = TrainingPlan(
        train=np.array(unit.train, dtype=np.int64),
        validate=np.array(unit.validate, dtype=np.int64),
        epochs=settings.epochs,
        patience=settings.patience,
        sampling=settings.sampling,
        weighted=settings.weighted,
        augmentations=settings.augmentations,
        rotations=settings.rotations,
        crops=settings.crops,
        seed=settings.seed,
        classes=unit.classes,
    )
    events = unit.folder / "logs" / "tensorboard" / f"fold{unit.fold}" if unit.tensorboard else None
    try:
        train_model(model, source, plan, state=unit.state, log=unit.log, on_epoch=tick, events=events)
    except InputError as error:
        raise InputError(f"fold {unit.fold}: {error}") from error
    ticker.tick(settings.epochs - ticked)  # training that stopped early is done as well
    save_h5(model, unit.weights)
    found = predict_samples(model, source, np.array(unit.test, dtype=np.int64), classes=unit.classes)
    write_probabilities(unit.predictions, unit.rows, found)
    unit.state.unlink(missing_ok=True)


def predict_samples(
    model: Any, source: Source, positions: npt.NDArray[np.int64], *, classes: int
) -> npt.NDArray[np.float64]:
    """Predict every patch of these images, float64 of shape (patches, classes)."""
    if not len(positions):
        return np.empty((0, classes))
    batches = still_batches(source, source.samples(positions))
    # not model.predict, whose every call leaves a data pipeline behind
    found = [np.asarray(model.predict_on_batch(batches[place][0])) for place in range(len(batches))]
    probabilities = np.concatenate(found).astype(np.float64)
    return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))


def read_fold(unit: FoldUnit) -> npt.NDArray[np.float64] | None:
    """Return the predictions of a finished fold, float64 of shape (test rows, classes); None if not finished.

    A file that is there and does not hold is named in a warning, and the fold counts as not finished. The training
    state of a finished fold, which a process killed at the end leaves, is removed.
    """
    if not (unit.weights.is_file() and unit.predictions.is_file()):
        return None
    values = read_probabilities(unit.predictions, unit.rows, unit.classes)
    if values is None or not np.isfinite(values).all():
        _log.warning("%s: does not hold the predictions of its fold; trained again", unit.predictions)
        return None
    if not is_whole_h5(unit.weights):
        _log.warning("%s: does not hold the weights of its fold; trained again", unit.weights)
        return None
    unit.state.unlink(missing_ok=True)
    return values
