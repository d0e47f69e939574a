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
    optical_density,
    treat,
)
from .foreign import foreign_pixels, large_areas
from .macenko import MacenkoNormalizer, StainEstimate
from .methods import CHECKED, STAIN_METHODS, Normalizer, make_normalizer

__all__ = [
    "STAIN_METHODS",
    "HeAugmenter",
    "MacenkoNormalizer",
    "Normalizer",
    "StainCheck",
    "StainEstimate",
    "augment_he",
    "augmentation_matrix",
    "check_stains",
    "make_normalizer",
    "optical_density",
    "treat",
]
