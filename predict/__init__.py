"""Predict new images with a model file: one probability per class for each image."""

from .boosted import BoostedModel
from .model import (
    Model,
    ModelFile,
    find_bundle,
    load_alike,
    load_model,
    packages_of,
    ready_model,
    recorded_weights,
)
from .outputs import PredictResult, Tabulated, export, tabulate
from .predicted import Outliers, PredictBlock, Predicted, Prediction, predict_records
from .predictor import Predictions, Predictor
from .records import advised, check_sizes, in_order, new_images, notes_of_training
from .run import predict
from .settings import OperatingPoint, PredictSettings, choose_point, new_images_mpp
from .sheet import SheetRow, sheet_rows, write_html

__all__ = [
    "PredictResult",
    "PredictSettings",
    "Predictions",
    "Predictor",
    "export",
    "find_bundle",
    "predict",
]
