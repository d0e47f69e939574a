"""Feature extraction (stage 1): turn images into feature files.

It reads the images of a `bchisto.data.Dataset` and writes one HDF5 file per encoder and view, with ``features``
float32 of shape (images x augmentations, d).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .crops import crop_boxes, cut_crop, draw_augmentation
from .embeddings.facts import IMPORTED, KIND_FACTS, UNKNOWN, header_facts, rows_of, settled_facts
from .embeddings.files import export_features, files_of, read_embeddings
from .embeddings.imported import import_features
from .embeddings.pools import AT_ONCE, POOLS, known_facts, slides_of
from .embeddings.table import Embeddings, row_sha256, same_images
from .matrix import FeatureMatrix, load_features, only_store
from .pipeline import FeaturizeResult, featurize
from .plan import (
    begun_configs,
    best_engine,
    estimate_describing,
    is_described,
    ready_targets,
    timed_targets,
)
from .pooling import norm_pool
from .prepare import ImageFailure, NormalisedImage, StainInfo, normalise_images
from .presets import (
    FAR,
    PRESETS,
    ChosenSettings,
    choose_settings,
    defaults_text,
    encoder_defaults,
    preset_options,
    seen_scales,
)
from .settings import FeaturizeSettings, View, images_per_block
from .store import StainOutcome, Store, open_store, refuse_history
from .stored import scale_of, settings_from
from .stream import describe_images, rehearse, time_describing, unlike_on_gpu

if TYPE_CHECKING:
    from .transformer import ImageFeatures

__all__ = [
    "Embeddings",
    "FeatureMatrix",
    "FeaturizeResult",
    "FeaturizeSettings",
    "ImageFeatures",
    "Store",
    "View",
    "crop_boxes",
    "cut_crop",
    "export_features",
    "featurize",
    "import_features",
    "load_features",
    "norm_pool",
    "open_store",
    "read_embeddings",
]
__dir__ = __all__.copy


def __getattr__(name: str) -> Any:
    if name != "ImageFeatures":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .transformer import ImageFeatures  # it loads scikit-learn

    return ImageFeatures
