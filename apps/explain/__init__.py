"""Explain predictions: heat maps over images, and pictures of what the units of a network respond to.

From a model file and images it computes an `Explanation` of each image, which is drawn together with its limitations.
"""

from .draw import (
    colour_limits,
    draw,
    lay_over,
    rendered,
    stacked,
    where_highest,
    with_bar,
    write_image,
)
from .explanation import Explanation, UnitPictures
from .gradient_maps import (
    activation_and_gradient,
    compiled_gradient,
    input_gradient,
    mean_colour,
    pull_back,
    to_numpy,
)
from .graph import Floats, Graph, LayerStep, linear
from .image import explain_image
from .methods import METHODS, ExplainSettings, Method, default_method, settings_of
from .regions import write_regions
from .run import ExplainResult, explain

__all__ = ["ExplainResult", "ExplainSettings", "Explanation", "explain"]
__dir__ = __all__.copy
