"""Mark images that are unusually far from the training images, and name the nearest training images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..boost import MARKED, NEAREST, TRAINING_NAMES, Bundle
from ..core import DAMAGE, BchistoError
from ..core.formats import read_rows
from ..core.models import BundleFacts

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outliers:
    """How far images are from the training images.

    Attributes
    ----------
    percentiles : ndarray of float64, shape (n,)
        For each image, the percentage of left-out training images that were nearer to the other training images.
    nearest : tuple of str
        The nearest training images of each image, with class and distance.
    meaning : str
        Explanation of the mark, for readers.
    """

    percentiles: npt.NDArray[np.float64]
    nearest: tuple[str, ...]
    meaning: str

    @classmethod
    def of(
        cls, bundle: BundleFacts, compared: Sequence[npt.NDArray[np.float64]], *, model: Path | None
    ) -> Outliers | None:
        """Compare images with the training images. Return None if the model file has no reference for that.

        Parameters
        ----------
        bundle : BundleFacts
        compared : sequence of ndarray of float64, shape (n,)
            Comparison of each image, see `bchisto.boost.Bundle.compare`.
        model : Path or None
            The model file. In the folder of its training, a file next to it lists the names of the training images.
        """
        reference = bundle.reference if isinstance(bundle, Bundle) else None
        if reference is None:
            return None
        rows = np.array(compared).reshape(-1, 1 + 2 * NEAREST)
        names = reference.names(rows, classes=bundle.classes, known=_names_beside(model))
        return cls(reference.percentiles(rows), tuple(names), reference.meaning)

    @property
    def marked(self) -> npt.NDArray[np.bool_]:
        """Which images are marked as outliers, bool of shape (n,)."""
        return np.asarray(self.percentiles >= MARKED)

    @property
    def columns(self) -> list[tuple[str, list[str]]]:
        """Names and cells of the columns for the table of predictions."""
        return [
            ("outlier", ["yes" if far else "no" for far in self.marked]),
            ("outlier_percentile", [f"{share:.1f}" for share in self.percentiles]),
            ("nearest_training_images", list(self.nearest)),
        ]

    def notes(self, place: int) -> tuple[str, ...]:
        """Return notes about the image at one position: its mark, if any, and its nearest training images."""
        mark = (f"outlier: {self.meaning}",) if self.marked[place] else ()
        return (*mark, f"nearest training images: {self.nearest[place]}")

    @property
    def summary(self) -> str:
        """Number of marked images, and the meaning of the mark."""
        return f"outliers: {int(self.marked.sum())} of {len(self.marked)} images, {self.meaning}"


def _names_beside(model: Path | None) -> dict[str, str]:
    """Return names of training images by the SHA-256 of their pixels; empty if the list is missing."""
    if model is None:
        return {}
    unreadable: tuple[type[Exception], ...] = (BchistoError, *DAMAGE)
    try:
        return {row["sha256"]: row["image_id"] for row in read_rows(model.with_name(TRAINING_NAMES))}
    except unreadable as error:
        _log.debug("%s: no names of training images (%s)", model, error)
        return {}
