"""Folds: which images train, validate and test; split, published, or given as a list.

In: ids, labels and groups of images. Out: a `FoldPlan`, whose rows are image id, fold and part.
"""

from .folds import fold_plan, fold_plans, read_fold_list, write_fold_list
from .plans import FoldPlan, repeat_folds
from .protocols import PUBLISHED_FOLDS, protocol_text, published_folds
from .split import inner_splits
from .units import unknown_groups

__all__ = [
    "PUBLISHED_FOLDS",
    "FoldPlan",
    "fold_plan",
    "fold_plans",
    "inner_splits",
    "protocol_text",
    "published_folds",
    "read_fold_list",
    "repeat_folds",
    "unknown_groups",
    "write_fold_list",
]
