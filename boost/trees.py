"""Boosted trees as arrays: what LightGBM predicts, bit by bit, by indexing alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

ZERO_IS_MISSING, NAN_IS_MISSING = 1, 2
"""What a split sends its default way, as LightGBM numbers it; 0 is nothing, and then NaN counts as zero."""

_ZERO = np.float32(1e-35)
"""Values up to this are zero to LightGBM (its ``kZeroThreshold``)."""

_AT_ONCE = 2**16
"""Pairs of a tree and a row that are followed at once (ours): what is looked up for them stays in the cache."""

_MOST_ROWS = 64
"""Rows that are followed at once at most (ours)."""

_LEVELS = 4
"""Levels that are followed before pairs at a leaf are left out (ours): that costs as much as half a level."""

Floats = npt.NDArray[np.float64]
Nodes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Linear:
    """What leaves add that are linear in features (``linear_tree``), see `Forest`.

    Attributes
    ----------
    first : ndarray of int32, shape (nodes + 1,)
        Where the terms of each node begin.
    features : ndarray of int32, shape (terms,)
    coefficients : ndarray of float64, shape (terms,)
    constants : ndarray of float64, shape (nodes,)
    """

    first: Nodes
    features: Nodes
    coefficients: Floats
    constants: Floats


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
        A row goes left where its value is at most this.
    children : ndarray of int32, shape (nodes, 2)
        Right, left.
    missing : ndarray of int8, shape (nodes,)
        `ZERO_IS_MISSING`, `NAN_IS_MISSING` or 0.
    default_left : ndarray of bool, shape (nodes,)
    value : ndarray of float64, shape (nodes,)
        Of leaves; of splits 0.
    counts : ndarray of int64, shape (nodes,)
        Training rows.
    linear : Linear or None
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
    missing: npt.NDArray[np.int8]
    default_left: npt.NDArray[np.bool_]
    value: Floats
    counts: npt.NDArray[np.int64]
    linear: Linear | None = None

    def predict_proba(self, rows: npt.NDArray[Any]) -> Floats:
        """Return probabilities, float64 of shape (n, classes), of rows, float32 or float64 of shape (n, features)."""
        share = max(1, min(_MOST_ROWS, _AT_ONCE // max(1, len(self.roots))))
        parts = [self._scores(rows[start : start + share]) for start in range(0, len(rows), share)]
        return _softmax(np.concatenate(parts)) if parts else np.zeros((0, self.classes))

    @property
    def base(self) -> Floats:
        """Raw score of each class before any feature is known: the mean of each tree over its training rows.

        NaN without their counts.
        """
        found, ends = self.value.copy(), self.children[: self.splits]
        rows = self.counts[ends].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = rows / rows.sum(axis=1, keepdims=True)
        for _ in range(self.depth):  # level by level, from the leaves to the roots
            found[: self.splits] = (shares * found[ends]).sum(axis=1)
        total = found[self.roots].reshape(-1, self.classes).sum(axis=0)
        return np.asarray(total / (len(self.roots) // self.classes) if self.averaged else total)

    def _scores(self, rows: npt.NDArray[Any]) -> Floats:
        """Return the raw scores: of each class the sum of its trees, in their order."""
        values = np.array(rows.T, order="C")  # a copy, which is altered
        values[np.abs(values) <= _ZERO] = 0
        leaves = self._leaves(values)
        found = self.value.take(leaves) if self.linear is None else self._linear(self.linear, leaves, values)
        total = np.zeros((self.classes, len(rows)))
        for one in found.reshape(-1, self.classes, len(rows)):
            total += one
        return np.asarray((total / (len(self.roots) // self.classes) if self.averaged else total).T)

    def _leaves(self, values: npt.NDArray[Any]) -> Nodes:
        """Return the leaf of each tree for each row, int32 of shape (trees, n), from values of shape (features, n)."""
        count = values.shape[1]
        flat, node = values.ravel(), np.repeat(self.roots, count)
        row = np.tile(np.arange(count, dtype=np.int32), len(self.roots))
        # where no value is missing to any split, thresholds decide alone
        plain = not (self.missing == ZERO_IS_MISSING).any() and not np.isnan(flat).any()
        children = self.children.ravel()
        found, place = node, None
        for level in range(self.depth):
            value = flat.take(self.feature.take(node) * np.int32(count) + row)
            left = value <= self.threshold.take(node) if plain else self._is_left(value, node)
            node = children.take(2 * node + left)
            if level % _LEVELS == _LEVELS - 1 and level + 1 < self.depth:
                going = node < self.splits
                if 4 * np.count_nonzero(going) < 3 * len(node):
                    if place is None:
                        found, place = node, np.flatnonzero(going)
                    else:
                        found[place] = node
                        place = place[going]
                    node, row = node[going], row[going]
        if place is None:
            found = node
        else:
            found[place] = node
        return found.reshape(len(self.roots), count)

    def _is_left(self, value: npt.NDArray[Any], node: Nodes) -> npt.NDArray[np.bool_]:
        """Return which go left, missing ones their default way."""
        kind, absent = self.missing.take(node), np.isnan(value)
        value = np.where(absent & (kind != NAN_IS_MISSING), 0, value)
        lost = np.where(kind == NAN_IS_MISSING, absent, (kind == ZERO_IS_MISSING) & (value == 0))
        return np.where(lost, self.default_left.take(node), value <= self.threshold.take(node))

    def _linear(self, linear: Linear, leaves: Nodes, values: npt.NDArray[Any]) -> Floats:
        """Return what linear leaves give; where one of its values is missing, a leaf gives its plain value."""
        node, row = leaves.ravel(), np.tile(np.arange(values.shape[1]), len(leaves))
        first, terms = linear.first.take(node), np.diff(linear.first).take(node)
        found, absent = linear.constants.take(node), np.zeros(len(node), dtype=np.bool_)
        for term in range(int(terms.max(initial=0))):
            some = np.flatnonzero(terms > term)
            place = first[some] + term
            value = values[linear.features[place], row[some]].astype(np.float64)
            absent[some] |= np.isnan(value)
            found[some] += linear.coefficients[place] * value
        return np.where(absent, self.value.take(node), found).reshape(leaves.shape)


def _softmax(scores: Floats) -> Floats:
    """Return probabilities by the steps of LightGBM: the C library's exponential function, and sums class by class."""
    below = scores - scores.max(axis=1, keepdims=True)
    # NumPy's own exponential function differs from the C library's in the last bit
    powers = np.array([math.exp(one) for one in below.ravel().tolist()]).reshape(below.shape)
    total = np.zeros(len(powers))
    for column in powers.T:
        total += column
    return np.asarray(powers / total[:, np.newaxis])
