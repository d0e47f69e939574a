"""Images: decoding with guards, their content by hash, and restained copies.

Decoded images are ``uint8`` RGB arrays of shape (height, width, 3).
"""

from .container import BROKEN
from .content import (
    CROP_SEEDS,
    UniqueImages,
    content_sha256,
    crop_key,
    file_sha256,
    pixels_sha256,
    record_sha256,
    same_content,
    unique_images,
)
from .copies import MOST_COMPARED, Copy, find_copies
from .decode import ImageHeader, decode_image, decode_record, decode_whole, read_header, resize_image, scaled_side
from .ljpeg import LJPEG_SUFFIX
from .restain import RestainResult, stain_images

__all__ = [
    "BROKEN",
    "CROP_SEEDS",
    "LJPEG_SUFFIX",
    "MOST_COMPARED",
    "Copy",
    "ImageHeader",
    "RestainResult",
    "UniqueImages",
    "content_sha256",
    "crop_key",
    "decode_image",
    "decode_record",
    "decode_whole",
    "file_sha256",
    "find_copies",
    "pixels_sha256",
    "read_header",
    "record_sha256",
    "resize_image",
    "same_content",
    "scaled_side",
    "stain_images",
    "unique_images",
]
