"""The model file: an archive of arrays and JSON, with a checked manifest."""

from .archive import Archive, check_archive_size, pack_arrays, unpack_arrays
from .bundles import (
    BundleFacts,
    Member,
    TrainingImages,
    bundle_kind,
    bundle_lines,
    bundle_stores,
    bundle_view,
    open_bundle,
    stores_of,
)

__all__ = ["BundleFacts", "open_bundle"]
