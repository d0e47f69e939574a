"""Cross-validation, whatever is trained: training over the folds, its result and outputs, the model file.

`bchisto.boost` and `bchisto.finetune` say what their units are (`Training`); shards, resuming, outputs and reports are
here, once.
"""

from .bundles import (
    BUNDLE_KIND,
    BUNDLE_SCHEMA,
    BundleFacts,
    TrainingImages,
    bundle_road,
    bundle_stores,
    bundle_view,
    open_bundle,
    write_bundle,
)
from .outputs import Outputs
from .result import CrossValidation
from .training import Tested, Training, cross_validate

__all__ = [
    "BUNDLE_KIND",
    "BUNDLE_SCHEMA",
    "BundleFacts",
    "CrossValidation",
    "Outputs",
    "Tested",
    "Training",
    "TrainingImages",
    "bundle_road",
    "bundle_stores",
    "bundle_view",
    "cross_validate",
    "open_bundle",
    "write_bundle",
]
