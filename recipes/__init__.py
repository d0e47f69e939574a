"""Whole experiments in one call: the demo, and published systems by their recipes."""

from typing import TYPE_CHECKING

from ..moved import moved_names
from .demo import DemoResult, demo
from .estimate import Estimate, estimate_text
from .form import list_recipes, load_recipe
from .recipe import Recipe, Scope, Setting
from .reproduce import ReproduceResult, estimate_recipe, reproduce

__all__ = [
    "DemoResult",
    "Estimate",
    "Recipe",
    "ReproduceResult",
    "Scope",
    "Setting",
    "demo",
    "estimate_recipe",
    "estimate_text",
    "list_recipes",
    "load_recipe",
    "reproduce",
]

if not TYPE_CHECKING:  # a type checker is to know the new names alone
    __getattr__ = moved_names(__name__, {"plan_recipe": "bchisto.recipes:estimate_recipe"})
