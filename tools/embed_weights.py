"""Write the weights that the wheel holds: a network of Keras with kernels of 16 bits.

Each output channel of a kernel is integers times one float32, so that its largest weight is 32767 times it; vectors are
float32. Prints the SHA-256 for ``EMBEDDED`` in ``encoders/registry.py``.

    python tools/embed_weights.py mobilenetv2_imagenet.weights.h5 encoders/published/mobilenetv2.npz
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
from bchisto.encoders import variables_of
from bchisto.encoders.encoder import build_backbone

LARGEST = 32767


def channel_axes(shape: tuple[int, ...], *, layer: str) -> tuple[int, ...]:
    """Return the axes of a kernel that are not its output channels."""
    if "depthwise" in layer:  # rows, columns, channels, 1
        return (0, 1, 3)
    return tuple(range(len(shape) - 1))


def main(source: str, out: str) -> None:
    """Read the weights of the network that `out` is named by, and write them."""
    arrays = {}
    for layer, name, variable in variables_of(build_backbone(Path(out).stem, weights=source).model):
        value = np.asarray(variable.value, dtype=np.float32)
        key = f"{layer}/{name}"
        arrays[key] = value
        if value.ndim > 1:
            largest = np.abs(value).max(axis=channel_axes(value.shape, layer=layer), keepdims=True)
            scale = np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
            arrays[key] = np.rint(value / scale).astype(np.int16)
            arrays[f"{key}/scale"] = scale
    np.savez(out, **arrays)
    content = Path(out).read_bytes()
    print(f"{len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
