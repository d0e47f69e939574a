"""Stain handling on uint8 RGB images of any size: normalisation, H&E augmentation, adapters.

In and out: ``uint8`` arrays of shape (height, width, 3), channels in the order red, green, blue.
"""

from .macenko import MacenkoNormalizer, StainEstimate
from .methods import STAIN_METHODS, Normalizer, make_normalizer
from .od import TRANSMITTED_LIGHT, check_rgb, optical_density
from .ruifrok import HeAugmenter, augment_he, augmentation_matrix
from .treatments import TREATMENTS, treat

__all__ = [
    "STAIN_METHODS",
    "TRANSMITTED_LIGHT",
    "TREATMENTS",
    "HeAugmenter",
    "MacenkoNormalizer",
    "Normalizer",
    "StainEstimate",
    "augment_he",
    "augmentation_matrix",
    "check_rgb",
    "make_normalizer",
    "optical_density",
    "treat",
]
