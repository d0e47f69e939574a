"""One fold as a work unit: train, keep the best weights, predict the images that it tests."""

from __future__ import annotations

import csv
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..jobs import Ticker, atomic_output, write_rows
from .fit import TrainingData, TrainingPlan, train_model
from .model import build_model, resolved
from .settings import FinetuneSettings

__all__ = ["FoldUnit", "read_fold", "train_fold"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoldUnit:
    """A fold to train.

    Attributes
    ----------
    settings : FinetuneSettings
    fold : int
    images : Path
        The array of all images, see `prepare_images`.
    labels : tuple of int
        Of all images.
    train, validate, test : tuple of int
        Positions.
    test_ids : tuple of str
    classes : int
    folder : Path
        ``RUN/finetune/<folds>-<network>``.
    """

    settings: FinetuneSettings
    fold: int
    images: Path
    labels: tuple[int, ...]
    train: tuple[int, ...]
    validate: tuple[int, ...]
    test: tuple[int, ...]
    test_ids: tuple[str, ...]
    classes: int
    folder: Path

    @property
    def weights(self) -> Path:
        """The best weights."""
        return self.folder / "models" / f"fold{self.fold}.weights.h5"

    @property
    def predictions(self) -> Path:
        """The predictions of the test images."""
        return self.folder / "models" / f"fold{self.fold}.csv"


def train_fold(unit: FoldUnit, ticker: Ticker) -> None:
    """Train, save the weights, predict.

    Raises
    ------
    InputError
        See `train_model`; the message names the fold.
    """
    settings = unit.settings
    images = np.load(unit.images, mmap_mode="r", allow_pickle=False)
    labels = np.array(unit.labels, dtype=np.int64)
    model = build_model(settings, classes=unit.classes, fold=unit.fold)
    state = unit.folder / "models" / f"fold{unit.fold}.state.npz"
    ticked = 0

    def tick() -> None:
        nonlocal ticked
        ticked += 1
        ticker.tick()

    try:
        train_model(
            model,
            TrainingData(images, labels, np.array(unit.train), np.array(unit.validate)),
            TrainingPlan(
                epochs=settings.epochs,
                patience=settings.patience,
                batch_size=resolved(settings)["batch_size"],
                sampling=settings.sampling,
                weighted=settings.weighted,
                augmentations=settings.augmentations,
                seed=settings.seed,
                classes=unit.classes,
            ),
            state=state,
            log=unit.folder / "logs" / f"fold{unit.fold}.csv",
            on_epoch=tick,
        )
    except InputError as error:
        raise InputError(f"fold {unit.fold}: {error}") from error
    ticker.tick(settings.epochs - ticked)  # training that stopped early is done as well
    with atomic_output(unit.weights) as temporary:
        # Keras wants the suffix, so it writes beside and the file is moved
        beside = temporary.with_name(f"{temporary.name}.weights.h5")
        model.save_weights(beside)
        beside.replace(temporary)
    found = model.predict(images[list(unit.test)].astype(np.float32), batch_size=32, verbose=0)
    probabilities = np.asarray(found, dtype=np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    rows = ([image, *map(repr, row)] for image, row in zip(unit.test_ids, probabilities.tolist(), strict=True))
    write_rows(unit.predictions, ["image_id", *(f"p{place}" for place in range(unit.classes))], rows)
    state.unlink(missing_ok=True)


def read_fold(unit: FoldUnit) -> npt.NDArray[np.float64] | None:
    """Return the predictions of a finished fold, float64 of shape (test images, classes); None if not finished."""
    if not (unit.weights.is_file() and unit.predictions.is_file()):
        return None
    with unit.predictions.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.reader(handle))[1:]
    try:
        values = np.array([[float(cell) for cell in row[1:]] for row in rows])
    except ValueError:
        values = np.empty((0, 0))
    named = tuple(row[0] for row in rows if row) == unit.test_ids
    if not named or values.shape != (len(unit.test_ids), unit.classes) or not np.isfinite(values).all():
        _log.warning("%s: does not hold the predictions of its fold; trained again", unit.predictions)
        return None
    return values
