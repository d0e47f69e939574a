"""Images of a dataset: decoding, checksums, near-duplicates, and restaining.

Decoded images are ``uint8`` RGB arrays of shape (height, width, 3). This module exports what the other modules of
`bchisto.data` use.
"""

from .content import ImageFiles, UniqueImages, compare_contents, is_blank, pixel_findings, same_content, unique_images
from .copies import MOST_COMPARED, Copy, Pixels, find_copies
from .decode import decode_record, header_findings, headers_of, read_headers, scaled_side

__all__ = [
    "MOST_COMPARED",
    "Copy",
    "ImageFiles",
    "Pixels",
    "UniqueImages",
    "compare_contents",
    "decode_record",
    "find_copies",
    "header_findings",
    "headers_of",
    "is_blank",
    "pixel_findings",
    "read_headers",
    "same_content",
    "scaled_side",
    "unique_images",
]
