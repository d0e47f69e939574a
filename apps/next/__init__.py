"""Which images to label next: a random sample, or the ones that a model doubts, and a random part that measures it."""

from .choice import (
    ALL_IMAGES,
    MANIFEST,
    OPTIONS,
    NextSettings,
    choose_in_turn,
    choose_next,
)
from .images import last_round, read_images, run_of
from .strategies import DOUBT

__all__: list[str] = []
