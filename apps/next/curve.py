"""Learning curves: how good a model is, as measured, by the number of labels or patients that it learns from.

Nothing is extrapolated: what further labels would gain was within its interval too rarely, see
``tools/benchmarks/curve.py``.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ...boost import Classifier, TrainingPart, fit_head, get_head
from ...core import InputError, Pairs
from ...core.formats import Array, Flags, Floats32
from ...data import DatasetFacts, FoldChoice
from ...evaluate import Figure, PredictionTable, called, compare_tables, metrics_of, take_rows
from ...evaluate.report import page_templates
from .images import RunImages

_HEAD = "logistic"
"""The classifier that ranks images and is measured: linear ones lead with few labels, and it gives probabilities."""

_SHARES = (0.5, 0.75, 1.0)
"""Shares of the labels, or of the patients, on which models are trained."""

_REPEATS = 3
"""How often the folds are drawn anew, and with them the labels or patients that train."""


def train_model(rows: Floats32, truth: PredictionTable, *, seed: int) -> Classifier:
    """Return a model of labels, as ``boost --head logistic`` trains it on mean features.

    Raises
    ------
    InputError
        There are fewer than two classes, a class has no label, or there are too few for inner folds.
    """
    classes = len(truth.classes)
    if not len(np.unique(truth.labels)) == classes > 1:
        raise InputError("labels of fewer than two classes")
    part = TrainingPart(rows[:, np.newaxis], truth.labels, truth.groups, classes, seed, rounds=0)
    (fitted,) = fit_head(_HEAD, part, params=[{}])
    return get_head(_HEAD).parse(fitted.data)


class LearningCurve(NamedTuple):
    """How a model became better with what it learnt from, on patients that did not train it.

    Attributes
    ----------
    unit : str
        What is counted: labels, or patients.
    images : int
        Number of images on which it was measured.
    sizes : list of int
        How many labels, or patients, trained the model; means over the folds.
    figures : list of Figure
        The balanced accuracy for each size, with its interval by patient.
    gain : Figure
        Balanced accuracy with all labels, or patients, less that with half of them.
    """

    unit: str
    images: int
    sizes: list[int]
    figures: list[Figure]
    gain: Figure

    def __str__(self) -> str:
        template = page_templates(__package__, autoescape=False).get_template("curve.txt")
        return str(template.render(curve=self, gained=self.gain.low > 0.0))


def learning_curves(table: RunImages, *, seed: int) -> list[LearningCurve]:
    """Measure the learning curve by labels, and by patients if they are known, on folds that keep patients whole.

    Images that a model chose train, and are not tested: they are not a sample. A curve is left out if there are too few
    labels for it.
    """
    truth = table.labelled()
    marks = table.cells["chosen"]
    drawn = np.array(["random" in marks.get(name, "random") for name in truth.image_ids])
    members = {"labels": np.array(truth.image_ids)}
    if any(truth.groups):
        members["patients"] = np.array(truth.groups)
    if not truth.image_ids:
        return []
    curves = []
    with suppress(InputError):
        rows = table.rows[np.isin(table.names, truth.image_ids)]
        folds = _draw_folds(truth, table.copies, seed)
        for unit, names in members.items():
            with suppress(InputError):
                curves.append(_curve(truth, rows, folds, drawn, unit, names))
    return curves


def _draw_folds(truth: PredictionTable, copies: Pairs | None, seed: int) -> Flags:
    """Return which images each fold holds out, bool of shape (folds, images).

    Raises
    ------
    InputError
        There are too few labels or patients.
    """
    for count in ("5", "3", "2"):
        with suppress(InputError):
            (plan,) = FoldChoice((count,), repeats=_REPEATS).plans(
                truth.image_ids,
                labels=[truth.classes[label] for label in truth.labels],
                groups=truth.groups,
                seed=seed,
                known=DatasetFacts(copies=copies),
            )
            return np.array(
                [np.isin(truth.image_ids, plan.images(fold, "test")) for fold in plan.folds]
            )
    raise InputError("too few labels for folds")


def _curve(
    truth: PredictionTable,
    rows: Floats32,
    folds: Flags,
    drawn: Flags,
    unit: str,
    members: Array,
) -> LearningCurve:
    """Return the curve by labels, or by patients; `members` has the label or patient that each image belongs to.

    Raises
    ------
    InputError
        There are too few labels for a model of a share of them, or the tested images lack a class.
    """
    numbers, tested = np.nonzero(folds & drawn)
    if len(np.unique(truth.labels[tested])) < len(truth.classes):
        raise InputError("no image of a class is tested")
    sizes = []
    tables = []
    for share in _SHARES:
        counts = []
        scores = []
        shares = []
        for fold, is_test in enumerate(folds):
            present = np.unique(members[~is_test])
            count = math.ceil(share * len(present))
            kept = np.random.default_rng(fold).permutation(present)[:count]
            train = np.flatnonzero(~is_test & np.isin(members, kept))
            counts.append(count)
            labels = np.bincount(truth.labels[train], minlength=len(truth.classes))
            shares.append(labels / len(train))
            model = train_model(rows[train], take_rows(truth, train), seed=fold)
            scores.append(model.predict_proba(rows[:, np.newaxis]))
        sizes.append(round(np.mean(counts)))
        probabilities = np.array(scores)[numbers, tested]
        tables.append(
            replace(
                take_rows(truth, tested),
                probabilities=probabilities,
                predicted=called(probabilities, np.array(shares)[numbers]),
                folds=tuple(numbers.tolist()),
            )
        )
    return LearningCurve(
        unit,
        tables[0].tested["n"],
        sizes,
        [metrics_of(table)["balanced_accuracy"] for table in tables],
        compare_tables(tables[0], tables[-1])["differences"]["balanced_accuracy"],
    )
