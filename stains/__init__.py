"""Stain normalisation and H&E augmentation of RGB images of any size.

Input and output are ``uint8`` arrays of shape (height, width, 3), with channels in the order red, green, blue.
"""

from .check import GREY_PICTURE, PALE, StainCheck, check_stains, doubt_causes, is_grey, stain_notes
from .colours import (
    TRANSMITTED_LIGHT,
    TREATMENTS,
    HeAugmenter,
    augment_he,
    augmentation_matrix,
    check_rgb,
    optical_density,
    treat,
)
from .foreign import foreign_pixels
from .macenko import MacenkoNormalizer, StainEstimate
from .methods import CHECKED, ROBUST, STAIN_METHODS, Normalizer, make_normalizer

__all__ = [
    "CHECKED",
    "GREY_PICTURE",
    "PALE",
    "ROBUST",
    "STAIN_METHODS",
    "TRANSMITTED_LIGHT",
    "TREATMENTS",
    "HeAugmenter",
    "MacenkoNormalizer",
    "Normalizer",
    "StainCheck",
    "StainEstimate",
    "augment_he",
    "augmentation_matrix",
    "check_rgb",
    "check_stains",
    "doubt_causes",
    "foreign_pixels",
    "is_grey",
    "make_normalizer",
    "optical_density",
    "stain_notes",
    "treat",
]
