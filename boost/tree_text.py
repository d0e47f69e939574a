"""LightGBM's text of a model: read into arrays with everything in it checked, and written from these."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import BundleError, printable
from .trees import NAN_IS_MISSING, ZERO_IS_MISSING, Forest, Linear

_LAST_LINE = "pandas_categorical:"

_MOST_BYTES = 256 * 1024**2
"""Bound on a text (ours): a published model has 4 MB."""

_MOST_CLASSES = 1_000
_MOST_FEATURES = 10_000_000
_MOST_DEPTH = 1_000
_MOST_SCORE = 1e100
"""Bounds on a model (ours): a LightGBM tree of default size has 31 leaves, and scores are logarithms."""

_VERSIONS = ("v3", "v4")
_WHOLE = re.compile(r"[-0-9 ]*")
_DECIMAL = re.compile(r"[-+.e0-9 ]*")
_THRESHOLD = re.compile(r"[-+.e0-9inf ]*")
"""A split that parts missing values from all others has the threshold ``inf``."""

_DEFAULT_LEFT, _MISSING_SHIFT = 2, 2
_DECISIONS = frozenset(
    left | kind << _MISSING_SHIFT for left in (0, _DEFAULT_LEFT) for kind in (0, ZERO_IS_MISSING, NAN_IS_MISSING)
)
"""Bits of LightGBM's ``decision_type``: 1 categorical, 2 default left, from 4 on what is missing."""


def is_model_text(text: str) -> bool:
    """Whether a text has the ends of a LightGBM model."""
    whole = text.rstrip()
    return text.startswith("tree\n") and whole.startswith(_LAST_LINE, whole.rfind("\n") + 1)


def read_forest(text: str) -> Forest:
    """Read a model of `lightgbm.Booster.model_to_string`; nothing of the text reaches LightGBM.

    Parameters
    ----------
    text : str

    Raises
    ------
    BundleError
        Not a whole model of classes: counts that differ, features or children out of range, children that form no
        tree, values that are not finite, categorical splits, another objective, or more than a model can hold.
    """
    if len(text) > _MOST_BYTES:
        raise BundleError("a LightGBM text model larger than a model can be; it is not read")
    if not is_model_text(text):
        raise BundleError("not a whole LightGBM text model; train it again")
    head, *blocks = text.partition("\nend of trees\n")[0].split("\nTree=")
    try:
        return _Reader(head, blocks).forest()
    except (KeyError, ValueError) as error:
        if isinstance(error, BundleError):
            raise
        why = f"no {error}" if isinstance(error, KeyError) else str(error)[:80]
        raise _altered(printable(why)) from error


def _altered(why: str) -> BundleError:
    return BundleError(f"not a whole LightGBM text model ({why}); it was altered, or train it again")


def _refuse_if(wrong: bool | np.bool_, why: str) -> None:
    if wrong:
        raise _altered(why)


class _Reader:
    """The lines of a model by name: those of its head, and those of each tree."""

    def __init__(self, head: str, blocks: Sequence[str]) -> None:
        self._head = _lines(head)
        for place, block in enumerate(blocks):
            _refuse_if(not block.startswith(f"{place}\n"), f"tree {place} is not where it should be")
        self._trees = [_lines(block) for block in blocks]

    def forest(self) -> Forest:
        classes = self._classes()
        features = _whole(self._head["max_feature_idx"]) + 1
        _refuse_if(not 1 <= features <= _MOST_FEATURES, f"{features:,} features")
        for name in ("feature_names", "feature_infos"):
            _refuse_if(self._head[name].count(" ") + 1 != features, f"its {name} are not {features:,}")
        trees = len(self._trees)
        sizes = len(self._head.get("tree_sizes", "").split())
        fits = trees > 0 and trees % classes == 0 and sizes in (0, trees)
        _refuse_if(not fits, f"{trees:,} trees for {classes} classes")
        if any(tree["num_cat"] != "0" for tree in self._trees):
            raise BundleError("a LightGBM model with categorical splits, which descriptors have not; train it again")
        leaves = np.array([_whole(tree["num_leaves"]) for tree in self._trees])
        _refuse_if((leaves < 1).any(), "a tree without leaves")
        splits = leaves - 1
        feature = self._numbers("split_feature", np.int64, splits)
        decision = self._numbers("decision_type", np.int64, splits)
        _refuse_if(((feature < 0) | (feature >= features)).any(), "a split by a feature that it has not")
        _refuse_if(not set(np.unique(decision).tolist()) <= _DECISIONS, "a split of unknown type")
        roots, children, depth = self._links(leaves, splits)
        total = int(splits.sum())
        at_leaves = np.arange(total, total + int(leaves.sum()))
        value = np.concatenate([np.zeros(total), self._numbers("leaf_value", np.float64, leaves)])
        most = np.maximum.reduceat(np.abs(value[total:]), np.cumsum(leaves) - leaves)
        _refuse_if(most.sum() > _MOST_SCORE, "leaves that are no scores")
        nothing = np.zeros(len(at_leaves))
        return Forest(
            classes=classes,
            features=features,
            averaged="average_output" in self._head,
            roots=roots.astype(np.int32),
            splits=total,
            depth=depth,
            feature=np.concatenate([feature, nothing]).astype(np.int32),
            threshold=np.concatenate([self._numbers("threshold", np.float64, splits), nothing]),
            children=np.concatenate([children, np.stack([at_leaves, at_leaves], axis=1)]).astype(np.int32),
            missing=np.concatenate([decision >> _MISSING_SHIFT, nothing]).astype(np.int8),
            default_left=np.concatenate([decision & _DEFAULT_LEFT, nothing]).astype(np.bool_),
            value=value,
            counts=np.concatenate([self._counts("internal_count", splits), self._counts("leaf_count", leaves)]),
            linear=self._linear(leaves, total, features),
        )

    def _classes(self) -> int:
        if self._head["version"] not in _VERSIONS:
            raise BundleError(f"a LightGBM text of the version {self._head['version'][:20]!r}; upgrade bchisto")
        classes = _whole(self._head["num_class"])
        if self._head["objective"] != f"multiclass num_class:{classes}" or not 2 <= classes <= _MOST_CLASSES:
            raise BundleError(f"a LightGBM model of {self._head['objective'][:40]!r}, not of classes; train it again")
        _refuse_if(_whole(self._head["num_tree_per_iteration"]) != classes, "a round has not one tree for each class")
        return classes

    def _numbers(self, name: str, kind: type[np.number[Any]], counts: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the numbers of all trees under a name, as many of each tree as it should have."""
        lines = [tree[name] for tree in self._trees]
        held = [line.count(" ") + 1 if line else 0 for line in lines]
        _refuse_if(held != counts.tolist(), f"a tree has not as many {name} as it should")
        text = " ".join(filter(None, lines))
        form = _WHOLE if kind is np.int64 else _THRESHOLD if name == "threshold" else _DECIMAL
        _refuse_if(not form.fullmatch(text), f"its {name} are no numbers")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", DeprecationWarning)  # how NumPy says that it could not read to the end
                found: npt.NDArray[Any] = np.fromstring(text, dtype=kind, sep=" ")
        except (DeprecationWarning, ValueError):
            raise _altered(f"its {name} are no numbers") from None
        _refuse_if(len(found) != counts.sum(), f"a tree has not as many {name} as it should")
        _refuse_if(form is _DECIMAL and not np.isfinite(found).all(), f"its {name} are not finite")
        return found

    def _counts(self, name: str, counts: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return numbers of training rows."""
        found = self._numbers(name, np.int64, counts)
        _refuse_if(((found < 0) | (found >= 2**31)).any(), f"its {name} are no numbers of rows")
        return found

    def _links(
        self, leaves: npt.NDArray[Any], splits: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int]:
        """Return the roots, the children of splits (right, left), and the depth; all nodes hang on their root once."""
        sides = np.stack([self._numbers(f"{side}_child", np.int64, splits) for side in ("right", "left")], axis=1)
        tree = np.repeat(np.arange(len(leaves)), splits)
        outside = (sides >= splits[tree, np.newaxis]) | (sides < -leaves[tree, np.newaxis])
        _refuse_if(outside.any(), "a split with a child that its tree has not")
        total = int(splits.sum())
        first, first_leaf = np.cumsum(splits) - splits, total + np.cumsum(leaves) - leaves
        children = np.where(sides < 0, first_leaf[tree, np.newaxis] + ~sides, first[tree, np.newaxis] + sides)
        roots = np.where(splits > 0, first, first_leaf)
        named = np.bincount(children.ravel(), minlength=total + int(leaves.sum()))
        named[roots] += 1
        seen, depth, level = len(roots), 0, roots[splits > 0]
        while len(level) and (named == 1).all() and depth < _MOST_DEPTH:
            below = children[level].ravel()
            seen, depth, level = seen + len(below), depth + 1, below[below < total]
        _refuse_if(seen != len(named), f"splits that form no tree, or one deeper than {_MOST_DEPTH:,}")
        return roots, children, depth

    def _linear(self, leaves: npt.NDArray[Any], splits: int, features: int) -> Linear | None:
        if {tree["is_linear"] for tree in self._trees} == {"0"}:
            return None
        for tree, count in zip(self._trees, leaves.tolist(), strict=True):
            if tree["is_linear"] == "0":
                tree |= {"leaf_const": tree["leaf_value"], "num_features": " ".join(["0"] * count)}
                tree |= {"leaf_features": "", "leaf_coeff": ""}
            for name in ("leaf_features", "leaf_coeff"):  # leaves stand apart by further spaces
                tree[name] = " ".join(tree[name].split())
        constants = self._numbers("leaf_const", np.float64, leaves)
        terms = self._counts("num_features", leaves)
        of_trees = np.add.reduceat(terms, np.cumsum(leaves) - leaves)
        used = self._numbers("leaf_features", np.int64, of_trees)
        _refuse_if(((used < 0) | (used >= features)).any(), "a leaf with a feature that it has not")
        coefficients = self._numbers("leaf_coeff", np.float64, of_trees)
        most = np.abs(np.concatenate([constants, coefficients])).max(initial=0)
        _refuse_if(most > _MOST_SCORE, "leaves that are no scores")
        first = np.concatenate([np.zeros(splits + 1, dtype=np.int64), np.cumsum(terms)])
        at_leaves = np.concatenate([np.zeros(splits), constants])
        return Linear(first.astype(np.int32), used.astype(np.int32), coefficients, at_leaves)


def _lines(text: str) -> dict[str, str]:
    """Return lines by their names.

    Raises
    ------
    BundleError
        A name stands twice.
    """
    pairs = [line.partition("=") for line in text.split("\n") if line]
    found = {name: value for name, _, value in pairs}
    _refuse_if(len(found) < len(pairs), "a line stands in it twice")
    return found


def _whole(text: str) -> int:
    _refuse_if(not re.fullmatch(r"-?[0-9]{1,9}", text), f"{text[:20]!r} is no whole number")
    return int(text)


def write_text(forest: Forest) -> str:
    """Return a text that LightGBM reads, made of checked arrays alone: for what is left to LightGBM.

    Leaves out what no prediction and no contribution follows from. Not of linear trees.
    """
    names = " ".join(f"Column_{place}" for place in range(forest.features))
    head = [
        "tree", "version=v4", f"num_class={forest.classes}", f"num_tree_per_iteration={forest.classes}",
        "label_index=0", f"max_feature_idx={forest.features - 1}", f"objective=multiclass num_class:{forest.classes}",
        *(["average_output"] if forest.averaged else []), f"feature_names={names}",
        f"feature_infos={' '.join(['none'] * forest.features)}", "", "",
    ]  # fmt: skip
    return "\n".join([*head, *chain.from_iterable(_trees(forest)), "end of trees", "", "pandas_categorical:null", ""])


def _trees(forest: Forest) -> Iterator[list[str]]:
    """Yield the lines of each tree: nodes stand tree after tree, splits and leaves each in their order."""
    split, leaf = 0, forest.splits
    children = forest.children.astype(np.int64)
    for number, root in enumerate(forest.roots.tolist()):
        level, nodes = np.array([root]), [np.array([root])]
        while len(level := level[level < forest.splits]):
            level = children[level].ravel()
            nodes.append(level)
        count = int(np.count_nonzero(np.concatenate(nodes) < forest.splits))
        inner, outer = slice(split, split + count), slice(leaf, leaf + count + 1)
        sides = np.where(children[inner] < forest.splits, children[inner] - split, ~(children[inner] - leaf))
        decision = (forest.missing[inner] << _MISSING_SHIFT) | _DEFAULT_LEFT * forest.default_left[inner]
        lines = {
            "num_leaves": [count + 1], "num_cat": [0], "split_feature": forest.feature[inner].tolist(),
            "split_gain": [0] * count, "threshold": map(repr, forest.threshold[inner].tolist()),
            "decision_type": decision.tolist(), "left_child": sides[:, 1].tolist(), "right_child": sides[:, 0].tolist(),
            "leaf_value": map(repr, forest.value[outer].tolist()), "leaf_weight": [0] * (count + 1),
            "leaf_count": forest.counts[outer].tolist(), "internal_value": [0] * count,
            "internal_weight": [0] * count, "internal_count": forest.counts[inner].tolist(), "is_linear": [0],
            "shrinkage": [1],
        }  # fmt: skip
        yield [f"Tree={number}", *(f"{name}={' '.join(map(str, row))}" for name, row in lines.items()), "", ""]
        split, leaf = split + count, leaf + count + 1
