"""A whole slide: rectangles at any scale, and nothing else.

Label and macro images are never read, since they often show the name of a patient.
"""

from __future__ import annotations

import bisect
import contextlib
import math
from pathlib import Path

import numpy as np

from ...core import InputError, MissingInputError
from ...core.formats import Pixels, plausible_mpp
from .pyramid import TO_PYRAMID
from .scans import open_scan

ALIKE = 0.02
"""Scales that differ by no more are one scale: 0.4990 and 0.5 micrometres per pixel need no resampling."""

_LARGEST = 2**33
"""Pixels of the smallest level, at most, since a mask of the tissue needs all of it."""

_AT_ONCE = 2**22
"""Pixels that are read at once, 16 MB."""


class Slide(contextlib.AbstractContextManager["Slide"]):
    """A slide that is open for reading.

    Parameters
    ----------
    path : Path
    mpp : float, optional
        Micrometres per pixel of level 0, used in place of those that the slide states.

    Attributes
    ----------
    path : Path
    width, height : int
        Pixels of level 0. Of a slide with scanned areas, only the rectangle around them, as in QuPath: its corner is
        x 0, y 0.
    origin : (int, int)
        That corner in the whole image, x and y in pixels of level 0.
    mpp : float
        Micrometres per pixel of level 0.
    stated : tuple of float
        Those that the slide states, across and down; empty if it states none, or none of a microscope.

    Raises
    ------
    DependencyError
        OpenSlide is not installed.
    InputError
        The file cannot be read, or is not in bright field; neither the slide nor the caller states the micrometres, or
        its pixels are not square; or its smallest level is too large.
    """

    def __init__(self, path: Path, *, mpp: float | None = None) -> None:
        self.path = path
        if not path.exists():
            raise MissingInputError(f"{path}: no such slide")
        self._scan = open_scan(path)
        left, top, self.width, self.height = self._scan.bounds
        self.origin = (left, top)
        self.stated = tuple(filter(None, map(plausible_mpp, self._scan.pitch)))
        if len(self.stated) < 2:
            self.stated = ()
        try:
            self.mpp = mpp or self._stated_mpp()
            self._check_size()
        except InputError:
            self._scan.close()
            raise

    def _check_size(self) -> None:
        pixels = math.prod(self._scan.sizes[-1])
        if pixels > _LARGEST:
            raise InputError(f"{self.path}: its smallest level has {pixels:,} pixels; {TO_PYRAMID}")

    def _stated_mpp(self) -> float:
        """Return the micrometres per pixel that the slide states.

        Raises
        ------
        InputError
            It states none, or its pixels are not square.
        """
        if not self.stated:
            raise InputError(
                "{}: does not state its micrometres per pixel (objective: {}); give {mpp}, or a"
                " column mpp in {patients}",
                self.path,
                self._scan.objective,
            )
        across, down = self.stated
        if abs(across / down - 1) > ALIKE:
            raise InputError(
                "{}: its pixels are {} micrometres, not square; save it with square pixels, or give {mpp},"
                " or a column mpp in {patients}",
                self.path,
                self.stated_text,
            )
        return across

    @property
    def stated_text(self) -> str:
        """The micrometres per pixel that the slide states: one number, or two if they differ."""
        return " x ".join(dict.fromkeys(f"{side:.4g}" for side in self.stated))

    @property
    def digest(self) -> str:
        """A checksum of a part of the slide, see `OpenSlideScan` and `TiffScan`."""
        return self._scan.digest

    def __exit__(self, *_: object) -> None:
        self._scan.close()

    def nearest(self, scale: float) -> float:
        """Return the scale of a level if it is `ALIKE`, and the same scale otherwise; both micrometres per pixel.

        Raises
        ------
        InputError
            The slide is coarser.
        """
        levels = [self.mpp * factor for factor in self._scan.factors]
        near = next((level for level in levels if abs(level / scale - 1) <= ALIKE), scale)
        if near < self.mpp:
            text = "{}: its pixels are {} micrometres wide, more than {scale:{}}; give a larger {scale}"
            raise InputError(text, self.path, f"{self.mpp:.3g}", f"{scale:g}")
        return near

    def read(self, x: float, y: float, width: int, height: int, scale: float) -> Pixels:
        """Read a rectangle.

        Parameters
        ----------
        x, y : float
            The left upper corner, pixels of level 0; outside the slide, pixels are white.
        width, height : int
            Size of the result in pixels.
        scale : float
            Micrometres per pixel of the result. If it is that of level 0, pixels are those of level 0.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            RGB; what is transparent is white.

        Raises
        ------
        ImageError
            A part of the slide is damaged. Other parts can still be read.
        """
        import cv2

        factor = scale / self.mpp
        level = max(0, bisect.bisect(self._scan.factors, factor * (1 + ALIKE / 2)) - 1)
        ratio = factor / self._scan.factors[level]
        strip = max(1, int(_AT_ONCE / (width * ratio) / ratio))
        left, upper = self.origin
        parts = []
        for top in range(0, height, strip):
            rows = min(strip, height - top)
            size = (max(1, round(width * ratio)), max(1, round(rows * ratio)))
            corner = (left + round(x), upper + round(y + top * factor))
            pixels = self._scan.read(*corner, level, size)
            if size != (width, rows):
                method = cv2.INTER_AREA if ratio > 1 else cv2.INTER_LINEAR
                resized = cv2.resize(pixels, (width, rows), interpolation=method)
                pixels = np.asarray(resized, dtype=np.uint8)
            parts.append(pixels)
        return np.concatenate(parts)
