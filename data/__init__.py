"""Datasets: readers of the official layouts into one table, guarded decoding, folds, checks, synthetic tissue.

A `Dataset` is a table of images, one `ImageRecord` each. Decoded images are ``uint8`` RGB arrays of shape
(height, width, 3).
"""

from .check import check_dataset, check_stain
from .classes import check_order, match_class, settle_labels, spell_labels
from .dataset import SYNTHETIC_BANNER, Dataset, ImageRecord
from .findings import Finding, few, report_findings
from .folds import (
    PUBLISHED_FOLDS,
    FoldPlan,
    fold_plan,
    fold_plans,
    inner_splits,
    protocol_text,
    published_folds,
    read_fold_list,
    write_fold_list,
)
from .images import (
    CROP_SEEDS,
    ImageHeader,
    RestainResult,
    UniqueImages,
    content_sha256,
    crop_key,
    decode_image,
    decode_record,
    file_sha256,
    pixels_sha256,
    read_header,
    resize_image,
    scaled_side,
    stain_images,
    unique_images,
)
from .layouts import (
    DATASET_NAMES,
    KNOWN_CLASSES,
    MAMMOGRAMS,
    LayoutSpec,
    get_layout,
    known_classes,
    known_positive,
    list_layouts,
    order_classes,
)
from .lists import only_listed, read_image_list
from .read import read_dataset
from .synthetic import make_bach
from .walk import walk_files

__all__ = [
    "CROP_SEEDS",
    "DATASET_NAMES",
    "KNOWN_CLASSES",
    "MAMMOGRAMS",
    "PUBLISHED_FOLDS",
    "SYNTHETIC_BANNER",
    "Dataset",
    "Finding",
    "FoldPlan",
    "ImageHeader",
    "ImageRecord",
    "LayoutSpec",
    "RestainResult",
    "UniqueImages",
    "check_dataset",
    "check_order",
    "check_stain",
    "content_sha256",
    "crop_key",
    "decode_image",
    "decode_record",
    "few",
    "file_sha256",
    "fold_plan",
    "fold_plans",
    "get_layout",
    "inner_splits",
    "known_classes",
    "known_positive",
    "list_layouts",
    "make_bach",
    "match_class",
    "only_listed",
    "order_classes",
    "pixels_sha256",
    "protocol_text",
    "published_folds",
    "read_dataset",
    "read_fold_list",
    "read_header",
    "read_image_list",
    "report_findings",
    "resize_image",
    "scaled_side",
    "settle_labels",
    "spell_labels",
    "stain_images",
    "unique_images",
    "walk_files",
    "write_fold_list",
]
