"""Stage 2: descriptor stores to cross-validated LightGBM ensembles, predictions and a model bundle.

In: stores of shape (images, augmentations, d). Out: one probability per class and image, for every fold in
which the image is tested.
"""

from .bundle import Bundle
from .lightgbm_head import fit_text, parse_model, predict_proba
from .presets import PRESETS, Preset, model_params, parse_params
from .train import HEADS, BoostResult, train

__all__ = [
    "HEADS",
    "PRESETS",
    "BoostResult",
    "Bundle",
    "Preset",
    "fit_text",
    "model_params",
    "parse_model",
    "parse_params",
    "predict_proba",
    "train",
]
