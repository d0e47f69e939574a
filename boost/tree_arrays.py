"""Boosted trees in a model file: convert LightGBM's text to arrays, and read and check these arrays."""

from __future__ import annotations

import numpy as np

from ..core import BundleError, InputError
from ..core.formats import limits
from ..core.models import pack_arrays, unpack_arrays
from .arrays import Places
from .trees import Forest

_SHAPES: dict[str, tuple[str, ...]] = {
    "classes": (), "features": (), "averaged": (), "leaves": ("trees",), "feature": ("splits",),
    "threshold": ("splits",), "left": ("splits",), "right": ("splits",), "value": ("leaves",),
    "split_rows": ("splits",), "leaf_rows": ("leaves",),
}  # fmt: skip
"""Arrays of a file and their shapes. Splits and leaves are ordered by tree. A child is the number of a split of its
tree or, if negative, the bitwise complement of the number of a leaf, as in LightGBM's text."""

_FLOATS = frozenset({"threshold", "value"})

_PER_NODE = {
    "feature": ("split_feature", np.int32), "threshold": ("threshold", np.float64), "left": ("left_child", np.int32),
    "right": ("right_child", np.int32), "value": ("leaf_value", np.float64),
    "split_rows": ("internal_count", np.int32), "leaf_rows": ("leaf_count", np.int32),
}  # fmt: skip
"""Arrays of a file, each with its name and type in LightGBM's text."""

_DECISIONS = frozenset({"0", "2"})
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
    facts, trees = _lines(head), [_lines(block) for block in blocks]
    plain = all(
        tree["num_cat"] == tree["is_linear"] == "0" and _DECISIONS.issuperset(tree["decision_type"].split())
        for tree in trees
    )
    if not plain or not facts["objective"].startswith("multiclass "):
        raise InputError("only trees of classes are kept that split by a threshold, and not linear ones")
    return pack_arrays(
        {
            "classes": np.array(int(facts["num_class"])),
            "features": np.array(int(facts["max_feature_idx"]) + 1),
            "averaged": np.array(int("average_output" in facts)),
            "leaves": np.array([int(tree["num_leaves"]) for tree in trees]),
            **{
                name: np.fromstring(" ".join(filter(None, (tree[line] for tree in trees))), dtype=kind, sep=" ")
                for name, (line, kind) in _PER_NODE.items()
            },
        }
    )


def _lines(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in text.split("\n"))}


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
    classes, features = int(arrays["classes"]), int(arrays["features"])
    _refuse_if(not 2 <= classes <= limits.MODEL_CLASSES, f"{classes:,} classes")
    _refuse_if(not 1 <= features <= limits.TREE_FEATURES, f"{features:,} features")
    leaves, value = arrays["leaves"].astype(np.int64), arrays["value"]
    trees = len(leaves)
    _refuse_if(trees == 0 or trees % classes > 0, f"{trees:,} trees for {classes} classes")
    _refuse_if(((leaves < 1) | (leaves > len(value))).any() or leaves.sum() != len(value), "its leaves are miscounted")
    total = len(value) - trees
    feature = arrays["feature"]
    _refuse_if(len(feature) != total, "its splits are miscounted")
    _refuse_if(((feature < 0) | (feature >= features)).any(), "a split by a feature that it does not have")
    _refuse_if((np.abs(value) > limits.TREE_SCORE).any(), "leaves that are not scores")
    counts = np.concatenate([arrays["split_rows"], arrays["leaf_rows"]]).astype(np.int64)
    _refuse_if(((counts < 0) | (counts >= 2**31)).any(), "its counts are not numbers of rows")
    roots, children, depth = _links(leaves, np.stack([arrays["right"], arrays["left"]], axis=1).astype(np.int64))
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
        children=np.concatenate([children, np.stack([at_leaves, at_leaves], axis=1)]).astype(np.int32),
        value=np.concatenate([np.zeros(total), value]).astype(np.float64),
        counts=counts,
    )


def _refuse_if(wrong: bool | np.bool_, why: str) -> None:
    if wrong:
        raise BundleError(f"not a complete model of trees ({why}); it was altered; train it again")


def _links(leaves: Places, sides: Places) -> tuple[Places, Places, int]:
    """Return roots, children of splits (right, left) and depth; check that each node is reached exactly once."""
    splits = leaves - 1
    tree = np.repeat(np.arange(len(leaves)), splits)
    outside = (sides >= splits[tree, np.newaxis]) | (sides < -leaves[tree, np.newaxis])
    _refuse_if(outside.any(), "a split with a child that its tree does not have")
    total = len(sides)
    first, first_leaf = np.cumsum(splits) - splits, total + np.cumsum(leaves) - leaves
    children = np.where(sides < 0, first_leaf[tree, np.newaxis] + ~sides, first[tree, np.newaxis] + sides)
    roots = np.where(splits > 0, first, first_leaf)
    parents = np.bincount(children.ravel(), minlength=total + int(leaves.sum()))
    parents[roots] += 1
    reached, depth, level = len(roots), 0, roots[splits > 0]
    while len(level) and (parents == 1).all() and depth < limits.TREE_DEPTH:
        below = children[level].ravel()
        reached, depth, level = reached + len(below), depth + 1, below[below < total]
    _refuse_if(reached != len(parents), f"splits that form no tree, or one deeper than {limits.TREE_DEPTH:,}")
    return roots, children, depth
