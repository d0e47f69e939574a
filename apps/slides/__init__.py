"""Whole slides: fields cut out of annotated slides, and the predictions of a model laid over a slide."""

from .annotations import Region, read_regions
from .cut import CutResult, CutSettings, cut
from .files import SlideFile, groups_of, list_slides
from .grid import field_classes, positions, tissue_shares
from .map import FILES, MapResult, map_slides
from .slide import Picture, Slide
from .tile_size import MapSettings
from .tissue import Tissue, find_tissue

__all__: list[str] = []
