"""Stage 2: descriptor stores to cross-validated ensembles (LightGBM and others), predictions and a model bundle.

In: stores of shape (images, augmentations, d). Out: one probability per class and image, for every fold in
which the image is tested.
"""

from .blend import blend_weights
from .bundle import BUNDLE_KIND, BUNDLE_SCHEMA, Bundle, FoldModel, read_crop_seed
from .head import Classifier, HeadSpec, TrainingPart, TrainingTerms
from .heads import HEADS, get_head, list_heads
from .lightgbm_model import BinnedRows, fit_text, parse_model, predict_proba
from .parameters import parse_params
from .presets import PRESETS, Preset, model_params
from .protocol import BoostResult
from .train import train

__all__ = [
    "BUNDLE_KIND",
    "BUNDLE_SCHEMA",
    "HEADS",
    "PRESETS",
    "BinnedRows",
    "BoostResult",
    "Bundle",
    "Classifier",
    "FoldModel",
    "HeadSpec",
    "Preset",
    "TrainingPart",
    "TrainingTerms",
    "blend_weights",
    "fit_text",
    "get_head",
    "list_heads",
    "model_params",
    "parse_model",
    "parse_params",
    "predict_proba",
    "read_crop_seed",
    "train",
]
