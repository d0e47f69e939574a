"""Readers of files from untrusted sources: images, archives, HDF5, tables, YAML and JSON.

Every reader returns plain, checked values or raises an error of `bchisto.core`. Readers compare sizes with limits
before they allocate memory, never run code from a file, and never open other files that a file refers to.
"""

from . import limits
from .archive import Archive, check_archive_size
from .columns import (
    FEATURES,
    FOLD,
    GROUP,
    IMAGE,
    LABEL,
    MPP,
    PART,
    PATH,
    PREDICTED,
    Role,
    choose_column,
    is_missing,
    may_hold_patients,
    same_name,
)
from .container import BROKEN, ImageHeader, plausible_mpp
from .csvtable import CsvTable, column_key, published_rows, read_cells, read_csv, read_records, read_rows
from .decode import as_stored, decode_image, largest_sample, read_header
from .files import SLIDE, content_sha256, file_identity, file_sha256, is_slide, mistaken, reading
from .hdf5 import check_tree, checked_dataset, hdf5_reason, hdf5_trouble, open_for_reading, refuse_deadly
from .jpeg import LJPEG_SUFFIX
from .spreadsheets import TableFacts, decimal_of
from .tables import table_rows
from .texts import check_zip, number_of, parse_json, parse_yaml, read_json, visible

__all__ = [
    "BROKEN",
    "FEATURES",
    "FOLD",
    "GROUP",
    "IMAGE",
    "LABEL",
    "LJPEG_SUFFIX",
    "MPP",
    "PART",
    "PATH",
    "PREDICTED",
    "SLIDE",
    "Archive",
    "CsvTable",
    "ImageHeader",
    "Role",
    "TableFacts",
    "as_stored",
    "check_archive_size",
    "check_tree",
    "check_zip",
    "checked_dataset",
    "choose_column",
    "column_key",
    "content_sha256",
    "decimal_of",
    "decode_image",
    "file_identity",
    "file_sha256",
    "hdf5_reason",
    "hdf5_trouble",
    "is_missing",
    "is_slide",
    "largest_sample",
    "limits",
    "may_hold_patients",
    "mistaken",
    "number_of",
    "open_for_reading",
    "parse_json",
    "parse_yaml",
    "plausible_mpp",
    "published_rows",
    "read_cells",
    "read_csv",
    "read_header",
    "read_json",
    "read_records",
    "read_rows",
    "reading",
    "refuse_deadly",
    "same_name",
    "table_rows",
    "visible",
]
