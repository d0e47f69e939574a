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
    unlike_pairs,
)
from .conclusions import (
    Ranking,
    advice_of,
    choices_of,
    conclude,
    corrected,
    pooled_auc,
    positives_needed,
    power_note,
    ranking_figure,
    rankings,
    verdict_of,
)
from .evaluate import SCHEMA, Evaluation, evaluate, inputs_of, tables_of
from .facts import CHOICE, Facts, choice_in_run, joined_versions, read_facts
from .intervals import (
    Entry,
    Figure,
    IntervalMethod,
    Metrics,
    Part,
    Units,
    as_json,
    with_figures,
)
from .metrics import (
    HEADLINE,
    MetricSpec,
    list_metrics,
    measure,
    metrics_of,
)
from .panel import (
    Panel,
    PaperTable,
    Sample,
    comparison_rows,
    decisive,
    figure_rows,
    figures_of,
    images_tested,
    paper_table,
    rows_of,
)
from .predictions import (
    CALLED_FROM,
    Answers,
    Mask,
    PredictionTable,
    Shares,
    Values,
    apply_temperature,
    call_option,
    called,
    constant_folds,
    equalised,
    known_groups,
    nothing_learnt,
    sampling_units,
    take_rows,
    write_predictions,
)
from .read_table import TableChoice, read_predictions
from .spread import variance_split
from .two_class import (
    TwoClassView,
    TwoSides,
    asks_for_class,
    default_positive,
    fold_curves,
    limit_of,
    net_benefit,
    positive_mask,
    two_class_scores,
    two_sides,
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
