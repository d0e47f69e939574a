"""Images that are further from the training images than nearly all that were left out, and the nearest of these."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..boost import MARKED, NEAREST, TRAINING_NAMES, Bundle
from ..core import DAMAGE, BchistoError
from ..crossval import BundleFacts
from ..formats import read_rows

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outliers:
    """How far images are from the training images.

    Attributes
    ----------
    percentiles : ndarray of float64, shape (n,)
        Share of left-out images, in percent, that were nearer to the training images than each.
    nearest : tuple of str
        The nearest training images of each, with class and distance.
    pictures : tuple of tuple of ndarray of uint8, shape (64, 64, 3)
        Small pictures of these; none if they were not kept at training.
    meaning : str
        What a mark means.
    """

    percentiles: npt.NDArray[np.float64]
    nearest: tuple[str, ...]
    pictures: tuple[tuple[npt.NDArray[np.uint8], ...], ...]
    meaning: str

    @classmethod
    def of(
        cls, bundle: BundleFacts, compared: Sequence[npt.NDArray[np.float64]], *, model: Path | None
    ) -> Outliers | None:
        """Return those of some images; None if the model file does not know what its training images look like.

        Parameters
        ----------
        bundle : BundleFacts
        compared : sequence of ndarray of float64, shape (n,)
            Of each image, see `bchisto.boost.Bundle.compare`.
        model : Path or None
            The model file. The names of its training images lie beside it, if it is where it was trained.
        """
        reference = bundle.reference if isinstance(bundle, Bundle) else None
        if reference is None:
            return None
        rows = np.array(compared).reshape(-1, 1 + 2 * NEAREST)
        names = reference.names(rows, classes=bundle.classes, known=_names_beside(model))
        return cls(reference.percentiles(rows), tuple(names), tuple(reference.pictures(rows)), reference.meaning)

    @property
    def marked(self) -> npt.NDArray[np.bool_]:
        """Which images are marked, bool of shape (n,)."""
        return np.asarray(self.percentiles >= MARKED)

    @property
    def columns(self) -> list[tuple[str, list[str]]]:
        """Columns of the table."""
        return [
            ("outlier", ["yes" if far else "no" for far in self.marked]),
            ("outlier_percentile", [f"{share:.1f}" for share in self.percentiles]),
            ("nearest_training_images", list(self.nearest)),
        ]

    def notes(self, place: int) -> tuple[str, ...]:
        """Say of one image whether it is marked, and which training images are nearest."""
        mark = (f"outlier: {self.meaning}",) if self.marked[place] else ()
        return (*mark, f"nearest training images: {self.nearest[place]}")

    @property
    def summary(self) -> str:
        """How many are marked, and what that means."""
        return f"outliers: {int(self.marked.sum())} of {len(self.marked)} images, {self.meaning}"


def _names_beside(model: Path | None) -> dict[str, str]:
    """Return the names of training images by the SHA-256 of their pixels, as far as they are known here."""
    if model is None:
        return {}
    unreadable: tuple[type[Exception], ...] = (BchistoError, *DAMAGE)
    try:
        return {row["sha256"]: row["image_id"] for row in read_rows(model.with_name(TRAINING_NAMES))}
    except unreadable as error:
        _log.debug("%s: no names of training images (%s)", model, error)
        return {}
