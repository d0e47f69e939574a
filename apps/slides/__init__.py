"""Whole slides: fields cut out of annotated slides, and the predictions of a model laid over a slide."""

from .cut import CutResult, CutSettings, cut
from .files import SlideFile, read_annotations
from .grid import field_classes, find_tissue, positions, tissue_shares
from .map import FILES, MapResult, map_slides
from .slide import Slide
from .tiles import MapSettings

__all__: list[str] = []
