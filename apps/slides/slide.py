"""A whole slide, read through OpenSlide: rectangles at any scale, and nothing else.

Label and macro images are never read, since they often show the name of a patient.
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from ...core import DependencyError, ImageError, InputError, MissingInputError, how_to_install
from ...core.formats import Pixels, plausible_mpp

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
        Micrometres per pixel of level 0, used if the slide does not state them.

    Attributes
    ----------
    path : Path
    width, height : int
        Pixels of level 0. Of a slide with scanned areas, only the rectangle around them, as in QuPath: its corner is
        x 0, y 0.
    mpp : float
        Micrometres per pixel of level 0.
    digest : str
        OpenSlide's checksum of a part of the slide, or size and name of its file.

    Raises
    ------
    DependencyError
        OpenSlide is not installed.
    InputError
        OpenSlide cannot read the file, neither the slide nor the caller states the micrometres, or its smallest level
        is too large.
    """

    def __init__(self, path: Path, *, mpp: float | None = None) -> None:
        self.path = path
        if not path.exists():
            raise MissingInputError(f"{path}: no such slide")
        self._open()
        properties = dict(self._slide.properties)
        bounds: list[Any] = [
            properties.get(f"openslide.bounds-{name}") for name in ("x", "y", "width", "height")
        ]
        if None in bounds:
            bounds = [0, 0, *self._slide.dimensions]
        self._left, self._top, self.width, self.height = map(int, bounds)
        pixels = math.prod(self._slide.level_dimensions[-1])
        if pixels > _LARGEST:
            raise InputError(
                f"{path}: its smallest level has {pixels:,} pixels; save the slide as a pyramid of tiles"
            )
        self.digest = str(
            properties.get("openslide.quickhash-1") or f"{path.stat().st_size} {path.name}"
        )
        across, down = (plausible_mpp(properties.get(f"openslide.mpp-{axis}")) for axis in "xy")
        if across and down and abs(across / down - 1) <= ALIKE:
            mpp = across
        if mpp is None:
            self._slide.close()
            power = properties.get("openslide.objective-power", "unknown")
            raise InputError(
                "{}: does not state its micrometres per pixel (objective: {}); give {mpp}",
                path,
                power,
            )
        self.mpp = mpp

    @property
    def origin(self) -> tuple[int, int]:
        """Corner of the scanned area in the whole image, x and y in pixels of level 0."""
        return self._left, self._top

    def _open(self) -> None:
        try:
            from openslide import OpenSlide, OpenSlideError
        except ImportError as error:
            raise DependencyError(
                f"slides are read by OpenSlide: {how_to_install('slides')}"
            ) from error
        try:
            self._slide = OpenSlide(self.path)
        except OpenSlideError as error:
            raise InputError(
                f"{self.path}: OpenSlide cannot read it ({error}); copy the slide again"
            ) from error

    def __exit__(self, *_: object) -> None:
        self._slide.close()

    def nearest(self, scale: float) -> float:
        """Return the scale of a level if it is `ALIKE`, and the same scale otherwise; both micrometres per pixel.

        Raises
        ------
        InputError
            The slide is coarser.
        """
        levels = [self.mpp * factor for factor in self._slide.level_downsamples]
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
        level = self._slide.get_best_level_for_downsample(factor * (1 + ALIKE / 2))
        ratio = factor / self._slide.level_downsamples[level]
        strip = max(1, int(_AT_ONCE / (width * ratio) / ratio))
        parts = []
        for top in range(0, height, strip):
            rows = min(strip, height - top)
            size = (max(1, round(width * ratio)), max(1, round(rows * ratio)))
            pixels = self._read_level(round(x), round(y + top * factor), level, size)
            if size != (width, rows):
                method = cv2.INTER_AREA if ratio > 1 else cv2.INTER_LINEAR
                resized = cv2.resize(pixels, (width, rows), interpolation=method)
                pixels = np.asarray(resized, dtype=np.uint8)
            parts.append(pixels)
        return np.concatenate(parts)

    def _read_level(self, x: int, y: int, level: int, size: tuple[int, int]) -> Pixels:
        """Read pixels of a level. After an error OpenSlide refuses everything, so the slide is opened anew."""
        from openslide import OpenSlideError
        from PIL import Image

        try:
            picture = self._slide.read_region((self._left + x, self._top + y), level, size)
        except OpenSlideError as error:
            self._slide.close()
            self._open()
            where = f"x {x}, y {y} ({size[0]} x {size[1]} pixels of level {level})"
            raise ImageError(
                f"{self.path}: damaged at {where}: {error}; copy the slide again"
            ) from error
        opaque = Image.new("RGB", size, "white")
        opaque.paste(picture, mask=picture.getchannel("A"))
        return np.array(opaque)
