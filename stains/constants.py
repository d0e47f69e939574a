"""Constants of stain normalisation and augmentation, each with its source."""

from __future__ import annotations

from typing import Final

import numpy as np

TRANSMITTED_LIGHT: Final = 240.0
"""Intensity of light through empty glass, grey levels. Rakhlin et al. 2018, published code."""

MACENKO_BETA: Final = 0.15
"""A pixel is tissue where all three optical densities (natural log) reach this. Macenko et al. 2009, sec. 2;
Rakhlin et al. 2018, published code."""

MACENKO_ALPHA: Final = 1.0
"""Percentile (and 100 minus it) of the angle taken as the extreme stains. Macenko et al. 2009, sec. 2."""

MACENKO_MAX_PERCENTILE: Final = 99.0
"""Percentile of a stain's concentration taken as its maximum. Macenko et al. 2009, sec. 2."""

REFERENCE_STAINS: Final = np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]])
"""Reference stain matrix: rows red, green, blue; columns haematoxylin, eosin (natural-log optical density).
Rakhlin et al. 2018, published code, after the reference implementation of Macenko et al. 2009."""

REFERENCE_MAXIMA: Final = np.array([1.9705, 1.0308])
"""Reference 99th percentiles of the haematoxylin and eosin concentrations. Source as `REFERENCE_STAINS`."""

MIN_TISSUE_PIXELS: Final = 100
"""Fewer tissue pixels than this are too little to estimate stains from (ours; a 1st percentile of fewer
pixels is the minimum)."""

RANK_TOLERANCE: Final = 1e-6
"""The tissue covariance is rank deficient where its second eigenvalue is below this share of the first
(ours; a uint8 image of one flat colour with rounding noise stays below it)."""

RUIFROK_TO_HED: Final = np.array([[1.88, -0.07, -0.60], [-1.02, 1.13, -0.48], [-0.55, -0.13, 1.57]])
"""Deconvolution matrix D: c = od D^T with od a row (log10). Ruifrok & Johnston 2001, sec. "Color
deconvolution", rounded to two decimals as in the published code of Rakhlin et al. 2018."""

RUIFROK_FROM_HED: Final = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Stain matrix M: rows haematoxylin, eosin, residual. It inverts D^T only to two decimals, so factors of 1 are
nearly but not exactly the identity. Source as `RUIFROK_TO_HED`."""
