"""Synthetic H&E tissue: seeded images whose four classes differ in architecture, not in colour.

Drawn in concentration space (how much haematoxylin, how much eosin at each pixel), then stained with the
vectors of a "laboratory" and written in the official BACH layout. For the demo and the tests; no number made
from them says anything about medicine.
"""

from .layout import make_bach
from .tissue import TISSUE_CLASSES, make_tissue

__all__ = ["TISSUE_CLASSES", "make_bach", "make_tissue"]
