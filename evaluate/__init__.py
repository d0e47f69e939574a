"""Prediction tables to metrics, intervals, figures and a report.

Knows prediction tables only: a table says for each image (and fold) the true class and either one probability
per class or a predicted class.
"""

from typing import TYPE_CHECKING

from ..moved import moved_names
from .abstain import abstention
from .aggregate import AGGREGATIONS, LEVELS, aggregate
from .calibration import calibration
from .compare import compare_pairs, compare_tables
from .evaluate import evaluate, measure
from .finished import write_run_report
from .fold_notes import FoldNote, fold_notes
from .headline import headline
from .intervals import bootstrap_intervals
from .known_metrics import list_metrics
from .latex import latex_table
from .metric import MetricSpec
from .metrics import compute_metrics
from .paper import PaperTable, paper_table
from .predictions import PredictionTable, read_predictions, write_predictions
from .protocols import ProtocolGap, protocol_gap
from .published import PublishedFigure, PublishedTable, write_published
from .report import Panel, Sample, reporting, thumbnail, write_report
from .resample import bootstrap_mean, wilson
from .roc import FoldCurves, fold_curves
from .tables import write_tables
from .temperature import apply_temperature, fit_temperature, fold_temperatures, negative_log_likelihood
from .two_class import TwoClassChoice, TwoClassView, default_positive, two_class_scores

__all__ = [
    "AGGREGATIONS",
    "LEVELS",
    "FoldCurves",
    "FoldNote",
    "MetricSpec",
    "Panel",
    "PaperTable",
    "PredictionTable",
    "ProtocolGap",
    "PublishedFigure",
    "PublishedTable",
    "Sample",
    "TwoClassChoice",
    "TwoClassView",
    "abstention",
    "aggregate",
    "apply_temperature",
    "bootstrap_intervals",
    "bootstrap_mean",
    "calibration",
    "compare_pairs",
    "compare_tables",
    "compute_metrics",
    "default_positive",
    "evaluate",
    "fit_temperature",
    "fold_curves",
    "fold_notes",
    "fold_temperatures",
    "headline",
    "latex_table",
    "list_metrics",
    "measure",
    "negative_log_likelihood",
    "paper_table",
    "protocol_gap",
    "read_predictions",
    "reporting",
    "thumbnail",
    "two_class_scores",
    "wilson",
    "write_predictions",
    "write_published",
    "write_report",
    "write_run_report",
    "write_tables",
]

if not TYPE_CHECKING:  # a type checker is to know the new names alone
    __getattr__ = moved_names(
        __name__,
        {
            "Comparison": "bchisto.evaluate:PublishedTable",
            "write_comparisons": "bchisto.evaluate:write_published",
        },
    )
