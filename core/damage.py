"""The exceptions that Python raises on a damaged file, so that all readers of bchisto's files treat damage alike."""

from __future__ import annotations

import csv
import struct
import zipfile
import zlib

DAMAGE: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    ValueError,  # text that is not UTF-8, JSON or a number; an array with a wrong header
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,  # a zip marked as encrypted, JSON nested too deeply, HDF5's own errors
    OverflowError,
    MemoryError,  # a header that declares more than fits into memory
    SyntaxError,  # from NumPy, which parses an array's header
    struct.error,
    zlib.error,
    csv.Error,
    zipfile.BadZipFile,
)
"""Raised when a truncated, emptied, zeroed or altered file is read as a zip, NPZ, NPY, HDF5, JSON or CSV file.

Use it only in an ``except`` around the reading of a file, since these classes are broad.
"""
