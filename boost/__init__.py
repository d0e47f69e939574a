"""Training (stage 2): cross-validated ensembles of classifiers (LightGBM and others) on feature files.

It reads features of shape (images, augmentations, d). It writes one probability per class and image for every fold in
which the image is tested, and a model file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .array_heads import LinearModel
from .bundle import Bundle
from .head import Classifier, FittedModel, HeadSpec, TrainingPart, TrainingTerms
from .heads import HEADS, fit_head, get_head, list_heads
from .presets import PRESET_OPTIONS, PRESETS, Preset, model_params
from .reference import (
    AXES,
    MARKED,
    MEANING,
    NOT_COMPARED,
    TRAINING_NAMES,
    Compared,
    nearest_names,
)
from .settings import BoostSettings, FeatureChoice
from .training import check_before_features, default_folds, train
from .trees import fit_text, fit_texts, pack_text, parse_model

if TYPE_CHECKING:
    from .estimator import HeadClassifier

__all__ = [
    "BoostSettings",
    "Bundle",
    "Classifier",
    "FeatureChoice",
    "FittedModel",
    "HeadClassifier",
    "HeadSpec",
    "TrainingPart",
    "TrainingTerms",
    "get_head",
    "list_heads",
    "train",
]
__dir__ = __all__.copy


def __getattr__(name: str) -> Any:
    if name != "HeadClassifier":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .estimator import HeadClassifier  # it loads scikit-learn

    return HeadClassifier
