"""Predict new images with a model file: one probability per class for each image."""

from .blocks import PredictBlock, Predicted, Prediction, Results, helpers_of, predict_records
from .boosted import BoostedModel
from .embedded import load_embedded
from .images import TrainingLooks, advised, check_sizes, in_order, new_images, notes_of_training
from .model_file import (
    Model,
    ModelFile,
    WithModel,
    export,
    find_bundle,
    load_alike,
    load_model,
    ready_model,
    settled_model,
)
from .outputs import PredictResult, SheetRow, sheet_rows, write_html
from .predictor import Predictions, Predictor
from .run import predict
from .settings import OperatingPoint, PredictSettings, new_images_mpp, view_of
from .table import TESTED, Outliers, Tabulated, mixed_note, tabulate

__all__ = [
    "PredictResult",
    "PredictSettings",
    "Predictions",
    "Predictor",
    "export",
    "find_bundle",
    "predict",
]
__dir__ = __all__.copy
