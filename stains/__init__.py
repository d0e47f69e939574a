"""Stain handling on uint8 RGB images of any size: normalisation, H&E augmentation, adapters.

In and out: ``uint8`` arrays of shape (height, width, 3), channels in the order red, green, blue.
"""

from .macenko import MacenkoNormalizer, StainEstimate
from .methods import STAIN_METHODS, Normalizer, make_normalizer
from .od import check_rgb, optical_density
from .ruifrok import HeAugmenter, augment_he

__all__ = [
    "STAIN_METHODS",
    "HeAugmenter",
    "MacenkoNormalizer",
    "Normalizer",
    "StainEstimate",
    "augment_he",
    "check_rgb",
    "make_normalizer",
    "optical_density",
]
