"""Readers of files from untrusted sources: images, archives, HDF5, tables, YAML and JSON.

Every reader returns plain, checked values or raises an error of `bchisto.core`. Readers compare sizes with limits
before they allocate memory, never run code from a file, and never open other files that a file refers to.
"""

from . import limits
from .columns import (
    FEATURES,
    FOLD,
    GROUP,
    IMAGE,
    LABEL,
    MPP,
    PART,
    PATH,
    PATIENT,
    PREDICTED,
    Role,
    choose_column,
    has_column,
    is_missing,
    may_hold_patients,
    unit_named,
)
from .csvtable import CsvTable, column_key, read_cells, read_csv, read_records, read_rows
from .decode import as_stored, decode_given, decode_image, largest_sample, read_header
from .dicom import DICOM_SUFFIXES, slide_instance
from .files import (
    SLIDE,
    SLIDE_SUFFIXES,
    Array,
    Flags,
    Floats,
    Floats32,
    ImageHeader,
    Integers,
    Pixels,
    Remark,
    content_sha256,
    file_identity,
    file_sha256,
    mistaken,
    plausible_mpp,
    published_rows,
    reading,
)
from .hdf5 import check_tree, checked_dataset, open_for_reading, refuse_deadly
from .pictures import LJPEG_SUFFIX, check_jpeg, coded_size
from .tables import FramePath, NamedPath, as_frame, row_in, table_rows
from .texts import (
    decimal_of,
    fits,
    is_text,
    number_of,
    open_zip,
    parse_json,
    parse_yaml,
    read_json,
    visible,
)
from .tiff import ome_images, pixel_sizes
