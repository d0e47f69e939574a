"""Pre-flight: what can be known of a dataset before the first image is described, as text, JSON and a page.

In: an `bchisto.crossval.ImageSelection` and the settings that are planned. Out: a `Preflight`: sizes, views that fit,
copies, protocols with what each fold lacks, time and disk.
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
