"""Stain normalisation and H&E augmentation of RGB images of any size.

Input and output are ``uint8`` arrays of shape (height, width, 3), with channels in the order red, green, blue.
"""

from .check import GREY_PICTURE, PALE, StainCheck, StainNotes, check_stains, doubt_causes, is_grey
from .colours import (
    TRANSMITTED_LIGHT,
    HeAugmenter,
    augment_he,
    augmentation_matrix,
    optical_density,
)
from .foreign import foreign_pixels, ink_pixels, large_areas
from .macenko import MACENKO_BETA, MacenkoNormalizer
from .methods import STAIN_METHODS, get_stain, known_stain, list_stains, make_normalizer
from .spec import Normalizer, StainEstimate, StainSpec
from .treatments import TREATMENTS, treat

__all__ = [
    "HeAugmenter",
    "MacenkoNormalizer",
    "Normalizer",
    "StainCheck",
    "StainEstimate",
    "StainSpec",
    "augment_he",
    "augmentation_matrix",
    "check_stains",
    "get_stain",
    "list_stains",
    "make_normalizer",
    "optical_density",
    "treat",
]
__dir__ = __all__.copy
