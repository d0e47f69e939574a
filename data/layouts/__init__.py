"""Layouts: one module per dataset, with its `LayoutSpec`: how it is recognised and read, and what is known of it.

In: a folder, or a manifest file. Out: a list of `ImageRecord` and a list of `Finding`. A module of this folder that has
a `LayoutSpec` called ``LAYOUT`` is a layout, and so is an entry point of the group ``bchisto.datasets``; no other file
lists them.
"""

from .breakhis import BREAKHIS_NAME
from .cbis_ddsm import CBIS_NAME
from .context import CONTEXTS, show_context
from .idc import IDC_NAME
from .known import DATASET_NAMES, KNOWN_CLASSES, MAMMOGRAMS, known_classes, known_positive, order_classes
from .manifest import GROUP_COLUMNS
from .recognise import recognise_layout
from .registry import find_layout, get_layout, list_layouts
from .spec import LABEL_LEVELS, LESIONS, OWN_OPTIONS, LayoutSpec

__all__ = [
    "BREAKHIS_NAME",
    "CBIS_NAME",
    "CONTEXTS",
    "DATASET_NAMES",
    "GROUP_COLUMNS",
    "IDC_NAME",
    "KNOWN_CLASSES",
    "LABEL_LEVELS",
    "LESIONS",
    "MAMMOGRAMS",
    "OWN_OPTIONS",
    "LayoutSpec",
    "find_layout",
    "get_layout",
    "known_classes",
    "known_positive",
    "list_layouts",
    "order_classes",
    "recognise_layout",
    "show_context",
]
