"""Whole slides: fields cut out of annotated slides, and the predictions of a model laid over a slide."""

from .contributions import contributions
from .cut import CutSettings, cut
from .files import SlideFile
from .map import FILES, map_slides
from .regions import positions
from .slide import Slide
from .tiles import MapSettings

__all__: list[str] = []
