"""Encoders that give a vector for a crop and have no feature map: what surrounds the network, whoever runs it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError, WeightsError
from .card import EncoderCard, check_crops

__all__ = ["Run", "VectorEncoder", "identity", "normalised"]

Run = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
"""Normalised images, float32 of shape (n, size, size, 3), to vectors, float32 of shape (n, d)."""


def identity(card: EncoderCard, **what: Any) -> str:
    """Return the hash of what decides the vectors of an encoder: its weights, and how pixels are treated before."""
    treated = {"size": card.size, "mean": card.mean, "std": card.std, "interpolation": card.interpolation}
    return hashlib.sha256(json.dumps({**treated, **what}, sort_keys=True).encode()).hexdigest()


def normalised(crops: npt.NDArray[np.uint8], card: EncoderCard) -> npt.NDArray[np.float32]:
    """Resize crops to what the network takes, and normalise their pixels.

    Parameters
    ----------
    crops : ndarray of uint8, shape (n, height, width, 3)
    card : EncoderCard

    Returns
    -------
    ndarray of float32, shape (n, size, size, 3)
        The whole crop, resized as Pillow does (with antialiasing): nothing is cut off at its edges.
    """
    if card.size is not None and crops.shape[1:3] != (card.size, card.size):
        from PIL import Image

        how = Image.Resampling[card.interpolation.upper()]
        size = (card.size, card.size)
        crops = np.stack([np.asarray(Image.fromarray(np.ascontiguousarray(one)).resize(size, how)) for one in crops])
    mean, std = np.array(card.mean, np.float32), np.array(card.std, np.float32)
    return (crops.astype(np.float32) / np.float32(255) - mean) / std


@dataclass(eq=False)
class VectorEncoder:
    """An encoder without feature maps, see `CropEncoder`; `run` is what its runner made of the network."""

    name: str
    layers: tuple[str, ...]
    parts: tuple[int, ...]
    default_layers: bool
    card: EncoderCard
    runner: str
    backend: str
    engine: str
    weights_sha256: str
    weights_file_sha256: str
    run: Run
    weights: str = "file"
    dim: int = field(init=False)

    def __post_init__(self) -> None:
        self.dim = sum(self.parts)

    def encode(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Encode crops.

        Parameters
        ----------
        crops : ndarray of uint8, shape (n, height, width, 3)
            RGB.

        Returns
        -------
        ndarray of float32, shape (n, dim)

        Raises
        ------
        ImageError
            Another dtype or shape.
        WeightsError
            The network gives something else than its card says.
        """
        check_crops(crops)
        found = np.asarray(self.run(normalised(crops, self.card)), dtype=np.float32)
        if found.shape != (len(crops), self.dim):
            raise WeightsError(
                f"{self.name}: gives an array of shape {found.shape} for {len(crops)} crops, and not "
                f"{(len(crops), self.dim)}; its file was changed"
            )
        return found


def chosen_outputs(
    wanted: tuple[str, ...], *, default: tuple[str, ...], sizes: Mapping[str, int], of: str
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the outputs that are asked for, or the default ones, with the length of each.

    Raises
    ------
    InputError
        There is no such output.
    """
    for name in wanted:
        if name not in sizes:
            raise InputError(f"`encoders` {of}: no output {name}; it has {', '.join(list(sizes)[:8])}")
    outputs = wanted or default
    return outputs, tuple(sizes[name] for name in outputs)
