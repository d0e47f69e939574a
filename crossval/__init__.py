"""Cross-validation, whatever is trained: training over the folds, its result and outputs, the model file.

`bchisto.boost` and `bchisto.finetune` say what their units are (`Training`); shards, resuming, outputs and reports are
here, once.
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
