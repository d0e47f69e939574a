"""Stage 1: images to descriptors.

In: a `bchisto.data.Dataset`. Out: one HDF5 store per encoder and view, ``features`` float32 of shape
(images x augmentations, d).
"""

from .crops import Augmentation, crop_boxes, cut_crop, draw_augmentation
from .encoder import Encoder
from .intake import check_headers
from .network import canonical_names, precision_policy
from .pipeline import FeaturizeResult, featurize
from .plan import ABSENT_SETTINGS, compared_settings, images_per_block
from .pooling import norm_pool
from .registry import EncoderSpec, get_spec, list_encoders
from .settings import EncoderChoice, FeaturizeSettings, View, parse_encoder, parse_view, weights_of
from .store import Store, open_store
from .stream import ImageDescriptors, ImageFailure, describe_images

__all__ = [
    "ABSENT_SETTINGS",
    "Augmentation",
    "Encoder",
    "EncoderChoice",
    "EncoderSpec",
    "FeaturizeResult",
    "FeaturizeSettings",
    "ImageDescriptors",
    "ImageFailure",
    "Store",
    "View",
    "canonical_names",
    "check_headers",
    "compared_settings",
    "crop_boxes",
    "cut_crop",
    "describe_images",
    "draw_augmentation",
    "featurize",
    "get_spec",
    "images_per_block",
    "list_encoders",
    "norm_pool",
    "open_store",
    "parse_encoder",
    "parse_view",
    "precision_policy",
    "weights_of",
]
