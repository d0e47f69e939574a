"""Trees of small images, and what is found in them."""

import numpy as np
from PIL import Image


def picture(path, seed=0, size=(30, 40)):
    """Write an image of random pixels; `size` is its height and width."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)).save(
        path
    )


def tree(root, *names, size=(12, 16)):
    """Write an image for each path; equal seeds would be equal images."""
    for seed, name in enumerate(names):
        picture(root / name, seed, size)
    return root


def findings(dataset, level):
    return [str(finding) for finding in dataset.findings if finding.level == level]
