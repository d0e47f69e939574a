"""Datasets: readers of the official layouts into one table, guarded decoding, folds, checks, synthetic tissue.

A `Dataset` is a table of images, one `ImageRecord` each. Decoded images are ``uint8`` RGB arrays of shape
(height, width, 3).
"""

from ..formats import ImageHeader, decode_image, read_header
from .changes import ImageChange, Known
from .check import DatasetSurvey, check_dataset, check_stain, dark_pictures, survey_dataset
from .classes import check_order, match_class, missing_labels, settle_labels, spell_labels
from .columns import FEATURES, FOLD, GROUP, IMAGE, LABEL, PREDICTED, Role, choose_column, is_missing, may_hold_patients
from .csvtable import CsvTable, column_key, read_csv
from .dataset import IMAGE_SUFFIXES, SYNTHETIC_BANNER, Dataset, ImageRecord
from .findings import Finding, few, grouped, pairs_alike, report_findings, stain_notes
from .folds.choice import FoldChoice
from .folds.folds import fold_plan, fold_plans, read_fold_list, write_fold_list
from .folds.plans import FoldPlan, repeat_folds
from .folds.protocols import PUBLISHED_FOLDS, protocol_text, published_folds
from .folds.split import inner_splits
from .folds.units import unknown_groups
from .groups import settle_groups
from .images.content import (
    CROP_SEEDS,
    UniqueImages,
    content_sha256,
    crop_key,
    file_sha256,
    pixels_sha256,
    record_sha256,
    unique_images,
)
from .images.copies import MOST_COMPARED, Copy, find_copies
from .images.decode import decode_record, decode_whole, resize_image, scaled_side
from .images.restain import RestainResult, stain_images
from .labels import LabelTable, read_labels
from .layouts.registry import (
    DATASET_NAMES,
    KNOWN_CLASSES,
    MAMMOGRAMS,
    find_layout,
    get_layout,
    known_classes,
    known_positive,
    list_layouts,
    order_classes,
)
from .layouts.spec import OWN_OPTIONS, LayoutSpec
from .lists import only_listed, read_image_list
from .particulars import (
    GIVEN,
    PARTICULARS,
    Particulars,
    further_columns,
    given_parts,
    read_particulars,
    write_particulars,
)
from .read import read_dataset
from .selection import ImageSelection, Needs, OpenedImages, check_headers
from .synthetic import make_bach, make_tissue
from .walk import walk_files

__all__ = [
    "CROP_SEEDS",
    "DATASET_NAMES",
    "FEATURES",
    "FOLD",
    "GIVEN",
    "GROUP",
    "IMAGE",
    "IMAGE_SUFFIXES",
    "KNOWN_CLASSES",
    "LABEL",
    "MAMMOGRAMS",
    "MOST_COMPARED",
    "OWN_OPTIONS",
    "PARTICULARS",
    "PREDICTED",
    "PUBLISHED_FOLDS",
    "SYNTHETIC_BANNER",
    "Copy",
    "CsvTable",
    "Dataset",
    "DatasetSurvey",
    "Finding",
    "FoldChoice",
    "FoldPlan",
    "ImageChange",
    "ImageHeader",
    "ImageRecord",
    "ImageSelection",
    "Known",
    "LabelTable",
    "LayoutSpec",
    "Needs",
    "OpenedImages",
    "Particulars",
    "RestainResult",
    "Role",
    "UniqueImages",
    "check_dataset",
    "check_headers",
    "check_order",
    "check_stain",
    "choose_column",
    "column_key",
    "content_sha256",
    "crop_key",
    "dark_pictures",
    "decode_image",
    "decode_record",
    "decode_whole",
    "few",
    "file_sha256",
    "find_copies",
    "find_layout",
    "fold_plan",
    "fold_plans",
    "further_columns",
    "get_layout",
    "given_parts",
    "grouped",
    "inner_splits",
    "is_missing",
    "known_classes",
    "known_positive",
    "list_layouts",
    "make_bach",
    "make_tissue",
    "match_class",
    "may_hold_patients",
    "missing_labels",
    "only_listed",
    "order_classes",
    "pairs_alike",
    "pixels_sha256",
    "protocol_text",
    "published_folds",
    "read_csv",
    "read_dataset",
    "read_fold_list",
    "read_header",
    "read_image_list",
    "read_labels",
    "read_particulars",
    "record_sha256",
    "repeat_folds",
    "report_findings",
    "resize_image",
    "scaled_side",
    "settle_groups",
    "settle_labels",
    "spell_labels",
    "stain_images",
    "stain_notes",
    "survey_dataset",
    "unique_images",
    "unknown_groups",
    "walk_files",
    "write_fold_list",
    "write_particulars",
]
