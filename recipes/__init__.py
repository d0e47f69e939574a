"""Whole experiments in one call: the demo, and published systems by their recipes."""

from .demo import DemoResult, demo
from .estimate import Estimate, estimate_text
from .form import list_recipes, load_recipe
from .recipe import Recipe, Scope, Setting
from .reproduce import ReproduceResult, estimate_recipe, reproduce
from .trial import TrialResult, trial

__all__ = [
    "DemoResult",
    "Estimate",
    "Recipe",
    "ReproduceResult",
    "Scope",
    "Setting",
    "TrialResult",
    "demo",
    "estimate_recipe",
    "estimate_text",
    "list_recipes",
    "load_recipe",
    "reproduce",
    "trial",
]
