"""Train one fold: keep the best weights, and predict its test and validation images."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core import InputError, Pairs
from ..core.formats import Array, Floats, Integers
from ..core.jobs import Ticker, changed_meanwhile, in_threads, read_pack, write_pack
from ..core.models import pack_arrays
from .batches import Source, still_batches
from .fit import (
    Epoch,
    TrainingPlan,
    loss_weights,
    train_model,
    training_samples,
    training_variables,
)
from .images import ImageBank
from .model import build_model, resolved
from .pretrained import network_arrays
from .settings import FinetuneSettings

_log = logging.getLogger(__name__)

_last: dict[Hashable, Any] = {}
"""Cache of the last network, by everything on which its graph depends. It holds at most one, to save memory."""


@dataclass(frozen=True)
class FoldUnit:
    """A fold to train.

    Attributes
    ----------
    plan : TrainingPlan
        How the fold is trained.
    fold : int
    images : Path
        File of all images, see `prepare_images`.
    labels : tuple of int
        Class index of each image.
    test : tuple of int
        Positions of test images.
    test_names, held_names : tuple of (str, str)
        Image and patch of each prediction of test and validation images; the patch is empty for whole images.
    folder : Path
        ``RUN/finetune/<folds>-<network>``.
    workers : int
        Number of threads that prepare batches.
    tensorboard : bool
        Whether curves are written for TensorBoard.
    key : str
        Key of everything that determines the weights and predictions.
    """

    plan: TrainingPlan
    fold: int
    images: Path
    labels: tuple[int, ...]
    test: tuple[int, ...]
    test_names: Pairs
    held_names: Pairs
    folder: Path
    workers: int
    tensorboard: bool
    key: str

    @property
    def file(self) -> Path:
        """File with the best weights, as ``layer/variable``, and the predictions of test and validation images."""
        return self.folder / "models" / f"fold{self.fold}-{self.key[:16]}.npz"

    @property
    def state(self) -> Path:
        """File from which an interrupted training resumes; removed when the fold is finished."""
        return self.file.with_suffix(".state.npz")

    @property
    def log(self) -> Path:
        """CSV file with loss and accuracy of each epoch."""
        return self.folder / "logs" / f"fold{self.fold}.csv"

    def source(self) -> Source:
        """Return the images as samples for the network."""
        labels = np.array(self.labels)
        return Source.of(
            self.plan.settings, ImageBank.open(self.images), labels, workers=self.workers
        )


def fit_batch_size(settings: FinetuneSettings, units: Sequence[FoldUnit]) -> FinetuneSettings:
    """Return settings whose batch size is at most the smallest training part. Nothing is trained or written.

    Parameters
    ----------
    settings : FinetuneSettings
    units : sequence of FoldUnit
        All folds of a cross-validation scheme.

    Raises
    ------
    InputError
        A training part is empty, or lacks a class that is weighted or sampled.
    """
    batch_size = int(resolved(settings)["batch_size"])
    counts = {}
    for unit in units:
        try:
            source = unit.source()
            samples = training_samples(source, unit.plan)
            counts[unit.fold] = len(samples)
            loss_weights(source, samples, unit.plan)
        except InputError as error:
            raise InputError("fold {}: {}", unit.fold, error) from error
    fold, least = min(counts.items(), key=lambda item: item[1])
    if not least:
        raise InputError(
            "fold {}: no image is left to train on; add images, or change {sampling}", fold
        )
    if batch_size <= least:
        return settings
    _log.info(
        "batches of %d samples, not of %d: fold %d has only %d to train on",
        least,
        batch_size,
        fold,
        least,
    )
    return replace(settings, batch_size=least)


def train_fold(units: Sequence[FoldUnit], ticker: Ticker) -> None:
    """Train a fold, the only unit, predict its test and validation images, and save weights and predictions.

    Raises
    ------
    InputError
        See `train_model`.
    """
    (unit,) = units
    settings = unit.plan.settings
    source = unit.source()
    classes = unit.plan.classes
    model = network_of_fold(settings, classes=classes, fold=unit.fold)
    saved_epochs = 0

    def on_saved(epochs: Sequence[Epoch]) -> None:
        nonlocal saved_epochs
        note = f"fold {unit.fold}: {epochs[-1]}" if epochs else ""
        ticker.tick(len(epochs) - saved_epochs, note=note, kept=True)
        saved_epochs = len(epochs)

    events = None
    if unit.tensorboard:
        events = unit.folder / "logs" / "tensorboard" / f"fold{unit.fold}"
    train_model(
        model,
        source,
        unit.plan,
        state=unit.state,
        log=unit.log,
        on_saved=on_saved,
        events=events,
        key=unit.key,
    )
    ticker.tick(settings.epochs - saved_epochs)  # a training that stopped early is complete, too
    positions = np.array((*unit.test, *unit.plan.validate), dtype=np.int64)
    predicted = predict_samples(model, source, positions)
    write_pack(unit.file, unit.key, {"predicted": predicted, **network_arrays(model)})
    unit.state.unlink(missing_ok=True)


def network_of_fold(settings: FinetuneSettings, *, classes: int, fold: int) -> Any:
    """Return the compiled network of `build_model`, in its initial state for a fold.

    TensorFlow and JAX compile a training step for each network object, which for a small network takes longer than the
    training. So the network of the last fold is reused if it has the same settings. All its variables are set as in a
    new network: weights, statistics, and the states of random generators and of the optimiser.

    Raises
    ------
    InputError, WeightsError
        See `build_model`.
    """
    model = build_model(settings, classes=classes, fold=fold)
    # the resolved input convention depends on the weights file
    key = (settings, classes, *resolved(settings).items())
    if key not in _last:
        release_network()
        return _last.setdefault(key, model)
    for variable, value in zip(
        training_variables(_last[key]), training_variables(model), strict=True
    ):
        variable.assign(value)
    return _last[key]


def release_network() -> None:
    """Remove the network from the cache to free its memory."""
    _last.clear()


def predict_samples(model: Any, source: Source, positions: Integers) -> Floats:
    """Return the predictions of every patch of these images, float64 of shape (patches, classes)."""
    if not len(positions):
        return np.empty((0, model.output_shape[-1]))
    batches = still_batches(source, source.samples(positions))
    # `model.predict` is not used, because each of its calls leaves a data pipeline in memory
    arrays = in_threads(
        lambda number: batches[number][0], range(len(batches)), threads=source.workers
    )
    predicted = [model.predict_on_batch(batch) for batch in arrays]
    probabilities = np.concatenate(predicted).astype(np.float64)
    return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))


def read_fold(unit: FoldUnit) -> Floats | None:
    """Return the predictions of a finished fold, float64 of shape (rows, classes), or None if it is unfinished.

    Rows are those of the test images, then those of the validation images.

    A damaged file causes a warning, and its fold counts as unfinished.
    """
    arrays = _read(unit)
    if arrays is None:
        return None
    return arrays["predicted"]


def read_network(unit: FoldUnit) -> bytes:
    """Return the weights of a finished fold as the bytes of a member of the model file.

    Raises
    ------
    StoreError
        The file was removed or damaged since it was read.
    """
    arrays = _read(unit)
    if arrays is None:
        raise changed_meanwhile(unit.file)
    return pack_arrays({name: array for name, array in arrays.items() if "/" in name})


def _read(unit: FoldUnit) -> dict[str, Array] | None:
    shape = len(unit.test_names) + len(unit.held_names), unit.plan.classes
    return read_pack(unit.file, unit.key, {"predicted": shape}, finite=("predicted",))
