"""The encoder ``means``: mean and spread of the colours of a crop, by NumPy alone."""

import hashlib

import numpy as np
from bchisto.encoders import EncoderCard, VectorSpec


def build(outputs, weights):
    """Return the function from normalised images to vectors, and the hash of its weights, of which it has none."""
    if weights != "imagenet":
        raise ValueError("means has no weights; leave them out")
    parts = {"mean": np.mean, "spread": np.std}

    def run(images):
        return np.concatenate([parts[name](images, axis=(1, 2)) for name in outputs], axis=1)

    return run, hashlib.sha256(b"means 1").hexdigest()


MEANS = VectorSpec(
    name="means",
    card=EncoderCard(
        size=16,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        licence="MIT",
        outputs=("mean", "spread"),
    ),
    outputs={"mean": 3, "spread": 3},
    build=build,
)
