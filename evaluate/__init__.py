"""Prediction tables to metrics, intervals, figures and a report.

Knows prediction tables only: a table says for each image (and fold) the true class and either one probability
per class or a predicted class.
"""

from .aggregate import AGGREGATIONS, LEVELS, Aggregation, aggregate
from .calibration import abstention, calibration, unsure_rule
from .compare import compare_pairs, compare_tables, fold_error, holm, selection_notes, unlike_pairs
from .comparison_sections import gain_lines, measure_gains
from .constant import NOTHING_LEARNT, constant_folds, is_constant, nothing_learnt
from .differences import precision_difference
from .evaluate import evaluate, measure
from .finished import read_facts, write_run_report
from .formats import aligned, as_frame, html_lines, html_table, latex_table
from .intervals import Sampled, bootstrap_intervals
from .known_metrics import list_metrics
from .methods import cite
from .metric import MetricSpec
from .metrics import compute_metrics
from .operating import FoldCurves, fold_curves
from .page import Block, Figure, Grid, Section, render_page, write_page
from .panel import Panel, Sample
from .paper import PaperTable, paper_table, variance_split
from .predictions import FoldNote, PredictionTable, fold_notes, sampling_units, take_rows, write_predictions
from .published import PublishedFigure, PublishedTable, write_published
from .read_table import PREDICTED_FROM, TableChoice, read_predictions
from .report import choose_samples, reporting, sample_of, surest, thumbnail, write_report
from .shares import CROSS_VALIDATION, Interval, share_interval
from .study_sections import class_grid
from .tables import write_tables
from .temperature import apply_temperature, fold_temperatures, negative_log_likelihood, shrunk_temperature
from .two_class import TWO_CLASS_RULES, TwoClassChoice, TwoClassView, default_positive, positive_mask, two_class_scores
from .wording import counted, external_lines, headline, listed, named_test, p_value, plural

__all__ = [
    "AGGREGATIONS",
    "CROSS_VALIDATION",
    "LEVELS",
    "NOTHING_LEARNT",
    "PREDICTED_FROM",
    "TWO_CLASS_RULES",
    "Aggregation",
    "Block",
    "Figure",
    "FoldCurves",
    "FoldNote",
    "Grid",
    "Interval",
    "MetricSpec",
    "Panel",
    "PaperTable",
    "PredictionTable",
    "PublishedFigure",
    "PublishedTable",
    "Sample",
    "Sampled",
    "Section",
    "TableChoice",
    "TwoClassChoice",
    "TwoClassView",
    "abstention",
    "aggregate",
    "aligned",
    "apply_temperature",
    "as_frame",
    "bootstrap_intervals",
    "calibration",
    "choose_samples",
    "cite",
    "class_grid",
    "compare_pairs",
    "compare_tables",
    "compute_metrics",
    "constant_folds",
    "counted",
    "default_positive",
    "evaluate",
    "external_lines",
    "fold_curves",
    "fold_error",
    "fold_notes",
    "fold_temperatures",
    "gain_lines",
    "headline",
    "holm",
    "html_lines",
    "html_table",
    "is_constant",
    "latex_table",
    "list_metrics",
    "listed",
    "measure",
    "measure_gains",
    "named_test",
    "negative_log_likelihood",
    "nothing_learnt",
    "p_value",
    "paper_table",
    "plural",
    "positive_mask",
    "precision_difference",
    "read_facts",
    "read_predictions",
    "render_page",
    "reporting",
    "sample_of",
    "sampling_units",
    "selection_notes",
    "share_interval",
    "shrunk_temperature",
    "surest",
    "take_rows",
    "thumbnail",
    "two_class_scores",
    "unlike_pairs",
    "unsure_rule",
    "variance_split",
    "write_page",
    "write_predictions",
    "write_published",
    "write_report",
    "write_run_report",
    "write_tables",
]
