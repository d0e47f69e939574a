"""Enough labels? How good a model is by the number of labels, and of patients, that it learns from, as measured.

Nothing is extrapolated: what further labels would gain was within its interval too rarely, see
``tools/benchmarks/curve.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from ...boost import Classifier, TrainingPart, fit_head, get_head
from ...core import InputError
from ...core.formats import Array, Flags, Floats, Floats32, Integers
from ...data import DatasetFacts, FoldChoice
from ...evaluate import Figure, PredictionTable, compare_tables, measure
from ...evaluate.report import cell
from .images import RunImages

_HEAD = "logistic"
"""The classifier that doubts: linear ones lead with few labels, and it gives probabilities."""

_SHARES = (0.25, 0.5, 1.0)
"""Parts of the labels, or patients, that train; each doubles the one before."""

_REPEATS = 3
"""How often folds, and what trains of each, are drawn anew."""

_PATIENTS = "patients"


def train_model(
    rows: Floats32, labels: Integers, groups: Sequence[str | None], *, classes: int, seed: int
) -> Classifier:
    """Return a model of labels, as ``boost --head logistic`` trains it on mean features.

    Raises
    ------
    InputError
        There are fewer than two classes, a class has no label, or there are too few for inner folds.
    """
    if not len(np.unique(labels)) == classes > 1:
        raise InputError("labels of fewer than two classes")
    part = TrainingPart(rows[:, np.newaxis], labels, groups, classes, seed, rounds=0)
    (fitted,) = fit_head(_HEAD, part, params=[{}])
    return get_head(_HEAD).parse(fitted.data)


class LearningCurve(NamedTuple):
    """How a model became better with what it learnt from, on patients that did not train it.

    Attributes
    ----------
    unit : str
        What is counted.
    images : int
        On how many it was measured.
    sizes : list of int
        How many trained, each the mean over the folds.
    figures : list of Figure
        The balanced accuracy of each, its interval by patient.
    gain : Figure
        What the last step gained.
    """

    unit: str
    images: int
    sizes: list[int]
    figures: list[Figure]
    gain: Figure

    def __str__(self) -> str:
        pairs = zip(self.sizes, self.figures, strict=True)
        points = [f"{size}: {cell(figure, between=' ', mark='')}" for size, figure in pairs]
        return f"balanced accuracy on {self.images} new images by {self.unit}: {', '.join(points)}"

    @property
    def sentence(self) -> str:
        """What the last step gained, or that nothing can be shown."""
        step = f"from {self.sizes[-2]} to {self.sizes[-1]} {self.unit}"
        change = f"{cell(self.gain, 'points', between=' ', mark='')} points"
        if self.gain.interval is None:
            return f"{step}: {change}, and how sure that is cannot be told ({self.gain.reason})"
        if self.gain.low > 0:
            return f"{step} gained {change}"
        return f"{step} gained nothing that can be shown: {change}"


def learning_curves(table: RunImages, *, seed: int) -> list[LearningCurve]:
    """Measure the learning curve by labels, and by patients if they are known, on folds that keep patients whole.

    Images that a model chose train, and are not tested: they are no sample. A curve is left out if labels are too few
    for two of its points.
    """
    cells = table.cells
    names = [name for name in table.names if name in cells["label"]]
    groups: list[str | None] = [cells["group"].get(name) for name in names]
    units = ["labels"]
    if any(groups):
        groups = [group or name for group, name in zip(groups, names, strict=True)]
        units = ["labels of the same patients", _PATIENTS]
    labels = [cells["label"][name] for name in names]
    for count in ("5", "3", "2"):
        with suppress(InputError):
            (plan,) = FoldChoice((count,), repeats=_REPEATS).plans(
                names,
                labels=labels,
                groups=groups,
                seed=seed,
                default=count,
                known=DatasetFacts(copies=table.copies),
            )
            folds = [np.isin(names, plan.images(fold, "test")) for fold in plan.folds]
            drawn = ["random" in cells["chosen"].get(name, "random") for name in names]
            rows = table.rows[np.isin(table.names, names)]
            labelled = _Labelled(names, rows, labels, groups, np.array(folds), np.array(drawn))
            curves = [_curve(labelled, unit, seed) for unit in units]
            return [curve for curve in curves if curve is not None]
    return []


class _Labelled(NamedTuple):
    """The images that have a label, in the order of the feature file.

    Attributes
    ----------
    names : list of str
    rows : ndarray of float32, shape (images, d)
    labels : list of str
    groups : list of str or None
        None for all if no patient is known.
    folds : ndarray of bool, shape (folds, images)
        Which images a fold holds out.
    drawn : ndarray of bool, shape (images,)
        Which are a sample.
    """

    names: list[str]
    rows: Floats32
    labels: list[str]
    groups: list[str | None]
    folds: Flags
    drawn: Flags


def _curve(labelled: _Labelled, unit: str, seed: int) -> LearningCurve | None:
    """Return the curve by a unit; None without two sizes that differ."""
    tables: dict[int, PredictionTable] = {}
    for share in _SHARES:
        with suppress(InputError):
            size, table = _test(labelled, unit, share, seed)
            tables.setdefault(size, table)
    if len(tables) < 2:
        return None
    *_, before, last = tables.values()
    return LearningCurve(
        unit,
        last.tested["n"],
        [*tables],
        [measure(table)["balanced_accuracy"] for table in tables.values()],
        compare_tables(before, last)["differences"]["balanced_accuracy"],
    )


def _test(
    labelled: _Labelled, unit: str, share: float, seed: int
) -> tuple[int, PredictionTable]:
    """Return how many train, the mean over folds, and what models of this share predict.

    Raises
    ------
    InputError
        They are too few for a model, or what is tested lacks a class.
    """
    classes, labels = np.unique(labelled.labels, return_inverse=True)
    groups = np.array(labelled.groups)
    sizes = []
    scores = []
    for fold, held in enumerate(labelled.folds):
        train = np.flatnonzero(~held)
        train = train[_joins(groups[train], unit, np.random.default_rng([seed, fold])) < share]
        counted = groups[train] if unit == _PATIENTS else train
        sizes.append(len(set(counted.tolist())))
        model = train_model(
            labelled.rows[train],
            labels[train],
            groups[train].tolist(),
            classes=len(classes),
            seed=seed,
        )
        scores.append(model.predict_proba(labelled.rows[:, np.newaxis]))
    folds, tested = np.nonzero(labelled.folds & labelled.drawn)
    if len(np.unique(labels[tested])) < len(classes):
        raise InputError("no image of a class is tested")
    probabilities = np.array(scores)[folds, tested]
    table = PredictionTable(
        unit,
        tuple(classes.tolist()),
        tuple(np.array(labelled.names)[tested].tolist()),
        labels[tested],
        probabilities,
        probabilities.argmax(axis=1),
        tuple(folds.tolist()),
        tuple(groups[tested].tolist()),
    )
    return round(np.mean(sizes)), table


def _joins(groups: Array, unit: str, rng: np.random.Generator) -> Floats:
    """Return for each image the share at which it joins: of patients, or of the images of its patient."""
    present, member = np.unique(groups.astype(str), return_inverse=True)
    if unit == _PATIENTS:
        return rng.permutation(len(present))[member] / len(present)
    joins = np.empty(len(groups))
    for number in range(len(present)):
        inside = np.flatnonzero(member == number)
        joins[inside] = rng.permutation(len(inside)) / len(inside)
    return joins
