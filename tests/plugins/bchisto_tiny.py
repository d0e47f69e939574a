"""An encoder of another package, for the tests: one layer of random numbers by NumPy alone, no network to import."""

import hashlib
from pathlib import Path

import numpy as np
from bchisto.encoders import EncoderCard, VectorSpec

SIDE, OUTPUTS = 4, {"last": 16, "middle": 12}


def build(outputs, weights):
    """Return the function from normalised images to vectors, and the hash of its weights: any file seeds them."""
    if weights == "imagenet":
        raise ValueError("tiny has no published weights")
    content = b"0" if weights == "random" else Path(weights).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    rng = np.random.default_rng(int(sha256[:8], 16))
    kernels = [
        rng.normal(size=(SIDE * SIDE * 3, OUTPUTS[name])).astype(np.float32) for name in outputs
    ]

    def run(images):
        n, height, width, _ = images.shape
        rows, columns = height // SIDE, width // SIDE
        tiles = images[:, : rows * SIDE, : columns * SIDE].reshape(n, rows, SIDE, columns, SIDE, 3)
        tiles = tiles.swapaxes(2, 3).reshape(n, rows * columns, -1)
        return np.concatenate(
            [np.maximum(tiles @ kernel, 0).mean(axis=1) for kernel in kernels], axis=1
        )

    return run, sha256


def tiny_weights(path, *, seed):
    """Write a file of weights; those of seed 0 are those called random."""
    path.write_text(str(seed))


TINY = VectorSpec(
    name="tiny",
    card=EncoderCard(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), outputs=tuple(OUTPUTS)),
    outputs=OUTPUTS,
    build=build,
)
