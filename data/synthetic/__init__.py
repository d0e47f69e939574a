"""Synthetic H&E tissue for demonstrations and tests: images of four classes that differ in architecture, not in colour.

Images are drawn as concentrations of haematoxylin and eosin, stained with the stain vectors of a virtual laboratory,
and written in the official layout of BACH. Results with them have no medical meaning.
"""

from .tissue import TISSUE_CLASSES, make_bach, make_tissue

__all__ = ["TISSUE_CLASSES", "make_bach", "make_tissue"]
