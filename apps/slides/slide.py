"""A whole slide: rectangles at any scale, by OpenSlide, or by tifffile of TIFF that no scanner wrote.

Label and macro images are never read, since they often show the name of a patient.
"""

from __future__ import annotations

import bisect
import contextlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from ...core import (
    DAMAGE,
    DependencyError,
    ImageError,
    InputError,
    MissingInputError,
    first_line,
    how_to_install,
)
from ...core.formats import DICOM_SUFFIXES, SLIDE_SUFFIXES, Pixels, plausible_mpp
from .pyramid import TO_PYRAMID, TiffScan

_PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})

_AS_IMAGES = "give its folder as images to bchisto featurize"

TIFF_SUFFIXES = frozenset({".btf", ".qptiff", ".tf2", ".tf8", ".tif", ".tiff"})

_READ = TIFF_SUFFIXES | DICOM_SUFFIXES | SLIDE_SUFFIXES - {".czi", ".isyntax", ".vsi"}
"""Suffixes of files that are recognised unless they are damaged."""


class OpenSlideScan:
    """A slide that OpenSlide reads.

    Attributes
    ----------
    vendor : str
        OpenSlide's name of the format.
    sizes : sequence of (int, int)
        Width and height of each level in pixels, the largest first.
    factors : sequence of float
        Pixels of level 0 per pixel of each level.
    bounds : tuple of int
        Left, top, width and height of the scanned area, pixels of level 0.
    pitch : tuple of float, str or None
        Micrometres per pixel of level 0, across and down, as stated; empty or None if they are not.
    objective : str
        Its magnification.
    digest : str
        OpenSlide's checksum of a part of the slide, or size and name of its file.

    Raises
    ------
    DependencyError, InputError
        See `open_scan`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()
        properties = self._slide.properties
        self.vendor = properties.get("openslide.vendor", "")
        self.sizes = self._slide.level_dimensions
        self.factors = self._slide.level_downsamples
        whole = zip(("x", "y", "width", "height"), (0, 0, *self._slide.dimensions), strict=True)
        self.bounds: tuple[int, ...] = tuple(
            int(properties.get(f"openslide.bounds-{name}", side)) for name, side in whole
        )
        self.pitch: tuple[Any, ...] = tuple(
            properties.get(f"openslide.mpp-{axis}") for axis in "xy"
        )
        self.objective = properties.get("openslide.objective-power", "unknown")
        self.digest = str(
            properties.get("openslide.quickhash-1") or f"{path.stat().st_size} {path.name}"
        )

    def _open(self) -> None:
        try:
            from openslide import OpenSlide, OpenSlideError
        except ImportError as error:
            raise DependencyError(
                f"slides are read by OpenSlide: {how_to_install('slides')}"
            ) from error
        try:
            self._slide = OpenSlide(self._path)
        except OpenSlideError as error:
            raise InputError(f"{self._path}: {_why(self._path, error)}") from error

    def close(self) -> None:
        """Close the slide."""
        self._slide.close()

    def read(self, x: int, y: int, level: int, size: tuple[int, int]) -> Pixels:
        """Read pixels of a level. After an error OpenSlide refuses everything, so the slide is opened anew.

        Parameters
        ----------
        x, y : int
            The left upper corner, pixels of level 0.
        level : int
        size : (int, int)
            Width and height in pixels of the level.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            RGB; what is transparent or outside is white.

        Raises
        ------
        ImageError
            A part of the slide is damaged. Other parts can still be read.
        """
        from openslide import OpenSlideError
        from PIL import Image

        try:
            picture = self._slide.read_region((x, y), level, size)
        except OpenSlideError as error:
            self._slide.close()
            self._open()
            x -= self.bounds[0]
            y -= self.bounds[1]
            where = f"x {x}, y {y} ({size[0]} x {size[1]} pixels of level {level})"
            raise ImageError(
                f"{self._path}: damaged at {where}: {error}; copy the slide again"
            ) from error
        opaque = Image.new("RGB", size, "white")
        opaque.paste(picture, mask=picture.getchannel("A"))
        return np.array(opaque)


Scan = OpenSlideScan | TiffScan


def open_scan(path: Path) -> Scan:
    """Open a slide: by OpenSlide, but by tifffile if it is a TIFF that no scanner wrote, or that OpenSlide refuses.

    Raises
    ------
    DependencyError
        OpenSlide is not installed.
    InputError
        The file cannot be read, or it is not in bright field.
    """
    try:
        scan = OpenSlideScan(path)
    except InputError as refusal:
        return _open_tiff(path, refusal)
    if scan.vendor != "generic-tiff":
        return scan
    scan.close()
    tiff = _open_tiff(path)
    if tiff.sizes == [*scan.sizes]:
        # the area that QuPath shows, and the digest by which folders of fields know the slide
        tiff.bounds = scan.bounds
        tiff.digest = scan.digest
    return tiff


def _open_tiff(path: Path, refusal: InputError | None = None) -> TiffScan:
    """Open a slide by tifffile; if it is not a TIFF, or damaged, raise this refusal, or one with the reason."""
    try:
        return TiffScan(path)
    except InputError:
        raise
    except DAMAGE as error:
        text = f"{path}: a damaged TIFF ({first_line(error)}); copy the slide again"
        raise refusal or InputError(text) from error


def _why(path: Path, error: Exception) -> str:
    """Return why OpenSlide does not read a file, and what to do about it."""
    suffix = path.suffix.casefold()
    if suffix in _PICTURES:
        return f"a picture, not a slide; {_AS_IMAGES}"
    if suffix in DICOM_SUFFIXES and "upported" in str(error) and path.stat().st_size:
        return f"not a whole slide that is read ({error}); {TO_PYRAMID}; if not one, {_AS_IMAGES}"
    if "upported" in str(error) and suffix not in _READ:
        return f"OpenSlide cannot read it ({error}); {TO_PYRAMID}"
    return (
        f"OpenSlide cannot read it ({error}); copy the slide again, all its files, with the folder"
        " beside it if there is one"
    )


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
            raise MissingInputError(f"{path}: no such slide; correct the path")
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
