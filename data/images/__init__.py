"""Images of a dataset: decoding, checksums, near-duplicates, and restaining.

Decoded images are ``uint8`` RGB arrays of shape (height, width, 3). This module exports what the other modules of
`bchisto.data` use.
"""

from .content import ImageFiles, UniqueImages, compare_contents, pixel_findings, unique_images
from .copies import MOST_COMPARED, Contents, Copy, Fingerprint, find_copies
from .decode import given_record, header_findings, headers_of, other_sizes
