"""ROC of a two-class view: over all rows, per fold, and the mean over folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .predictions import PredictionTable

_GRID = 101
"""False-positive rates at which the curves of folds are averaged (ours; 0, 0.01, ... 1)."""


@dataclass(frozen=True)
class FoldCurves:
    """ROC curves of the folds.

    Attributes
    ----------
    aucs : list of float or None
        Per fold, in fold order; None where a fold tests one side only.
    curves : list of (ndarray, ndarray)
        False and true positive rates of the folds that have an AUC.
    grid, mean, spread : ndarray of float64, shape (101,)
        Vertical average: at each false-positive rate the mean and the population standard deviation of the true
        positive rates. Empty where no fold has an AUC.

    References
    ----------
    Fawcett 2006, sec. 8.1 (vertical averaging).
    """

    aucs: list[float | None]
    curves: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]
    grid: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]


def fold_curves(table: PredictionTable, truth: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> FoldCurves:
    """Compute the ROC of every fold and their mean.

    Parameters
    ----------
    table : PredictionTable
        Gives the fold of each row.
    truth : ndarray of bool, shape (n,)
        Whether the true class is on the positive side.
    scores : ndarray of float64, shape (n,)
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    folds = table.fold_array
    aucs: list[float | None] = []
    curves = []
    for fold in table.fold_numbers:
        inside = folds == fold
        if truth[inside].all() or not truth[inside].any():
            aucs.append(None)
            continue
        false, true, _ = roc_curve(truth[inside], scores[inside])
        aucs.append(float(roc_auc_score(truth[inside], scores[inside])))
        curves.append((false, true))
    if not curves:
        empty = np.zeros(0)
        return FoldCurves(aucs, [], empty, empty, empty)
    grid = np.linspace(0.0, 1.0, _GRID)
    stack = np.array([np.interp(grid, false, true) for false, true in curves])
    stack[:, 0] = 0.0
    return FoldCurves(aucs, curves, grid, stack.mean(axis=0), stack.std(axis=0))
