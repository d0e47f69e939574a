"""Whole experiments in one call: the demo, and published systems by their recipes."""

from .demo import DemoResult, demo
from .estimate import Estimate, estimate_text
from .recipe import Recipe, Setting, list_recipes, load_recipe
from .reproduce import ReproduceResult, plan_recipe, reproduce

__all__ = [
    "DemoResult",
    "Estimate",
    "Recipe",
    "ReproduceResult",
    "Setting",
    "demo",
    "estimate_text",
    "list_recipes",
    "load_recipe",
    "plan_recipe",
    "reproduce",
]
