"""Layouts of mammograms: INbreast, DDSM and CBIS-DDSM."""

from .cbis_ddsm import CBIS_NAME
