"""Why a model says what it says of an image: maps over the picture, contributions, and what a network sees.

In: a bundle of either road and images. Out: an `Explanation` each, drawn with what it is not.
"""

from .draw import draw, lay_over
from .explanation import Explanation
from .methods import METHODS, Method
from .run import ExplainResult, explain
from .settings import ExplainSettings

__all__ = ["METHODS", "ExplainResult", "ExplainSettings", "Explanation", "Method", "draw", "explain", "lay_over"]
