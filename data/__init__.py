"""Datasets: reading of published layouts, safe decoding, folds, checks, and synthetic tissue.

A `Dataset` is a table with one `ImageRecord` per image. Decoded images are ``uint8`` RGB arrays of shape
(height, width, 3).
"""

from ..core.formats import decode_image
from .check import DatasetSurvey, survey_dataset
from .classes import (
    check_order,
    join_labels,
    likeness,
    match_class,
    missing_labels,
    not_among,
    spell_labels,
)
from .dataset import (
    CHOSEN,
    DRAWN,
    FACTS_FILE,
    GIVEN,
    NOT_DRAWN,
    SYNTHETIC_BANNER,
    Box,
    Dataset,
    DatasetFacts,
    ImageRecord,
    Look,
    chosen_notes,
    drawn_or_not,
    facts_files,
    facts_of,
    given_parts,
    read_dataset_facts,
    write_dataset_facts,
)
from .findings import Finding, grouped, mixes_patients, report_findings, warn_left_out
from .folds.folds import (
    FOLD_COLUMNS,
    FoldChoice,
    dataset_plan,
    fold_plan,
    read_splits,
    write_fold_list,
    write_fold_rows,
)
from .folds.plans import FoldPlan, shared_groups, unknown_groups
from .folds.protocols import PUBLISHED_FOLDS, protocol_text, published_folds
from .folds.split import inner_splits
from .frames import Frame, Image, image_paths, image_records, with_files
from .images.content import (
    ImageFiles,
    UniqueImages,
    crop_key,
    is_blank,
    pixel_findings,
    pixels_sha256,
    record_sha256,
    unique_images,
)
from .images.copies import FINGERPRINT, Copy, Fingerprint, find_copies, fingerprint
from .images.decode import (
    decode_record,
    decode_whole,
    given_record,
    header_findings,
    resize_image,
    scaled_side,
    shrink_image,
    with_headers,
)
from .images.restain import stain_images
from .layouts.bach import BACH_MPP
from .layouts.breakhis import breakhis_mpp
from .layouts.manifest import spacing_of
from .layouts.registry import (
    LayoutSpec,
    default_positive,
    get_layout,
    join_classes,
    known_classes,
    list_layouts,
    order_classes,
    unit_names,
)
from .names import match_names
from .path_rules import NO_GROUPS, PathRule
from .patients import REPEATED, doubts_at_sites, join_groups, part_of_names, repeats_names
from .selection import ImageSelection, LeastSize, OpenedImages, check_headers, read_dataset
from .synthetic import make_bach, make_tissue
from .walk import SYSTEM, list_images, walk_files

__all__ = [
    "Copy",
    "Dataset",
    "DatasetSurvey",
    "Finding",
    "FoldChoice",
    "FoldPlan",
    "Image",
    "ImageRecord",
    "ImageSelection",
    "LayoutSpec",
    "decode_image",
    "find_copies",
    "get_layout",
    "list_layouts",
    "make_bach",
    "make_tissue",
    "pixels_sha256",
    "published_folds",
    "read_dataset",
    "read_dataset_facts",
    "read_splits",
    "survey_dataset",
    "unique_images",
    "walk_files",
]
__dir__ = __all__.copy
