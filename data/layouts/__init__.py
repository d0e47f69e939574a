"""Layouts: one module per dataset, which recognises its files and reads them into image records.

In: a folder, or a manifest file. Out: a list of `ImageRecord` and a list of `Finding`.
"""

from .bach import BACH_CLASSES, BACH_SIZE, find_photos, read_bach
from .breakhis import BREAKHIS_NAME, BREAKHIS_SIZE, BREAKHIS_TYPES, read_breakhis
from .cbis_ddsm import CBIS_NAME, CBIS_TABLE, read_cbis_ddsm
from .context import CONTEXTS, show_context
from .ddsm import PATHOLOGY_CLASSES, read_ddsm
from .folder import check_split_folders, read_folder
from .idc import IDC_CLASSES, IDC_NAME, IDC_SIZE, read_idc
from .inbreast import BIRADS_CLASSES, INBREAST_NAME, PRIVATE_FOLDERS, read_inbreast
from .manifest import read_manifest

__all__ = [
    "BACH_CLASSES",
    "BACH_SIZE",
    "BIRADS_CLASSES",
    "BREAKHIS_NAME",
    "BREAKHIS_SIZE",
    "BREAKHIS_TYPES",
    "CBIS_NAME",
    "CBIS_TABLE",
    "CONTEXTS",
    "IDC_CLASSES",
    "IDC_NAME",
    "IDC_SIZE",
    "INBREAST_NAME",
    "PATHOLOGY_CLASSES",
    "PRIVATE_FOLDERS",
    "check_split_folders",
    "find_photos",
    "read_bach",
    "read_breakhis",
    "read_cbis_ddsm",
    "read_ddsm",
    "read_folder",
    "read_idc",
    "read_inbreast",
    "read_manifest",
    "show_context",
]
