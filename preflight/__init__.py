"""Pre-flight: checks of a dataset before features are extracted, as text, JSON and an HTML page.

The input is a `bchisto.data.ImageSelection` and the planned settings. The result is a `Preflight`: image sizes, views
that fit, near-duplicates, protocols with the classes that each fold lacks, and estimates of time and disk space.
"""

from .estimate import DescribingEstimate, duration, estimate_describing
from .page import preflight_text, write_preflight
from .pictures import ContactPicture, choose_records, contact_sheet
from .plan import plan_describing
from .protocols import FoldParts, ProtocolCheck, check_protocols
from .run import Preflight, preflight
from .stains import StainSurvey, survey_stains
from .views import PlannedViews, ViewFit, fit_views, fitting_views, unscaled

__all__ = [
    "ContactPicture",
    "DescribingEstimate",
    "FoldParts",
    "PlannedViews",
    "Preflight",
    "ProtocolCheck",
    "StainSurvey",
    "ViewFit",
    "check_protocols",
    "choose_records",
    "contact_sheet",
    "duration",
    "estimate_describing",
    "fit_views",
    "fitting_views",
    "plan_describing",
    "preflight",
    "preflight_text",
    "survey_stains",
    "unscaled",
    "write_preflight",
]
