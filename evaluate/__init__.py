"""Prediction tables to metrics, intervals and comparisons.

It knows only prediction tables: a table has for each image (and fold) the true class, and either one probability per
class or a predicted class.
"""

from .aggregate import AGGREGATIONS, Aggregation, aggregate
from .calibration import (
    answers_by_fold,
    informs,
    negative_log_likelihood,
    reliability_bins,
    shrunk_temperature,
    unsure_rule,
)
from .compare import (
    compare_pairs,
    compare_tables,
    holm,
    precision_difference,
    unlike_pairs,
)
from .conclusions import (
    Ranking,
    advice_of,
    choice_of,
    conclude,
    corrected,
    pooled_auc,
    positives_needed,
    power_note,
    ranking_figure,
    rankings,
    verdict_of,
    with_choice,
    with_choices,
)
from .evaluate import SCHEMA, Evaluation, evaluate, inputs_of, tables_of
from .influence import Integers, Mask, Part, Values, confusion
from .known_metrics import CLASS_METRICS, HEADLINE, MetricSpec, list_metrics
from .ledger import LedgerRow, append_figures, read_ledger
from .metrics import (
    TwoClassView,
    TwoSides,
    asks_for_class,
    default_positive,
    measure,
    metrics_of,
    positive_mask,
    two_class_scores,
    two_sides,
)
from .operating import fold_curves, net_benefit
from .panel import (
    METRICS,
    Facts,
    Panel,
    PaperTable,
    Sample,
    figures_of,
    fold_error,
    images_tested,
    joined_versions,
    name_in,
    paper_table,
    read_facts,
    rows_of,
    variance_split,
)
from .predictions import (
    Answers,
    PredictionTable,
    apply_temperature,
    constant_folds,
    nothing_learnt,
    sampling_units,
    take_rows,
    write_predictions,
)
from .read_table import TableChoice, read_predictions
from .variance import (
    CROSS_VALIDATION,
    Entry,
    Figure,
    Metrics,
    Units,
    as_json,
    share_interval,
    with_figures,
)

__all__ = [
    "Aggregation",
    "Evaluation",
    "Figure",
    "MetricSpec",
    "Panel",
    "Part",
    "PredictionTable",
    "TableChoice",
    "TwoClassView",
    "aggregate",
    "compare_tables",
    "evaluate",
    "list_metrics",
    "measure",
    "read_predictions",
    "write_predictions",
]
__dir__ = __all__.copy
