"""Why a model says what it says of an image: maps over the picture, contributions, and what a network sees.

In: a bundle of either road and images. Out: an `Explanation` each, drawn with what it is not.
"""

from .cases import case_samples, check_count, show_cases
from .draw import draw, lay_over
from .explanation import Explanation
from .methods import METHODS, ExplainSettings, Method, settings_of
from .run import ExplainResult, explain, explain_methods

__all__ = [
    "METHODS",
    "ExplainResult",
    "ExplainSettings",
    "Explanation",
    "Method",
    "case_samples",
    "check_count",
    "draw",
    "explain",
    "explain_methods",
    "lay_over",
    "settings_of",
    "show_cases",
]
