"""Whatever reads files that a stranger may have written: pictures, archives, HDF5, tables, YAML and JSON.

One contract: each reader returns plain checked values, or raises one of `bchisto.core`. Sizes are compared with
limits before memory is taken, nothing that a file holds is run, and no other file is opened because of it.
"""

from . import limits
from .archive import Archive, check_archive_size
from .bounds import check_zip, parse_json
from .cells import Cells, neutral, read_records, read_rows, unneutral
from .container import BROKEN, ImageHeader
from .damage import DAMAGE
from .decode import decode_image, largest_sample, read_header
from .hdf5 import check_tree, checked_dataset, hdf5_reason, hdf5_trouble, open_for_reading
from .hdf5_probe import refuse_deadly
from .ljpeg import LJPEG_SUFFIX
from .slides import SLIDE, is_slide
from .tables import table_rows
from .yamltext import parse_yaml

__all__ = [
    "BROKEN",
    "DAMAGE",
    "LJPEG_SUFFIX",
    "SLIDE",
    "Archive",
    "Cells",
    "ImageHeader",
    "check_archive_size",
    "check_tree",
    "check_zip",
    "checked_dataset",
    "decode_image",
    "hdf5_reason",
    "hdf5_trouble",
    "is_slide",
    "largest_sample",
    "limits",
    "neutral",
    "open_for_reading",
    "parse_json",
    "parse_yaml",
    "read_header",
    "read_records",
    "read_rows",
    "refuse_deadly",
    "table_rows",
    "unneutral",
]
