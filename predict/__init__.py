"""A model bundle over new images: image files to one probability per class."""

from .calls import Calls
from .predictor import Predictions, Predictor
from .run import FORMATS, PredictResult, predict

__all__ = ["FORMATS", "Calls", "PredictResult", "Predictions", "Predictor", "predict"]
