"""Images at the size of a network, once for all folds: a memory-mapped array beside the run."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data import ImageRecord, decode_record
from ..errors import TissueError
from ..jobs import Progress, atomic_output
from ..stains import make_normalizer

__all__ = ["prepare_images"]


def prepare_images(records: Sequence[ImageRecord], *, digest: str, size: int, stain: str, folder: Path) -> Path:
    """Decode, normalise and resize every image, or map what an earlier run left.

    Parameters
    ----------
    records : sequence of ImageRecord
    digest : str
        Identity of the dataset.
    size : int
        Pixels; images are squeezed to a square by area averaging.
    stain : str
        Of `bchisto.stains.STAIN_METHODS`; an image of too little tissue stays as it is.
    folder : Path

    Returns
    -------
    Path
        ``images-<16 hex>.npy`` in that folder: uint8 of shape (n, size, size, 3).

    Raises
    ------
    ImageError
        An image cannot be decoded.
    """
    import cv2

    key = hashlib.sha256(f"{digest}:{size}:{stain}".encode()).hexdigest()[:16]
    path = folder / f"images-{key}.npy"
    if not path.is_file():
        normalizer = make_normalizer(stain)
        with atomic_output(path) as temporary, Progress(total=len(records), label="images", unit="images") as progress:
            shape = (len(records), size, size, 3)
            array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            for place, record in enumerate(records):
                image = decode_record(record)
                with contextlib.suppress(TissueError):  # then it stays as it is, as in stage 1 by default
                    image, _ = normalizer.normalize_with_estimate(image)
                array[place] = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
                progress.update_to(place + 1)
            array.flush()
            del array
    return path
