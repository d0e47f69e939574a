"""A model bundle over new images: image files to one probability per class."""

from .run import FORMATS, PredictResult, predict

__all__ = ["FORMATS", "PredictResult", "predict"]
