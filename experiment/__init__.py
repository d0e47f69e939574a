"""What every road shares: a selection of images, folds, how work is done, doing what is missing, the result.

Commands, library functions and recipes pass these values on whole. A road says what its units are (`Training`); claims,
shards, resuming, outputs and reports are here, once.
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
    read_crop_seed,
    write_bundle,
)
from .changes import ImageChange, Known
from .missing import UnitSpec, do_missing
from .outputs import Outputs
from .protocol import FoldChoice
from .result import CrossValidation
from .selection import ImageSelection, Needs, OpenedImages, check_headers
from .training import Tested, Training, cross_validate
from .work import Work

__all__ = [
    "BUNDLE_KIND",
    "BUNDLE_SCHEMA",
    "BundleFacts",
    "CrossValidation",
    "FoldChoice",
    "ImageChange",
    "ImageSelection",
    "Known",
    "Needs",
    "OpenedImages",
    "Outputs",
    "Tested",
    "Training",
    "TrainingImages",
    "UnitSpec",
    "Work",
    "bundle_road",
    "bundle_stores",
    "bundle_view",
    "check_headers",
    "cross_validate",
    "do_missing",
    "open_bundle",
    "read_crop_seed",
    "write_bundle",
]
