"""Boosted trees as arrays: what LightGBM predicts, bit by bit, by indexing alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_ZERO = np.float32(1e-35)
"""Values up to this are zero to LightGBM (its ``kZeroThreshold``)."""

_MAX_PAIRS = 2**16
"""Pairs of a tree and a row that are followed at once: what is looked up for them stays in the cache."""

_MAX_ROWS = 64
"""Rows that are followed at once at most."""

_LEVELS = 4
"""Levels that are followed before pairs at a leaf are left out, which costs as much as half a level."""

Floats = npt.NDArray[np.float64]
Nodes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Forest:
    """The trees of a model, whose splits come first and whose leaves follow; a leaf leads to itself.

    Attributes
    ----------
    classes, features : int
    averaged : bool
        Whether scores are divided by the number of rounds, as those of random forests.
    roots : ndarray of int32, shape (rounds * classes,)
        Tree by tree: a round has one for each class.
    splits : int
    depth : int
        Of the deepest tree.
    feature : ndarray of int32, shape (nodes,)
    threshold : ndarray of float64, shape (nodes,)
        A row goes left if its value is at most this.
    children : ndarray of int32, shape (nodes, 2)
        Right, left.
    value : ndarray of float64, shape (nodes,)
        Of leaves; of splits 0.
    counts : ndarray of int64, shape (nodes,)
        Training rows.
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

    def predict_proba(self, rows: npt.NDArray[Any]) -> Floats:
        """Return probabilities, float64 of shape (n, classes), of rows, float32 or float64 of shape (n, features)."""
        share = max(1, min(_MAX_ROWS, _MAX_PAIRS // len(self.roots)))
        parts = [self._scores(rows[start : start + share]) for start in range(0, len(rows), share)]
        return _softmax(np.concatenate(parts)) if parts else np.zeros((0, self.classes))

    @property
    def base(self) -> Floats:
        """Raw score of each class before any feature is known: the mean of each tree over its training rows.

        NaN without their counts.
        """
        value, ends = self.value.copy(), self.children[: self.splits]
        rows = self.counts[ends].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = rows / rows.sum(axis=1, keepdims=True)
        for _ in range(self.depth):  # level by level, from the leaves to the roots
            value[: self.splits] = (shares * value[ends]).sum(axis=1)
        return self._per_round(value[self.roots].reshape(-1, self.classes).sum(axis=0))

    def _per_round(self, total: Floats) -> Floats:
        return np.asarray(total / (len(self.roots) // self.classes) if self.averaged else total)

    def _scores(self, rows: npt.NDArray[Any]) -> Floats:
        """Return the raw scores: of each class the sum of its trees, in their order."""
        values = np.array(rows.T, order="C")  # a copy, which is altered
        values[~(np.abs(values) > _ZERO)] = 0  # NaN too, as no tree was trained on missing values
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
                going = node < self.splits
                if 4 * np.count_nonzero(going) < 3 * len(node):
                    if pairs is None:
                        leaves, pairs = node, np.flatnonzero(going)
                    else:
                        leaves[pairs] = node
                        pairs = pairs[going]
                    node, row = node[going], row[going]
        if pairs is None:
            leaves = node
        else:
            leaves[pairs] = node
        return leaves.reshape(len(self.roots), count)


def _softmax(scores: Floats) -> Floats:
    """Return probabilities by the steps of LightGBM: the C library's exponential function, and sums class by class."""
    below = scores - scores.max(axis=1, keepdims=True)
    # NumPy's own exponential function differs from the C library's in the last bit
    powers = np.array([math.exp(score) for score in below.ravel().tolist()]).reshape(below.shape)
    total = np.zeros(len(powers))
    for column in powers.T:
        total += column
    return np.asarray(powers / total[:, np.newaxis])
