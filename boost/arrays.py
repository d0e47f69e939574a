"""The kinds of array that heads take and give."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]
"""Positions, of images or of their classes."""

Features = npt.NDArray[np.float32]
"""Descriptors of shape (images, augmentations, d)."""

Probabilities = npt.NDArray[np.float64]
"""Of shape (images, classes)."""
