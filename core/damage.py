"""What Python raises on a file that is damaged, so that every reader of our own files treats damage alike."""

from __future__ import annotations

import csv
import struct
import zipfile
import zlib

DAMAGE: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    ValueError,  # text that is no UTF-8, JSON or number; an array whose header lies
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,  # a zip that says it is encrypted, JSON nested without end, HDF5's own errors
    OverflowError,
    MemoryError,  # a header that promises more than there is memory
    SyntaxError,  # NumPy's reading of an array's header
    struct.error,
    zlib.error,
    csv.Error,
    zipfile.BadZipFile,
)
"""A file truncated, emptied, zeroed or altered anywhere raises one of these when it is read as a zip, NPZ, NPY, HDF5,
JSON or CSV file. For ``except`` around reading alone, since these are wide."""
