"""Whole experiments in one call: the demo, the trial, and published systems by their recipes."""

from .estimate import estimate_text
from .form import list_recipes, load_recipe
from .recipe import Recipe, Scope, Setting
from .reproduce import ReproduceResult, describe_recipe, estimate_recipe, reproduce
from .trial import DemoResult, TrialResult, demo, trial

__all__ = [
    "DemoResult",
    "Recipe",
    "ReproduceResult",
    "Scope",
    "Setting",
    "TrialResult",
    "demo",
    "describe_recipe",
    "estimate_recipe",
    "estimate_text",
    "list_recipes",
    "load_recipe",
    "reproduce",
    "trial",
]
