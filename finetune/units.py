"""One fold as a work unit: train, keep the best weights, predict the images that it tests."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError
from ..formats import file_sha256
from ..jobs import Ticker, read_pack, write_pack
from .balance import class_factors
from .batches import Source, outputs_of, still_batches
from .fit import TrainingPlan, loss_weights, train_model, training_samples
from .images import ImageBank
from .kept import network_of_fold, parts_of
from .model import resolved
from .pretrained import save_h5
from .settings import FinetuneSettings
from .state import remove_state

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
    classes : tuple of str
    folder : Path
        ``RUN/finetune/<folds>-<network>``.
    workers : int
        Threads that prepare batches.
    tensorboard : bool
        Whether curves are written for TensorBoard.
    key : str
        Of all that decides its weights and predictions.
    """

    settings: FinetuneSettings
    fold: int
    images: Path
    labels: tuple[int, ...]
    train: tuple[int, ...]
    validate: tuple[int, ...]
    test: tuple[int, ...]
    test_names: tuple[tuple[str, str], ...]
    classes: tuple[str, ...]
    folder: Path
    workers: int = 1
    tensorboard: bool = False
    key: str = ""

    @property
    def weights(self) -> Path:
        """The best weights."""
        return self._file("weights.h5")

    @property
    def predictions(self) -> Path:
        """The pack with the predictions of the test images, and the hash of the weights."""
        return self._file("npz")

    @property
    def log(self) -> Path:
        """Loss and accuracy of each epoch."""
        return self.folder / "logs" / f"fold{self.fold}.csv"

    @property
    def state(self) -> Path:
        """What training goes on from, until the fold is finished."""
        return self._file("state.npz")

    def _file(self, ending: str) -> Path:
        return self.folder / "models" / f"fold{self.fold}-{self.key[:16]}.{ending}"

    @property
    def plan(self) -> TrainingPlan:
        """How the fold is trained."""
        train, validate = (np.array(part, dtype=np.int64) for part in (self.train, self.validate))
        copies = class_factors(self.settings.copies, self.classes)
        return TrainingPlan(self.settings, train, validate, len(self.classes), copies)

    def source(self) -> Source:
        """Return the images, read as the network takes them."""
        labels = np.array(self.labels, dtype=np.int64)
        return Source.of(self.settings, ImageBank.open(self.images), labels, workers=self.workers)


def fit_batch_size(settings: FinetuneSettings, units: Sequence[FoldUnit]) -> FinetuneSettings:
    """Return settings whose batches the smallest training part fills, before anything is trained or written.

    The network's own batch size is lowered to what there is; one that was asked for is refused.

    Parameters
    ----------
    settings : FinetuneSettings
    units : sequence of FoldUnit
        All folds of a protocol.

    Raises
    ------
    InputError
        A batch larger than a training part, or a part that lacks a class which is to be weighted or sampled.
    """
    wanted = int(resolved(settings)["batch_size"])
    counts: dict[int, int] = {}
    for unit in units:
        try:
            source, plan = unit.source(), unit.plan
            samples = training_samples(source, plan)
            counts[unit.fold] = len(samples)
            loss_weights(source, samples, plan)
        except InputError as error:
            raise InputError("fold {}: {}", unit.fold, error) from error
    fold, least = min(counts.items(), key=lambda item: item[1])
    if not least:
        raise InputError("fold {}: no image is left to train on; use fewer {folds}, or add images", fold)
    if wanted <= least:
        return settings
    if settings.batch_size:
        raise InputError("fold {}: {batch_size} {}: more than the {} samples that train; lower it", fold, wanted, least)
    _log.info("batches of %d samples, not of %d: fold %d has only %d to train on", least, wanted, fold, least)
    return replace(settings, batch_size=least)


def train_fold(unit: FoldUnit, ticker: Ticker) -> None:
    """Train, save the weights, predict.

    Raises
    ------
    InputError
        See `train_model`; the message names the fold.
    """
    settings, source, classes = unit.settings, unit.source(), len(unit.classes)
    model = network_of_fold(settings, classes=classes, fold=unit.fold)
    ticked, note = 0, ""

    def say(words: str) -> None:
        nonlocal note
        note = f"fold {unit.fold}: {words}"

    def tick(epochs: int) -> None:
        nonlocal ticked
        ticked += epochs
        ticker.tick(epochs, note=note, kept=True)

    events = unit.folder / "logs" / "tensorboard" / f"fold{unit.fold}" if unit.tensorboard else None
    try:
        train_model(
            model,
            source,
            unit.plan,
            state=unit.state,
            log=unit.log,
            on_epoch=say,
            on_saved=tick,
            events=events,
            key=unit.key,
            **parts_of(model, settings, fold=unit.fold),
        )
    except InputError as error:
        raise InputError("fold {}: {}", unit.fold, error) from error
    ticker.tick(settings.epochs - ticked)  # training that stopped early is done as well
    save_h5(model, unit.weights)
    tests = predict_samples(model, source, np.array(unit.test, dtype=np.int64), classes=classes)
    sha256 = np.frombuffer(bytes.fromhex(file_sha256(unit.weights)), np.uint8)
    write_pack(unit.predictions, unit.key, {"tests": tests, "weights_sha256": sha256})
    remove_state(unit.state)


def predict_samples(
    model: Any, source: Source, positions: npt.NDArray[np.int64], *, classes: int
) -> npt.NDArray[np.float64]:
    """Predict every patch of these images, float64 of shape (patches, classes)."""
    if not len(positions):
        return np.empty((0, classes))
    batches = still_batches(source, source.samples(positions))
    probabilities = np.concatenate([*outputs_of(model, batches)]).astype(np.float64)
    return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))


def read_fold(unit: FoldUnit) -> npt.NDArray[np.float64] | None:
    """Return the predictions of a finished fold, float64 of shape (test rows, classes); None if not finished.

    A file that is there and does not hold is named in a warning, and the fold counts as not finished. The training
    state of a finished fold, which a process killed at the end leaves, is removed.
    """
    if not (unit.weights.is_file() and unit.predictions.is_file()):
        return None
    shapes = {"tests": (len(unit.test_names), len(unit.classes)), "weights_sha256": (32,)}
    arrays = read_pack(unit.predictions, unit.key, shapes)
    if arrays is None:
        return None
    if not np.isfinite(arrays["tests"]).all():
        _log.warning("%s: does not hold the predictions of its fold; trained again", unit.predictions)
        return None
    if file_sha256(unit.weights) != arrays["weights_sha256"].tobytes().hex():
        _log.warning("%s: does not hold the weights of its fold; trained again", unit.weights)
        return None
    remove_state(unit.state)
    return arrays["tests"]
