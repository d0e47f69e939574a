"""Stage 2: descriptor stores to cross-validated ensembles (LightGBM and others), predictions and a model bundle.

In: stores of shape (images, augmentations, d). Out: one probability per class and image, for every fold in
which the image is tested.
"""

from typing import TYPE_CHECKING

from ..moved import moved_names
from .blend import blend_weights
from .bundle import Bundle, FoldModel
from .head import Classifier, FittedModel, HeadSpec, TrainingPart, TrainingTerms
from .heads import HEADS, get_head, list_heads, members_of
from .lightgbm_model import BinnedRows, fit_text, parse_model
from .parameters import parse_params
from .presets import PRESETS, Preset, model_params
from .settings import BoostSettings, FeatureChoice
from .train import train
from .tree_arrays import pack_text

__all__ = [
    "HEADS",
    "PRESETS",
    "BinnedRows",
    "BoostSettings",
    "Bundle",
    "Classifier",
    "FeatureChoice",
    "FittedModel",
    "FoldModel",
    "HeadClassifier",
    "HeadSpec",
    "Preset",
    "TrainingPart",
    "TrainingTerms",
    "blend_weights",
    "fit_text",
    "get_head",
    "list_heads",
    "members_of",
    "model_params",
    "pack_text",
    "parse_model",
    "parse_params",
    "train",
]

if TYPE_CHECKING:
    from .estimators import HeadClassifier
else:  # a type checker is to know the new places alone
    __getattr__ = moved_names(
        __name__,
        {
            "BUNDLE_KIND": "bchisto.crossval",
            "BUNDLE_SCHEMA": "bchisto.crossval",
            "BoostResult": "bchisto.crossval:CrossValidation",
            "read_crop_seed": "bchisto.crossval",
        },
        lazy={"HeadClassifier": f"{__name__}.estimators"},  # imports scikit-learn
    )
