"""Prediction tables to metrics, intervals, figures and a report.

Knows prediction tables only: a table says for each image (and fold) the true class and either one probability
per class or a predicted class.
"""

from .aggregate import AGGREGATIONS, aggregate
from .calibration import calibration
from .compare import compare_pairs, compare_tables
from .evaluate import evaluate, measure
from .intervals import bootstrap_intervals
from .latex import latex_table
from .metrics import compute_metrics
from .paper import PaperTable, paper_table
from .predictions import PredictionTable, read_predictions, write_predictions
from .report import Panel, Sample, thumbnail, write_report
from .two_class import default_positive, two_class_scores

__all__ = [
    "AGGREGATIONS",
    "Panel",
    "PaperTable",
    "PredictionTable",
    "Sample",
    "aggregate",
    "bootstrap_intervals",
    "calibration",
    "compare_pairs",
    "compare_tables",
    "compute_metrics",
    "default_positive",
    "evaluate",
    "latex_table",
    "measure",
    "paper_table",
    "read_predictions",
    "thumbnail",
    "two_class_scores",
    "write_predictions",
    "write_report",
]
