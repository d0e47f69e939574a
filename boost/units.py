"""Units of work of training: train the models of a feature file and fold, predict its test images, and save both."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError, StoreError
from ..core.jobs import Ticker, atomic_output, key_of, read_pack, write_pack
from ..featurize import content_hashes, open_store
from .head import TrainingPart, TrainingTerms
from .heads import fit_head, parse_head
from .trees import Probabilities

MODEL_KIND = "model 2"
"""Version in the key of a model; the number increases when training or prediction changes."""


@dataclass(frozen=True)
class FoldPart:
    """Training and test images of one fold in one feature file, shared by its models.

    Attributes
    ----------
    store : str
        Name of the feature file.
    path : Path
        Path of the feature file.
    fold : int
        Fold number, as in ``folds.csv``.
    train, test : tuple of int
        Positions of the training and test images in the feature file.
    labels : tuple of int
        Class number of each training image.
    groups : tuple of str or None
        Patient of each training image, or the unit of `FoldPlan.kept_whole`, which inner folds keep together; None if
        unknown.
    train_ids, test_ids : tuple of str
        Ids of the training and test images.
    classes : tuple of str
    rows : tuple of str
        SHA-256 of the features of each training image, then of each test image.
    """

    store: str
    path: Path
    fold: int
    train: tuple[int, ...]
    test: tuple[int, ...]
    labels: tuple[int, ...]
    groups: tuple[str | None, ...]
    train_ids: tuple[str, ...]
    test_ids: tuple[str, ...]
    classes: tuple[str, ...]
    rows: tuple[str, ...]

    @functools.cached_property
    def key(self) -> str:
        """Key of the training and test data, independent of the location of the feature file."""
        return key_of(
            "part 1",
            **{name: getattr(self, name) for name in ("train_ids", "test_ids", "labels", "groups", "classes", "rows")},
        )


@dataclass(frozen=True)
class ModelUnit:
    """A model to train.

    Attributes
    ----------
    part : FoldPart
    head : str
        The classifier.
    seed : int
        Seed of the ensemble member, from 0.
    terms : TrainingTerms
    params : mapping
        Parameters of the model, from `HeadSpec.params`.
    key : str
        Key of everything that determines the model and its predictions.
    file : Path
        File for the model and its predictions.
    """

    part: FoldPart
    head: str
    seed: int
    terms: TrainingTerms
    params: Mapping[str, Any]
    key: str
    file: Path

    @property
    def fold(self) -> int:
        """Fold number, as in ``folds.csv``."""
        return self.part.fold


@dataclass(frozen=True)
class FittedUnit:
    """Results of a trained unit.

    Attributes
    ----------
    tests : ndarray of float64, shape (test images, classes)
        Predictions of the fold's test images.
    constant : bool
        Whether the model gives all images the same probabilities.
    """

    tests: Probabilities
    constant: bool


def group_units(units: Sequence[ModelUnit]) -> list[tuple[ModelUnit, ...]]:
    """Group models of the same feature file and fold, in the order in which they first appear.

    The models of a group share their training data and differ only in their seed.
    """
    groups: dict[tuple[str, int], list[ModelUnit]] = {}
    for unit in units:
        groups.setdefault((unit.part.store, unit.fold), []).append(unit)
    return [tuple(group) for group in groups.values()]


def train_group(units: Sequence[ModelUnit], ticker: Ticker) -> None:
    """Train the models of one feature file and fold, and save each with its predictions of the test images.

    Predictions come from the model as saved, not from the one in memory.

    Raises
    ------
    InputError
        The classifier cannot be fitted on this fold; the message names it.
    StoreError
        The features in the file changed while the command ran.
    """
    first = units[0]
    part = first.part
    with open_store(part.path) as store:
        most = len(store.image_ids)
        # positions beyond the file mean that it changed; empty rows make the comparison below fail
        both = (part.train, part.test) if max((*part.train, *part.test)) < most else ((), ())
        learnt, tested = (store.features(positions) for positions in both)
        if (*content_hashes(learnt), *content_hashes(tested)) != part.rows:
            raise StoreError(f"{part.path}: its images changed while the command ran; run the same command again")
        training = TrainingPart(
            features=learnt,
            labels=np.array(part.labels, dtype=np.int64),
            groups=part.groups,
            classes=len(part.classes),
            seed=first.terms.inner_seed,
            rounds=first.terms.preset.rounds,
        )
    fitted = fit_head(first.head, training, params=[unit.params for unit in units])
    try:
        for unit, model in zip(units, fitted, strict=True):
            classifier = parse_head(unit.head, model.data)  # before writing, so that every finished model is readable
            arrays = {
                "model": np.frombuffer(model.data, np.uint8),
                "constant": np.array([getattr(classifier, "constant", False)]),
                "tests": classifier.predict_proba(tested),
            }
            if model.text is not None:
                with atomic_output(unit.file.with_suffix(".txt")) as temporary:
                    temporary.write_text(model.text, encoding="utf-8")
            write_pack(unit.file, unit.key, arrays)
            ticker.tick(kept=True)
    except InputError as error:
        raise InputError("{}, fold {}: {}", part.store, first.fold, error) from error


def read_unit(unit: ModelUnit) -> FittedUnit | None:
    """Return the results of a unit; None if it is not finished, or if its file is damaged, with a warning."""
    arrays = _read(unit)
    if arrays is None or not np.isfinite(arrays["tests"]).all():
        return None
    return FittedUnit(arrays["tests"], bool(arrays["constant"][0]))


def read_model(unit: ModelUnit) -> bytes:
    """Return the saved model of a finished unit.

    Raises
    ------
    StoreError
        The file has been removed or damaged since it was last read.
    """
    if (arrays := _read(unit)) is None:
        raise StoreError(f"{unit.file}: changed while the command ran; run the same command again")
    return arrays["model"].tobytes()


def _read(unit: ModelUnit) -> dict[str, npt.NDArray[Any]] | None:
    part, classes = unit.part, len(unit.part.classes)
    shapes: dict[str, tuple[int | None, ...]] = {"model": (None,), "constant": (1,), "tests": (len(part.test), classes)}
    return read_pack(unit.file, unit.key, shapes)
