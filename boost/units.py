"""Models as work units: train those of a member and fold, save them, predict the images that the fold tests."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BundleError, InputError, StoreError
from ..featurize import open_store
from ..jobs import Ticker, atomic_output, read_marks, read_probabilities, write_probabilities
from ..runs import Mark
from .arrays import Probabilities
from .head import TrainingPart, TrainingTerms
from .heads import fit_head, parse_head

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelUnit:
    """A model to train.

    Attributes
    ----------
    store : str
        Name of the descriptor store.
    path : Path
        The store.
    head : str
        The classifier.
    member : str
        Row of the table that the model belongs to: the store, in a stack with its head.
    seed, fold : int
        Member of the ensemble (from 0) and fold (as in folds.csv).
    train, test : tuple of int
        Positions of images in the store.
    labels : tuple of int
        Class of each training image.
    groups : tuple of str or None
        What folds inside the training part keep whole, for each training image: its group, or the unit of
        `FoldPlan.kept_whole`; None where unknown.
    train_ids, test_ids : tuple of str
    classes : int
    terms : TrainingTerms
    params : mapping
        Of `HeadSpec.params`.
    inner : bool
        Whether predictions of held-out training images are kept.
    mark : Mark
        What the model is made under.
    model : Path
        The model; the predictions of its test images lie beside it as CSV.
    """

    store: str
    path: Path
    head: str
    member: str
    seed: int
    fold: int
    train: tuple[int, ...]
    test: tuple[int, ...]
    labels: tuple[int, ...]
    groups: tuple[str | None, ...]
    train_ids: tuple[str, ...]
    test_ids: tuple[str, ...]
    classes: int
    terms: TrainingTerms
    params: Mapping[str, Any]
    inner: bool
    mark: Mark
    model: Path

    @property
    def predictions(self) -> Path:
        """The predictions of the test images."""
        return self.model.with_suffix(".csv")

    @property
    def held_out(self) -> Path:
        """The predictions of training images that inner folds held out."""
        return self.model.with_suffix(".inner.csv")


def group_units(units: Sequence[ModelUnit]) -> list[tuple[ModelUnit, ...]]:
    """Put models of the same member and fold together, in the order in which they first appear.

    They differ in their seed only and share what they are trained on.
    """
    groups: dict[tuple[str, int], list[ModelUnit]] = {}
    for unit in units:
        groups.setdefault((unit.member, unit.fold), []).append(unit)
    return [tuple(group) for group in groups.values()]


def train_group(units: Sequence[ModelUnit], ticker: Ticker) -> None:
    """Train each model of one store and fold, predict from it as it is saved, and save both.

    Raises
    ------
    InputError
        The head cannot be fitted on this fold; the message names it.
    StoreError
        The store was replaced meanwhile by one of other images.
    OverwrittenError
        Another command has overwritten the folder meanwhile.
    """
    first = units[0]
    with open_store(first.path) as store:
        there = dict(enumerate(store.image_ids))
        if [there.get(at) for at in (*first.train, *first.test)] != [*first.train_ids, *first.test_ids]:
            raise StoreError(f"{first.path}: its images changed while the command ran; run the same command again")
        part = TrainingPart(
            features=store.features(first.train),
            labels=np.array(first.labels, dtype=np.int64),
            groups=first.groups,
            classes=first.classes,
            seed=first.terms.inner_seed,
            rounds=first.terms.preset.rounds,
            inner=first.inner,
        )
        tested = store.features(first.test)
        fitted = fit_head(first.head, part, params=[unit.params for unit in units])
        try:
            for unit, model in zip(units, fitted, strict=True):
                # before anything is written, so that what cannot be read is no part
                tests = parse_head(unit.head, model.data).predict_proba(tested)
                unit.mark.hold()
                marks = {"settings": unit.mark.sha256, "model": hashlib.sha256(model.data).hexdigest()}
                if model.text is not None:
                    with atomic_output(unit.model.with_suffix(".txt")) as temporary:
                        temporary.write_text(model.text, encoding="utf-8")
                with atomic_output(unit.model) as temporary:
                    temporary.write_bytes(model.data)
                if unit.inner and model.held_out is not None:
                    write_probabilities(unit.held_out, unit.train_ids, model.held_out, marks=marks)
                write_probabilities(unit.predictions, unit.test_ids, tests, marks=marks)
                ticker.tick(kept=True)
        except InputError as error:
            raise InputError(f"{first.member}, fold {first.fold}: {error}") from error


def read_inner(unit: ModelUnit) -> Probabilities:
    """Return the predictions of held-out training images, float64 of shape (training images, classes).

    NaN for images that no inner fold held out.

    Raises
    ------
    InputError
        The file is not whole.
    """
    values = read_probabilities(unit.held_out, unit.train_ids, unit.classes)
    if values is None:
        raise InputError(f"{unit.held_out}: does not hold the held-out predictions; remove it and run again")
    return values


def read_unit(unit: ModelUnit) -> Probabilities | None:
    """Return the predictions of a finished unit, float64 of shape (test images, classes); None if not finished.

    A file that is there and does not hold is named in a warning, and the unit counts as not finished.
    """
    if not (unit.model.is_file() and unit.predictions.is_file() and (unit.held_out.is_file() or not unit.inner)):
        return None
    values = read_probabilities(unit.predictions, unit.test_ids, unit.classes)
    inner = read_probabilities(unit.held_out, unit.train_ids, unit.classes) if unit.inner else values
    if values is None or inner is None or not np.isfinite(values).all():
        _log.warning("%s: does not hold a whole model; trained again", unit.model)
        return None
    tables = (unit.predictions, unit.held_out) if unit.inner else (unit.predictions,)
    marks = [read_marks(table) for table in tables]
    if not all(unit.mark.accepts(mark.get("settings")) for mark in marks):
        _log.warning("%s: made under other settings; trained again", unit.model)
        return None
    if not _is_whole(unit, {mark["model"] for mark in marks if "model" in mark}):
        _log.warning("%s: does not hold a whole model; trained again", unit.model)
        return None
    return values


def _is_whole(unit: ModelUnit, sha256: set[str]) -> bool:
    """Whether the model is the one that its tables vouch for; of bchisto 0.1, whose tables did not, if it reads."""
    data = unit.model.read_bytes()
    if sha256:
        return sha256 == {hashlib.sha256(data).hexdigest()}
    try:
        parse_head(unit.head, data)
    except BundleError:
        return False
    return True
