"""Layouts of datasets: one module per dataset, with a `LayoutSpec` that describes how it is recognised and read.

The input is a folder or a manifest file. The output is a list of `ImageRecord` and a list of `Finding`. Layouts are
those that `registry.built_in_layouts` lists, and all entry points of the group ``bchisto.datasets``.

This module exports what the other modules of `bchisto.data` use.
"""

from .breakhis import BREAKHIS_NAME
from .idc import IDC_NAME
from .manifest import BESIDE
from .registry import (
    LABEL_LEVELS,
    LESIONS,
    LayoutReading,
    LayoutSpec,
    built_in_layouts,
    find_layout,
    join_classes,
    list_layouts,
    order_classes,
    patient_in,
    recognise_layout,
)
