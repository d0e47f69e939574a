"""Models as work units: train those of a store and fold, save them, predict the images that the fold tests."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError, StoreError
from ..featurize import content_hashes, open_store
from ..jobs import Ticker, atomic_output, key_of, read_pack, write_pack
from .arrays import Probabilities
from .head import TrainingPart, TrainingTerms
from .heads import fit_head, parse_head

MODEL_KIND = "model 1"
"""What the key of a model begins with; another number where training or predicting changes."""


@dataclass(frozen=True)
class FoldPart:
    """The images of one fold, as all its models of one store see them.

    Attributes
    ----------
    store : str
        Name of the descriptor store.
    path : Path
        The store.
    fold : int
        As in ``folds.csv``.
    train, test : tuple of int
        Positions of images in the store.
    labels : tuple of int
        Class of each training image.
    groups : tuple of str or None
        What folds inside the training part keep whole, for each training image: its group, or the unit of
        `FoldPlan.kept_whole`; None where unknown.
    train_ids, test_ids : tuple of str
    classes : tuple of str
    rows : tuple of str
        Hashes of the descriptors of the training images, then of the test images.
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
        """The key of what models learn from and predict, wherever the store lies."""
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
        Member of the ensemble, from 0.
    terms : TrainingTerms
    params : mapping
        Of `HeadSpec.params`.
    key : str
        Of all that decides the model and its predictions.
    file : Path
        The pack that holds them.
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
        """The fold, as in ``folds.csv``."""
        return self.part.fold


@dataclass(frozen=True)
class FittedUnit:
    """What training a unit left.

    Attributes
    ----------
    tests : ndarray of float64, shape (test images, classes)
        Predictions of the images that the fold tests.
    constant : bool
        Whether the model gives all images the same probabilities.
    """

    tests: Probabilities
    constant: bool


def group_units(units: Sequence[ModelUnit]) -> list[tuple[ModelUnit, ...]]:
    """Put models of the same store and fold together, in the order in which they first appear.

    They differ only in their seed and share what they are trained on.
    """
    groups: dict[tuple[str, int], list[ModelUnit]] = {}
    for unit in units:
        groups.setdefault((unit.part.store, unit.fold), []).append(unit)
    return [tuple(group) for group in groups.values()]


def train_group(units: Sequence[ModelUnit], ticker: Ticker) -> None:
    """Train each model of one store and fold, predict from it as it is saved, and save both.

    Raises
    ------
    InputError
        The head cannot be fitted on this fold; the message names it.
    StoreError
        The store was replaced meanwhile by one of other images.
    """
    first = units[0]
    part = first.part
    with open_store(part.path) as store:
        most = len(store.image_ids)
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
            classifier = parse_head(unit.head, model.data)  # before it is written: what cannot be read is not finished
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
    """Return what a finished unit left; None if it is not finished, or does not hold, which a warning says."""
    arrays = _read(unit)
    if arrays is None or not np.isfinite(arrays["tests"]).all():
        return None
    return FittedUnit(arrays["tests"], bool(arrays["constant"][0]))


def read_model(unit: ModelUnit) -> bytes:
    """Return the model of a finished unit, as the head saved it.

    Raises
    ------
    StoreError
        The pack is gone or damaged since it was read.
    """
    if (arrays := _read(unit)) is None:
        raise StoreError(f"{unit.file}: changed while the command ran; run the same command again")
    return arrays["model"].tobytes()


def _read(unit: ModelUnit) -> dict[str, npt.NDArray[Any]] | None:
    part, classes = unit.part, len(unit.part.classes)
    shapes: dict[str, tuple[int | None, ...]] = {"model": (None,), "constant": (1,), "tests": (len(part.test), classes)}
    return read_pack(unit.file, unit.key, shapes)
