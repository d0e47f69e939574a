"""Cross-validation of any kind of model: training over the folds, results, outputs and the model file.

`bchisto.boost` and `bchisto.finetune` define what they train, as subclasses of `Training`. This package holds what both
share: shards, resuming, outputs and reports.
"""

from .arrays import pack_arrays, unpack_arrays
from .bundles import (
    BUNDLE_KIND,
    BUNDLE_SCHEMA,
    BundleFacts,
    TrainingImages,
    bundle_kind,
    bundle_lines,
    bundle_stores,
    bundle_view,
    open_bundle,
    write_bundle,
)
from .card import write_card
from .outputs import Outputs
from .result import CrossValidation
from .training import LabelledImages, Training, cross_validate

__all__ = [
    "BUNDLE_KIND",
    "BUNDLE_SCHEMA",
    "BundleFacts",
    "CrossValidation",
    "LabelledImages",
    "Outputs",
    "Training",
    "TrainingImages",
    "bundle_kind",
    "bundle_lines",
    "bundle_stores",
    "bundle_view",
    "cross_validate",
    "open_bundle",
    "pack_arrays",
    "unpack_arrays",
    "write_bundle",
    "write_card",
]
