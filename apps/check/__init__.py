"""Pre-flight: checks of a dataset before features are extracted, as text, JSON and an HTML page.

The input is a `bchisto.data.ImageSelection` and the planned settings. The result is a `Preflight`: image sizes, views
that fit, near-duplicates, protocols with the classes that each fold lacks, and estimates of time and disk space.
"""

from .plan import (
    ProtocolCheck,
    ViewFit,
    check_protocols,
    content_lines,
    fitted,
    log_reading,
    plan_describing,
    recommended,
    refuse_long,
    to_label,
    training_options,
    unscaled,
)
from .run import Preflight, StainSurvey, preflight
from .show import one_of_each, preflight_json, preflight_text, write_preflight

__all__ = ["Preflight", "ProtocolCheck", "StainSurvey", "ViewFit", "preflight"]
__dir__ = __all__.copy
