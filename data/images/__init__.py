"""Images of a dataset: decoded by record, their content by hash, copies, and restained ones.

Decoded images are ``uint8`` RGB arrays of shape (height, width, 3). Here stands what the rest of `bchisto.data` uses.
"""

from .content import compare_contents, same_content, unique_images
from .copies import MOST_COMPARED, Copy, find_copies
from .decode import decode_record

__all__ = [
    "MOST_COMPARED",
    "Copy",
    "compare_contents",
    "decode_record",
    "find_copies",
    "same_content",
    "unique_images",
]
