"""Images: decoding with guards, their content by hash, and restained copies.

Decoded images are ``uint8`` RGB arrays of shape (height, width, 3). Here stands what the rest of `bchisto.data` uses.
"""

from .container import BROKEN, ImageHeader
from .content import compare_contents, same_content, unique_images
from .copies import MOST_COMPARED, Copy, find_copies
from .decode import decode_image, decode_record, largest_sample, read_header
from .ljpeg import LJPEG_SUFFIX

__all__ = [
    "BROKEN",
    "LJPEG_SUFFIX",
    "MOST_COMPARED",
    "Copy",
    "ImageHeader",
    "compare_contents",
    "decode_image",
    "decode_record",
    "find_copies",
    "largest_sample",
    "read_header",
    "same_content",
    "unique_images",
]
