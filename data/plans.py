"""The plan of a protocol: which images train, validate and test in each fold."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

__all__ = ["PARTS", "FoldPlan", "Row"]

PARTS = ("train", "val", "test")
Row = tuple[str, int, str]
"""Image id, fold, part."""


@dataclass(frozen=True)
class FoldPlan:
    """Which images train, validate and test in each fold.

    Attributes
    ----------
    name : str
        Folder name of the protocol: ``rakhlin10``, ``eva``, ``10``, ``5-grouped``, or a file's stem.
    rows : tuple of (image_id, fold, part)
        One row per image and fold. Folds are numbered as in the source.
    partition : bool
        Whether every image is tested exactly once and trains in all other folds.
    warnings : tuple of str
        What a reader of the numbers must know.
    """

    name: str
    rows: tuple[Row, ...]
    partition: bool
    warnings: tuple[str, ...] = ()

    @property
    def folds(self) -> list[int]:
        """Fold numbers in ascending order."""
        return sorted({fold for _, fold, _ in self.rows})

    def images(self, fold: int, part: str) -> list[str]:
        """Return the sorted image ids of a part (``train``, ``val``, ``test``) in a fold."""
        return sorted(image for image, number, role in self.rows if number == fold and role == part)

    @property
    def sha256(self) -> str:
        """Hash of the rows, whatever their order."""
        return hashlib.sha256(json.dumps(sorted(self.rows)).encode()).hexdigest()
