"""Made-up descriptors with the shape and the difficulty of real ones, for the benchmarks of stage 2."""

import numpy as np


def make_descriptors(images, augmentations, dim, *, classes=4, seed=0):
    """Non-negative descriptors (images, augmentations, dim) float32 and labels: classes overlap, augmentations vary.

    Images scatter in 60 directions of their own about the centre of their class; augmentations scatter less.
    """
    rng = np.random.default_rng(seed)
    labels = (np.arange(images) % classes).astype(np.int64)
    basis = rng.normal(0, 1, (60, dim)).astype(np.float32) / 8
    centres = rng.normal(0, 0.12, (classes, 60)).astype(np.float32)
    places = centres[labels] * 4 + rng.normal(0, 1, (images, 60)).astype(np.float32)
    features = (places @ basis)[:, None] + 0.3 * rng.standard_normal(
        (images, augmentations, dim), dtype=np.float32
    )
    return np.abs(features), labels
