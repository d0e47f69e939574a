"""A model bundle over new images: image files to one probability per class."""

from .boosted import BoostedModel
from .export import export
from .locate import find_bundle, recorded_runs
from .model import Model, ModelFile, ready_model
from .outliers import Outliers
from .outputs import PredictResult
from .predictor import Predictions, Predictor
from .records import advised, check_sizes, new_images, notes_of_training
from .run import predict
from .settings import FORMATS, PredictSettings, new_images_mpp
from .sheet import NOT_A_DEVICE, bundle_lines

__all__ = [
    "FORMATS",
    "NOT_A_DEVICE",
    "BoostedModel",
    "Model",
    "ModelFile",
    "Outliers",
    "PredictResult",
    "PredictSettings",
    "Predictions",
    "Predictor",
    "advised",
    "bundle_lines",
    "check_sizes",
    "export",
    "find_bundle",
    "new_images",
    "new_images_mpp",
    "notes_of_training",
    "predict",
    "ready_model",
    "recorded_runs",
]
