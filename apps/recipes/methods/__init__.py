"""Explanation methods that only published systems use; a recipe can use them in addition to those of `explain`."""

from ...explain import METHODS, Method
from .networks import DECONVNET, MASKING, MAXIMISATION, SALIENCY
from .taylor import TAYLOR

__all__ = ["RECIPE_METHODS"]

RECIPE_METHODS: dict[str, Method] = {
    **METHODS,
    **{method.name: method for method in (DECONVNET, MASKING, TAYLOR, MAXIMISATION, SALIENCY)},
}
"""All explanation methods that a recipe can use, by name."""
