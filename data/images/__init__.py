"""Images of a dataset: decoded by record, their content by hash, copies, and restained ones.

Decoded images are ``uint8`` RGB arrays of shape (height, width, 3). Here stands what the rest of `bchisto.data` uses.
"""

from .content import ImageFiles, UniqueImages, compare_contents, same_content, unique_images
from .copies import MOST_COMPARED, Copy, find_copies
from .decode import decode_record, scaled_side

__all__ = [
    "MOST_COMPARED",
    "Copy",
    "ImageFiles",
    "UniqueImages",
    "compare_contents",
    "decode_record",
    "find_copies",
    "same_content",
    "scaled_side",
    "unique_images",
]
