"""Ways to look into a network that only published systems ask for; a recipe names them beside those of `explain`."""

from ...explain import METHODS, Method
from .deconvnet import DECONVNET
from .masking import MASKING
from .maximisation import MAXIMISATION
from .taylor import TAYLOR

__all__ = ["RECIPE_METHODS"]

RECIPE_METHODS: dict[str, Method] = {
    **METHODS,
    **{method.name: method for method in (DECONVNET, MASKING, TAYLOR, MAXIMISATION)},
}
"""All methods of recipes, by name."""
