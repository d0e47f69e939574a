"""Pre-flight: checks of a dataset before features are extracted, as text, JSON and an HTML page.

The input is a `bchisto.data.ImageSelection` and the planned settings. The result is a `Preflight`: image sizes, views
that fit, near-duplicates, protocols with the classes that each fold lacks, and estimates of time and disk space.
"""

from .plan import duration, plan_describing
from .protocols import ProtocolCheck, check_protocols, recommended
from .run import Preflight, preflight
from .show import preflight_text, write_preflight
from .stains import StainSurvey
from .views import ViewFit, fit_views, fitting_views, unscaled

__all__ = ["Preflight", "ProtocolCheck", "StainSurvey", "ViewFit", "preflight"]
