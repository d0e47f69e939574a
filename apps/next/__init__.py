"""Which images to label next: the ones whose labels would teach a model most, and a random part that measures it."""

from .choice import NextImages, NextSettings, choose_next
from .strategies import STRATEGIES, Candidates

__all__: list[str] = []
