"""Layouts of mammograms: INbreast, DDSM and CBIS-DDSM, and the contexts of their abnormalities."""

from .cbis_ddsm import CBIS_NAME
from .context import CONTEXTS, show_context
