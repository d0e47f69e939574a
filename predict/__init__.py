"""A model bundle over new images: image files to one probability per class."""

from .advice import advised, said_of_training
from .boosted import BoostedModel
from .locate import find_bundle, recorded_runs
from .model import Model, ModelFile, ready_model
from .outputs import PredictResult
from .predictor import Predictions, Predictor
from .records import check_sizes, new_images
from .run import predict
from .settings import PredictSettings
from .sheet import NOT_A_DEVICE, bundle_lines
from .table import FORMATS

__all__ = [
    "FORMATS",
    "NOT_A_DEVICE",
    "BoostedModel",
    "Model",
    "ModelFile",
    "PredictResult",
    "PredictSettings",
    "Predictions",
    "Predictor",
    "advised",
    "bundle_lines",
    "check_sizes",
    "find_bundle",
    "new_images",
    "predict",
    "ready_model",
    "recorded_runs",
    "said_of_training",
]
