"""Pre-flight: checks of a dataset before features are extracted, as text, JSON and an HTML page.

The input is a `bchisto.data.ImageSelection` and the planned settings. The result is a `Preflight`: image sizes, views
that fit, near-duplicates, protocols with the classes that each fold lacks, and estimates of time and disk space.
"""

from .page import choose_records, write_preflight
from .plan import chosen_settings, duration, plan_describing
from .protocols import ProtocolCheck, check_protocols
from .run import Preflight, preflight
from .text import preflight_content, preflight_text
from .views import StainSurvey, ViewFit, fit_views, fitting_views, unscaled

__all__ = ["Preflight", "ProtocolCheck", "StainSurvey", "ViewFit", "preflight"]
