"""Layouts: one module per dataset, with its `LayoutSpec`: how it is recognised and read, and what is known of it.

In: a folder, or a manifest file. Out: a list of `ImageRecord` and a list of `Finding`. A module of this folder that has
a `LayoutSpec` called ``LAYOUT`` is a layout, and so is an entry point of the group ``bchisto.datasets``; no other file
lists them.

Here stands what the rest of `bchisto.data` uses.
"""

from .breakhis import BREAKHIS_NAME
from .cbis_ddsm import CBIS_NAME
from .context import CONTEXTS, show_context
from .idc import IDC_NAME
from .registry import (
    DATASET_NAMES,
    MAMMOGRAMS,
    built_in_layouts,
    find_layout,
    get_layout,
    known_classes,
    layouts_with,
    list_layouts,
    order_classes,
    recognise_layout,
)
from .spec import LABEL_LEVELS, LESIONS

__all__ = [
    "BREAKHIS_NAME",
    "CBIS_NAME",
    "CONTEXTS",
    "DATASET_NAMES",
    "IDC_NAME",
    "LABEL_LEVELS",
    "LESIONS",
    "MAMMOGRAMS",
    "built_in_layouts",
    "find_layout",
    "get_layout",
    "known_classes",
    "layouts_with",
    "list_layouts",
    "order_classes",
    "recognise_layout",
    "show_context",
]
