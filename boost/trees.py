"""Boosted trees as arrays. Predictions use only array indexing, and equal those of LightGBM bit by bit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import BundleError
from .arrays import Features, Probabilities

_ZERO = np.float32(1e-35)
"""LightGBM treats values up to this as zero (its ``kZeroThreshold``)."""

_MAX_PAIRS = 2**16
"""Maximum number of (tree, row) pairs that are evaluated together, so that their data fit into the cache."""

_MAX_ROWS = 64
"""Maximum number of rows that are evaluated together."""

_LEVELS = 4
"""Number of levels after which pairs at a leaf are removed; the removal takes as long as half a level."""

Floats = npt.NDArray[np.float64]
Nodes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Forest:
    """The trees of a model. All splits come first, then all leaves; the children of a leaf are the leaf itself.

    Attributes
    ----------
    classes, features : int
        Numbers of classes and features.
    averaged : bool
        Whether scores are divided by the number of rounds, as for random forests.
    roots : ndarray of int32, shape (rounds * classes,)
        Root of each tree; a round has one tree per class.
    splits : int
        Number of splits.
    depth : int
        Depth of the deepest tree.
    feature : ndarray of int32, shape (nodes,)
        Feature of each split.
    threshold : ndarray of float64, shape (nodes,)
        A row goes left if its value is at most this.
    children : ndarray of int32, shape (nodes, 2)
        Right, left.
    value : ndarray of float64, shape (nodes,)
        Scores of leaves; 0 for splits.
    counts : ndarray of int64, shape (nodes,)
        Number of training rows of each node.
    """

    classes: int
    features: int
    averaged: bool
    roots: Nodes
    splits: int
    depth: int
    feature: Nodes
    threshold: Floats
    children: Nodes
    value: Floats
    counts: npt.NDArray[np.int64]

    @property
    def constant(self) -> bool:
        """Whether no tree has a split, so that all images get the same probabilities."""
        return self.splits == 0

    @property
    def base(self) -> Probabilities | None:
        """Probabilities before any feature is known, float64 of shape (classes,); None if row counts are missing.

        The score of each class is then the mean of its trees over their training rows.
        """
        from scipy import special

        value, ends = self.value.copy(), self.children[: self.splits]
        rows = self.counts[ends].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = rows / rows.sum(axis=1, keepdims=True)
        for _ in range(self.depth):  # level by level, from the leaves to the roots
            value[: self.splits] = (shares * value[ends]).sum(axis=1)
        scores = self._per_round(value[self.roots].reshape(-1, self.classes).sum(axis=0))
        return None if np.isnan(scores).any() else np.asarray(special.softmax(scores))

    def predict_proba(self, features: Features) -> Probabilities:
        """Predict images: the mean over augmentations of the class probabilities.

        Parameters
        ----------
        features : ndarray of float32, shape (images, augmentations, d)

        Returns
        -------
        ndarray of float64, shape (images, classes)

        Raises
        ------
        BundleError
            The number of features is wrong.
        """
        images, augmentations, dim = features.shape
        if self.features != dim:
            raise BundleError(f"the model takes {self.features} features, this feature file has {dim}")
        shares = self.predict_rows(features.reshape(images * augmentations, dim))
        return np.asarray(shares.reshape(images, augmentations, -1).mean(axis=1))

    def predict_rows(self, rows: npt.NDArray[Any]) -> Floats:
        """Return probabilities, float64 of shape (n, classes), for rows, float32 or float64 of shape (n, features)."""
        share = max(1, min(_MAX_ROWS, _MAX_PAIRS // len(self.roots)))
        parts = [self._scores(rows[start : start + share]) for start in range(0, len(rows), share)]
        return _softmax(np.concatenate(parts)) if parts else np.zeros((0, self.classes))

    def _per_round(self, total: Floats) -> Floats:
        return np.asarray(total / (len(self.roots) // self.classes) if self.averaged else total)

    def _scores(self, rows: npt.NDArray[Any]) -> Floats:
        """Return the raw scores: for each class the sum of its trees, in their order."""
        values = np.array(rows.T, order="C")  # a copy, because the next line changes it
        values[~(np.abs(values) > _ZERO)] = 0  # NaN too: no tree was trained on missing values
        scores = self.value.take(self._leaves(values))
        total = np.zeros((self.classes, len(rows)))
        for scores_of_round in scores.reshape(-1, self.classes, len(rows)):
            total += scores_of_round
        return self._per_round(total).T

    def _leaves(self, values: npt.NDArray[Any]) -> Nodes:
        """Return the leaf of each tree for each row, int32 of shape (trees, n), from values of shape (features, n)."""
        count = values.shape[1]
        flat, node = values.ravel(), np.repeat(self.roots, count)
        row = np.tile(np.arange(count, dtype=np.int32), len(self.roots))
        children = self.children.ravel()
        leaves, pairs = node, None
        for level in range(self.depth):
            left = flat.take(self.feature.take(node) * np.int32(count) + row) <= self.threshold.take(node)
            node = children.take(2 * node + left)
            if level % _LEVELS == _LEVELS - 1 and level + 1 < self.depth:
                unfinished = node < self.splits
                if 4 * np.count_nonzero(unfinished) < 3 * len(node):
                    if pairs is None:
                        leaves, pairs = node, np.flatnonzero(unfinished)
                    else:
                        leaves[pairs] = node
                        pairs = pairs[unfinished]
                    node, row = node[unfinished], row[unfinished]
        if pairs is None:
            leaves = node
        else:
            leaves[pairs] = node
        return leaves.reshape(len(self.roots), count)


def _softmax(scores: Floats) -> Floats:
    """Return probabilities exactly as LightGBM computes them: C library's exp, and sums in the order of classes."""
    below = scores - scores.max(axis=1, keepdims=True)
    # NumPy's exponential function differs from the C library's in the last bit
    powers = np.array([math.exp(score) for score in below.ravel().tolist()]).reshape(below.shape)
    total = np.zeros(len(powers))
    for column in powers.T:
        total += column
    return np.asarray(powers / total[:, np.newaxis])
