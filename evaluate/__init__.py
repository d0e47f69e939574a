"""Prediction tables to metrics, intervals and comparisons.

It knows only prediction tables: a table has for each image (and fold) the true class, and either one probability per
class or a predicted class.
"""

from .aggregate import AGGREGATIONS, Aggregation, aggregate
from .calibration import apply_temperature, negative_log_likelihood, shrunk_temperature, unsure_rule
from .compare import compare_pairs, compare_tables, fold_error, holm, selection_notes, unlike_pairs
from .evaluate import Evaluation, evaluate, measure, read_facts
from .intervals import precision_difference
from .known_metrics import CLASS_METRICS, HEADLINE, MetricSpec, list_metrics
from .metrics import TwoClassView, compute_metrics, default_positive, positive_mask, two_class_scores, two_sides
from .operating import fold_curves
from .panel import (
    Panel,
    PaperTable,
    Sample,
    called,
    html_confusion,
    images_tested,
    joined_versions,
    name_of,
    nested,
    paper_table,
    rows_of,
    spread_sentence,
    variance_split,
)
from .predictions import (
    NOTHING_LEARNT,
    PredictionTable,
    constant_folds,
    nothing_learnt,
    sampling_units,
    take_rows,
    write_predictions,
)
from .read_table import TableChoice, read_predictions
from .variance import CROSS_VALIDATION, Interval, Units, share_interval

__all__ = [
    "Aggregation",
    "Evaluation",
    "Interval",
    "MetricSpec",
    "Panel",
    "PredictionTable",
    "TableChoice",
    "TwoClassView",
    "aggregate",
    "compare_tables",
    "compute_metrics",
    "evaluate",
    "list_metrics",
    "read_predictions",
    "write_predictions",
]
