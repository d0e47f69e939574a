"""One fold as a work unit: train, keep the best weights, predict the images that it tests."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError, StoreError
from ..crossval import pack_arrays
from ..jobs import Ticker, read_pack, write_pack
from .balance import class_factors
from .batches import Source, outputs_of, still_batches
from .fit import TrainingPlan, loss_weights, train_model, training_samples
from .images import ImageBank
from .model import build_model, resolved
from .pretrained import network_arrays
from .settings import FinetuneSettings
from .state import training_variables

_log = logging.getLogger(__name__)

_last: dict[Hashable, Any] = {}
"""The network of the last fold by all that its graph follows from; one at most, since more would fill the memory."""


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
    def file(self) -> Path:
        """The pack with the best weights, as ``layer/variable``, and the predictions of the test images."""
        return self._file("npz")

    @property
    def state(self) -> Path:
        """What training goes on from, until the fold is finished."""
        return self._file("state.npz")

    @property
    def log(self) -> Path:
        """Loss and accuracy of each epoch."""
        return self.folder / "logs" / f"fold{self.fold}.csv"

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


def train_folds(units: Sequence[FoldUnit], ticker: Ticker) -> None:
    """Train each fold, save its weights and predict.

    Raises
    ------
    InputError
        See `train_model`; the message names the fold.
    """
    for unit in units:
        try:
            _train(unit, ticker)
        except InputError as error:
            raise InputError("fold {}: {}", unit.fold, error) from error


def _train(unit: FoldUnit, ticker: Ticker) -> None:
    settings, source, classes = unit.settings, unit.source(), len(unit.classes)
    model = network_of_fold(settings, classes=classes, fold=unit.fold)
    ticked, note = 0, ""

    def on_epoch(words: str) -> None:
        nonlocal note
        note = f"fold {unit.fold}: {words}"

    def on_saved(epochs: int) -> None:
        nonlocal ticked
        ticked += epochs
        ticker.tick(epochs, note=note, kept=True)

    events = unit.folder / "logs" / "tensorboard" / f"fold{unit.fold}" if unit.tensorboard else None
    train_model(
        model,
        source,
        unit.plan,
        state=unit.state,
        log=unit.log,
        on_epoch=on_epoch,
        on_saved=on_saved,
        events=events,
        key=unit.key,
    )
    ticker.tick(settings.epochs - ticked)  # training that stopped early is done as well
    tests = predict_samples(model, source, np.array(unit.test, dtype=np.int64), classes=classes)
    write_pack(unit.file, unit.key, {"tests": tests, **network_arrays(model)})
    unit.state.unlink(missing_ok=True)


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
    arrays = _read(unit)
    if arrays is None:
        return None
    if not np.isfinite(arrays["tests"]).all():
        _log.warning("%s: does not hold the predictions of its fold; trained again", unit.file)
        return None
    unit.state.unlink(missing_ok=True)
    return arrays["tests"]


def read_network(unit: FoldUnit) -> bytes:
    """Return the weights of a finished fold as the bytes of a bundle's member.

    Raises
    ------
    StoreError
        The pack is gone or damaged since it was read.
    """
    if (arrays := _read(unit)) is None:
        raise StoreError(f"{unit.file}: changed while the command ran; run the same command again")
    return pack_arrays({name: array for name, array in arrays.items() if "/" in name})


def _read(unit: FoldUnit) -> dict[str, npt.NDArray[Any]] | None:
    return read_pack(unit.file, unit.key, {"tests": (len(unit.test_names), len(unit.classes))})
