"""Types of the arrays that classifiers accept and return."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]
"""Positions of images, or class numbers."""

Features = npt.NDArray[np.float32]
"""Features of shape (images, augmentations, d)."""

Probabilities = npt.NDArray[np.float64]
"""Probabilities of shape (images, classes)."""
