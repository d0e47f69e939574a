"""Boosted trees: trained by LightGBM, kept as checked arrays, and equal to LightGBM in each bit of a prediction."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import BundleError, DependencyError, Entries, InputError, counted
from ..core.formats import Array, Floats, Floats32, Integers, limits
from ..core.models import pack_arrays, unpack_arrays

Features = Floats32
"""Features of shape (images, augmentations, d)."""

Probabilities = Floats
"""Probabilities of shape (images, classes)."""

Params = Entries
"""Parameters of a model by name."""


Arrays = dict[str, Array]
"""The arrays of a model by name."""


def import_lightgbm() -> Any:
    """Import LightGBM.

    Raises
    ------
    DependencyError
        The system's OpenMP library is missing, which LightGBM's package does not contain.
    """
    try:
        import lightgbm
    except OSError as error:
        raise DependencyError(
            "LightGBM cannot be loaded ({}); install the system's OpenMP library (Debian: apt-get install libgomp1)",
            error,
        ) from error
    return lightgbm


def fit_texts(
    features: Features, labels: Integers, *, params: Sequence[Params], rounds: int
) -> Iterator[str]:
    """Train models that differ only in seeds, so that they share LightGBM's bins, and yield the text of each.

    Parameters
    ----------
    features : ndarray of float32, shape (images, augmentations, d)
        Features of training images only, because they determine the bins. Augmentations become separate rows. The bins
        take a quarter of the array's memory.
    labels : ndarray of int, shape (images,)
        Class numbers.
    params : sequence of mapping
        Parameters of each model for `lightgbm.train`. Those that affect the bins must be the same.
    rounds : int
        Number of boosting rounds.

    Yields
    ------
    str
        LightGBM's text format, for `pack_text`: the same as without shared bins.
    """
    lightgbm = import_lightgbm()
    augmentations, dim = features.shape[1:]
    rows = features.reshape(-1, dim)
    repeated = np.repeat(labels, augmentations).astype(np.float32)
    data = lightgbm.Dataset(rows, repeated, params=dict(params[0])).construct()
    for options in params:
        yield str(lightgbm.train(dict(options), data, num_boost_round=rounds).model_to_string())


def fit_text(features: Features, labels: Integers, *, params: Params, rounds: int) -> str:
    """Train one model and return its text, see `fit_texts`."""
    return next(fit_texts(features, labels, params=[params], rounds=rounds))


def check_length(features: Features, length: int) -> None:
    """Refuse features of another length than those that a model takes.

    Raises
    ------
    BundleError
    """
    if features.shape[-1] != length:
        raise BundleError(
            f"the model takes {length} features, this feature file has {features.shape[-1]}"
        )


_ZERO = np.float32(1e-35)
"""LightGBM treats values up to this as zero (its ``kZeroThreshold``)."""

_MAX_PAIRS = 2**16
"""Maximum number of (tree, row) pairs that are evaluated together, so that their data fit into the cache."""

_MAX_ROWS = 64
"""Maximum number of rows that are evaluated together."""

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
        Right, left: whether a row goes left is the position.
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
    counts: Integers

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

        value = self.value.copy()
        ends = self.children[: self.splits]
        rows = self.counts[ends].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = rows / rows.sum(axis=1, keepdims=True)
        for _ in range(self.depth):  # level by level, from the leaves to the roots
            value[: self.splits] = (shares * value[ends]).sum(axis=1)
        scores = value[self.roots].reshape(-1, self.classes).sum(axis=0)
        if self.averaged:
            scores = scores / self._rounds
        if np.isnan(scores).any():
            return None
        return np.asarray(special.softmax(scores))

    @property
    def _rounds(self) -> int:
        return len(self.roots) // self.classes

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
        check_length(features, self.features)
        images, augmentations, dim = features.shape
        shares = self.predict_rows(features.reshape(-1, dim))
        return np.asarray(shares.reshape(images, augmentations, -1).mean(axis=1))

    def predict_rows(self, rows: Array) -> Floats:
        """Return probabilities, float64 of shape (n, classes), for rows, float32 or float64 of shape (n, features).

        They are exactly those that LightGBM computes.
        """
        step = max(1, min(_MAX_ROWS, _MAX_PAIRS // len(self.roots)))
        total = np.zeros((self.classes, len(rows)))
        for start in range(0, len(rows), step):
            # a copy, because the next line changes it
            values = np.array(rows[start : start + step].T, order="C")
            values[~(np.abs(values) > _ZERO)] = 0  # NaN too: no tree was trained on missing values
            scores = self.value.take(self._leaves(values))
            # in the order of LightGBM
            for scores_of_round in scores.reshape(-1, self.classes, values.shape[1]):
                total[:, start : start + step] += scores_of_round
        if self.averaged:
            total = total / self._rounds
        scores = total.T
        differences = scores - scores.max(axis=1, keepdims=True)
        # the C library's exp, and sums in the order of classes: NumPy's exp differs from it in the last bit
        powers = np.array([math.exp(score) for score in differences.ravel().tolist()]).reshape(
            differences.shape
        )
        sums = np.zeros(len(powers))
        for column in powers.T:
            sums += column
        return powers / sums[:, np.newaxis]

    def _leaves(self, values: Array) -> Nodes:
        """Return the leaf of each tree for each row, int32 of shape (trees, n), from values of shape (features, n)."""
        count = values.shape[1]
        flat = values.ravel()
        node = np.repeat(self.roots, count)
        row = np.tile(np.arange(count, dtype=np.int32), len(self.roots))
        children = self.children.ravel()
        for _ in range(self.depth):  # a leaf leads to itself
            value = flat.take(self.feature.take(node) * np.int32(count) + row)
            node = children.take(2 * node + (value <= self.threshold.take(node)))
        return node.reshape(len(self.roots), count)


_PER_NODE = {
    "feature": ("splits", "split_feature", np.int32),
    "threshold": ("splits", "threshold", np.float64),
    "left": ("splits", "left_child", np.int32),
    "right": ("splits", "right_child", np.int32),
    "value": ("leaves", "leaf_value", np.float64),
    "split_rows": ("splits", "internal_count", np.int32),
    "leaf_rows": ("leaves", "leaf_count", np.int32),
}
"""Arrays of a file with a number for each split or leaf, and the name and type of each in LightGBM's text."""

_SHAPES = {
    "classes": (),
    "features": (),
    "averaged": (),
    "leaves": ("trees",),
    **{name: (nodes,) for name, (nodes, _, _) in _PER_NODE.items()},
}
"""Arrays of a file and their shapes. Splits and leaves are ordered by tree. A child is the number of a split of its
tree or, if negative, the bitwise complement of the number of a leaf, as in LightGBM's text."""

_FLOATS = ("threshold", "value")

_DECISIONS = {"0", "2"}
"""Values of LightGBM's ``decision_type`` for splits by a threshold, without missing values."""


def pack_text(text: str) -> bytes:
    """Return the trees of LightGBM's text as the bytes of an NPZ file, for `parse_model`.

    Parameters
    ----------
    text : str
        Result of `lightgbm.Booster.model_to_string` in this process. It is trusted: untrusted text would need checks.

    Raises
    ------
    InputError
        The trees are linear, categorical, with missing values, or not for classification.
    """
    head, *blocks = text.partition("\nend of trees\n")[0].split("\nTree=")
    facts = _entries(head)
    trees = [_entries(block) for block in blocks]
    is_plain = all(
        tree["num_cat"] == tree["is_linear"] == "0"
        and _DECISIONS.issuperset(tree["decision_type"].split())
        for tree in trees
    )
    if not is_plain or not facts["objective"].startswith("multiclass "):
        raise InputError(
            "only trees of classes are kept that split by a threshold, and not linear ones"
        )
    return pack_arrays(
        {
            "classes": np.array(int(facts["num_class"])),
            "features": np.array(int(facts["max_feature_idx"]) + 1),
            "averaged": np.array(int("average_output" in facts)),
            "leaves": np.array([int(tree["num_leaves"]) for tree in trees]),
            **{name: _joined(trees, line, kind) for name, (_, line, kind) in _PER_NODE.items()},
        }
    )


def _entries(block: str) -> dict[str, str]:
    """Return the lines ``name=value`` of a part of LightGBM's text."""
    lines = (line.partition("=") for line in block.split("\n"))
    return {name: value for name, _, value in lines}


def _joined(trees: Sequence[Mapping[str, str]], name: str, kind: Any) -> Array:
    """Return the numbers of a line of all trees; it is empty for a tree without splits."""
    texts = [tree[name] for tree in trees if tree[name]]
    return np.fromstring(" ".join(texts), dtype=kind, sep=" ")


def parse_model(data: bytes) -> Forest:
    """Read the arrays that `pack_text` wrote, and check everything that predictions rely on.

    Raises
    ------
    BundleError
        Arrays are not those of a model (see `unpack_arrays`), counts differ, features or children are out of range, or
        children do not form trees.
    """
    arrays = unpack_arrays(data, _SHAPES, largest=np.finfo(np.float64).max)
    for name, array in arrays.items():
        kind = "f" if name in _FLOATS else "i"
        _refuse_if(array.dtype.kind != kind, f"its {name} are of the type {array.dtype}")
    classes = int(arrays["classes"])
    features = int(arrays["features"])
    _refuse_if(not 2 <= classes <= limits.MODEL_CLASSES, counted(classes, "class"))
    _refuse_if(not 1 <= features <= limits.TREE_FEATURES, f"{features:,} features")
    leaves = arrays["leaves"].astype(np.int64)
    value = arrays["value"]
    trees = len(leaves)
    _refuse_if(trees == 0 or trees % classes > 0, f"{counted(trees, 'tree')} for {classes} classes")
    _refuse_if(
        ((leaves < 1) | (leaves > len(value))).any() or leaves.sum() != len(value),
        "its leaves are miscounted",
    )
    total = len(value) - trees
    feature = arrays["feature"]
    _refuse_if(len(feature) != total, "its splits are miscounted")
    _refuse_if(
        ((feature < 0) | (feature >= features)).any(), "a split by a feature that it does not have"
    )
    _refuse_if((np.abs(value) > limits.TREE_SCORE).any(), "leaves that are not scores")
    counts = np.concatenate([arrays["split_rows"], arrays["leaf_rows"]]).astype(np.int64)
    _refuse_if(((counts < 0) | (counts >= 2**31)).any(), "its counts are not numbers of rows")
    roots, children, depth = _links(
        leaves, np.stack([arrays["right"], arrays["left"]], axis=1).astype(np.int64)
    )
    at_leaves = np.arange(total, total + len(value))
    return Forest(
        classes=classes,
        features=features,
        averaged=bool(arrays["averaged"]),
        roots=roots.astype(np.int32),
        splits=total,
        depth=depth,
        feature=np.concatenate([feature, np.zeros(len(value))]).astype(np.int32),
        threshold=np.concatenate([arrays["threshold"], np.zeros(len(value))]).astype(np.float64),
        children=np.concatenate([children, np.stack([at_leaves, at_leaves], axis=1)]).astype(
            np.int32
        ),
        value=np.concatenate([np.zeros(total), value]).astype(np.float64),
        counts=counts,
    )


def _refuse_if(wrong: bool | np.bool_, why: str) -> None:
    if wrong:
        raise BundleError(f"not a complete model of trees ({why}); it was altered; train it again")


def _links(leaves: Integers, sides: Integers) -> tuple[Integers, Integers, int]:
    """Return roots, children of splits (right, left) and depth; check that each node is reached exactly once."""
    splits = leaves - 1
    tree = np.repeat(np.arange(len(leaves)), splits)
    is_outside = (sides >= splits[tree, np.newaxis]) | (sides < -leaves[tree, np.newaxis])
    _refuse_if(is_outside.any(), "a split with a child that its tree does not have")
    total = len(sides)
    first = np.cumsum(splits) - splits
    first_leaf = total + np.cumsum(leaves) - leaves
    children = np.where(
        sides < 0, first_leaf[tree, np.newaxis] + ~sides, first[tree, np.newaxis] + sides
    )
    roots = np.where(splits > 0, first, first_leaf)
    parents = np.bincount(children.ravel(), minlength=total + int(leaves.sum()))
    parents[roots] += 1
    reached = len(roots)
    depth = 0
    level = roots[splits > 0]
    while len(level) and (parents == 1).all() and depth < limits.TREE_DEPTH:
        nodes = children[level].ravel()
        reached += len(nodes)
        depth += 1
        level = nodes[nodes < total]
    _refuse_if(
        reached != len(parents),
        f"splits that form no tree, or one deeper than {limits.TREE_DEPTH:,}",
    )
    return roots, children, depth
