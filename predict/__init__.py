"""A model bundle over new images: image files to one probability per class."""

from .advice import advised, said_of_training
from .blocks import is_trained
from .calls import Calls
from .locate import find_bundle, recorded_runs
from .model import BoostedModel, CnnModel, Model, ready_model
from .page import NOT_A_DEVICE
from .predictor import Predictions, Predictor
from .records import new_images
from .run import PredictResult, predict
from .settings import PredictSettings
from .sheet import bundle_lines
from .table import FORMATS

__all__ = [
    "FORMATS",
    "NOT_A_DEVICE",
    "BoostedModel",
    "Calls",
    "CnnModel",
    "Model",
    "PredictResult",
    "PredictSettings",
    "Predictions",
    "Predictor",
    "advised",
    "bundle_lines",
    "find_bundle",
    "is_trained",
    "new_images",
    "predict",
    "ready_model",
    "recorded_runs",
    "said_of_training",
]
