"""Whole experiments in one call: the demo, the trial, and published systems by their recipes."""

from .estimate import estimate_text
from .form import list_recipes, load_recipe
from .recipe import Recipe, Scope
from .reproduce import ReproduceResult, describe_recipe, estimate_recipe, reproduce
from .trial import TrialResult, demo, trial

__all__ = [
    "Recipe",
    "ReproduceResult",
    "Scope",
    "TrialResult",
    "demo",
    "estimate_recipe",
    "list_recipes",
    "load_recipe",
    "reproduce",
    "trial",
]
__dir__ = __all__.copy
