"""Read the header and the pixels of DICOM mammograms and colour images, and no element that identifies a patient.

Rules for the pixels:

- The modality rescale is applied, then the first VOI look-up table or window of the file.
- Without either, the smallest and the largest value of the image become black and white.
- MONOCHROME1 is inverted, so that dense tissue is bright in every image.
- Grey has one sample per pixel, of 8, 16 or 32 bits, and finite numbers.
- Colours have 8 bits, as RGB or YBR, which becomes RGB. No window is applied to them. Palettes are refused.
- Only one frame is read.

The number of parsed elements is bounded, and deflated elements are refused. Messages never quote the content of
elements.

References
----------
DICOM PS3.3, C.7.6.3 (image pixel), C.11.1 (modality LUT), C.11.2 (VOI LUT).
"""

from __future__ import annotations

import io
import math
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from .. import ImageError, first_line
from . import files, limits
from .files import BROKEN, SLIDE, Container, Floats, ImageHeader, Samples
from .pictures import JPEG_2000_BEGIN, JPEG_BEGIN, check_jpeg

DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})

_NUMBERS = ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth")
"""Elements from which grey levels are computed."""

_TAGS = (
    *_NUMBERS,
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PlanarConfiguration",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ModalityLUTSequence",
    "VOILUTFunction",
    "VOILUTSequence",
    "PixelData",
    "PixelSpacing",
)
"""All elements that are parsed. Names, birth dates and everything else about patients are skipped."""

_SLIDE_TAGS = (
    "SeriesInstanceUID",
    "ImageType",
    "TotalPixelMatrixColumns",
    "TotalPixelMatrixRows",
)
"""Elements that are parsed in a file of a slide; all of them are long before the pixels."""

_DEFER_BYTES = 4096
"""Longer elements (the pixels) are skipped if only the header is needed."""

_FAR = 1e9
"""A value beyond both ends of any window."""


_BITS = (8, 16, 32)
_GREYS = ("MONOCHROME1", "MONOCHROME2")
_KINDS = {1: _GREYS, 3: ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")}
"""Photometric interpretations that are read, by the number of samples per pixel."""
_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""SOP class of the files of slide scanners (DICOM PS3.4, VL Whole Slide Microscopy Image Storage)."""


class _TooMuch(ValueError):
    """A file has more data than an image can have. Its message contains nothing from the file."""


class _Bounded(io.BufferedReader):
    """A file that limits the number of reads, and refuses to inflate."""

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > limits.DICOM_READS:
            raise _TooMuch("more elements than an image has")
        if size is not None and size >= 0:
            # a read allocates the requested size
            return super().read(min(size, limits.PICTURE_BYTES))
        # pydicom reads without a size only if the rest is deflated
        raise ImageError(
            f"{self.name}: its elements are deflated, which is not read; save it uncompressed"
        )


def _broken() -> tuple[type[Exception], ...]:
    """Return the exceptions that reading a damaged DICOM file may raise."""
    from pydicom.errors import BytesLengthException

    return (BytesLengthException, *BROKEN)


def _read(path: Path, *, pixels: bool) -> Any:
    """Parse the elements `_TAGS` of a file; long ones only if `pixels` are needed."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    files.check_bytes(path)
    try:
        with _Bounded(io.FileIO(path)) as handle:
            return pydicom.dcmread(
                handle, specific_tags=list(_TAGS), defer_size=None if pixels else _DEFER_BYTES
            )
    except ImageError:
        raise
    except InvalidDicomError as error:
        raise ImageError(
            f"{path}: not a DICOM file; remove it or replace it by the image"
        ) from error
    except _broken() as error:
        # messages of pydicom may quote content of the file, such as names
        reason = type(error).__name__
        if isinstance(error, RecursionError) or isinstance(error.__context__, RecursionError):
            reason = "it is nested too deep"
        elif isinstance(error, _TooMuch):
            reason = str(error)
        raise files.damaged(path, reason) from error


class SlideInstance(NamedTuple):
    """A file of a whole slide in DICOM, one of a series.

    Attributes
    ----------
    series : str
        Identifier of the slide.
    is_volume : bool
        Whether it is a level, and not a label, an overview or a thumbnail.
    pixels : int
        Number of pixels of the level.
    """

    series: str
    is_volume: bool
    pixels: int


def slide_instance(path: Path) -> SlideInstance | None:
    """Return which part of a whole slide a file holds, by its header; None if it holds none, or cannot be read.

    No element is parsed that identifies a patient, and no pixel is read.
    """
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_partial
    from pydicom.tag import BaseTag, Tag

    tags: list[BaseTag | int] = [Tag(name) for name in _SLIDE_TAGS]
    try:
        with _Bounded(io.FileIO(path)) as handle:
            elements = read_partial(handle, lambda tag, *_: tag > max(tags), specific_tags=tags)
        if _sop_class(elements.file_meta) != _WHOLE_SLIDE:
            return None
        sides = [int(elements[name].value) for name in _SLIDE_TAGS[2:]]
        return SlideInstance(
            str(elements.SeriesInstanceUID), elements.ImageType[2] == "VOLUME", math.prod(sides)
        )
    except (ImageError, InvalidDicomError):
        return None
    except _broken():
        return None


class _Elements(NamedTuple):
    """The elements that define how the pixels are stored.

    Attributes
    ----------
    width, height, frames, samples : int
    photometric : str
    bits, allocated : int
        Bits of a sample that are used, and that it takes in the file.
    sop_class : str
        What kind of object the file holds.
    numbers : dict of str to ndarray
        Values of those elements in `_NUMBERS` that the file has.
    spacing : set of float
        Millimetres per pixel, down and across; one if they are equal.
    """

    width: int
    height: int
    frames: int
    samples: int
    photometric: str
    bits: int
    allocated: int
    sop_class: str
    numbers: dict[str, Floats]
    spacing: set[float]


def _sop_class(meta: Any) -> str:
    """Return the SOP class of a file, without padding; empty without one."""
    raw = meta.get_item("MediaStorageSOPClassUID")  # unparsed, since pydicom warns of invalid ones
    if raw is None:
        return ""
    name = raw.value
    if isinstance(name, bytes):
        name = name.decode("ascii", "replace")
    return str(name).rstrip("\0 ")


def _header(path: Path, elements: Any) -> ImageHeader:
    """Return the header of an image; refuse one whose pixels are not decoded."""
    if "PixelData" not in elements:
        raise ImageError(
            f"{path}: a DICOM file without pixels; leave it out or copy the image again"
        )
    try:
        stored = _Elements(
            width=int(elements.Columns),
            height=int(elements.Rows),
            frames=int(elements.get("NumberOfFrames") or 1),
            samples=int(elements.SamplesPerPixel),
            photometric=str(elements.PhotometricInterpretation),
            bits=int(elements.BitsStored),
            allocated=int(elements.BitsAllocated),
            sop_class=_sop_class(elements.file_meta),
            numbers={
                name: np.asarray(elements[name].value, np.float64)
                for name in _NUMBERS
                if elements.get(name) is not None
            },
            spacing={float(side) for side in elements.get("PixelSpacing") or ()},
        )
    except _broken() as error:
        reason = str(error) if isinstance(error, AttributeError) else type(error).__name__
        raise ImageError(
            f"{path}: its header does not define how the pixels are stored ({reason})"
        ) from error
    _check_kind(path, stored)
    mpp = None
    if len(stored.spacing) == 1:
        mpp = files.plausible_mpp(1000 * stored.spacing.pop())
    mode = f"{stored.photometric}, {stored.bits} bits"
    return ImageHeader("DICOM", stored.width, stored.height, mode, 1, mpp=mpp)


def _check_kind(path: Path, stored: _Elements) -> None:
    """Refuse a whole slide, several frames, and samples that are not decoded."""
    bits = stored.bits
    allocated = stored.allocated
    if stored.sop_class == _WHOLE_SLIDE:
        raise ImageError(f"{path}: {SLIDE}")
    if stored.frames != 1 or stored.photometric not in _KINDS.get(stored.samples, ()):
        kind = f"{stored.frames} frames, {stored.samples} samples per pixel, {stored.photometric}"
        raise ImageError(
            f"{path}: {kind}; only single images in grey or RGB are read, save it as one"
        )
    if stored.samples == 3 and (allocated, bits) != (8, 8):
        raise ImageError(
            f"{path}: colours of {bits} of {allocated} bits; only 8 bits are read, save it as 8-bit RGB"
        )
    if allocated not in _BITS or not 1 <= bits <= allocated:
        raise ImageError(
            f"{path}: {bits} of {allocated} bits per pixel; only 8, 16 or 32 are read, save it as one"
        )
    for name, value in stored.numbers.items():
        if not np.isfinite(value).all() or (name == "RescaleSlope" and not value.all()):
            raise ImageError(
                f"{path}: {name} is not a number to work with; correct it or remove the file"
            )


def read_dicom(path: Path, handle: BinaryIO) -> Container:
    """Read the properties of the image from the header, without reading pixels.

    Raises
    ------
    ImageError
        The file has no pixels, or is not a single image in grey or RGB. Decoding raises it if the pixels are truncated,
        damaged, or compressed in a way that is not installed.
    """
    header = _header(path, _read(path, pixels=False))
    return Container(header, lambda: _decode(path, header))


def _decode(path: Path, header: ImageHeader) -> Samples:
    """Decode a DICOM image by the rules of this module."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    elements = _read(path, pixels=True)
    is_grey = elements.PhotometricInterpretation in _GREYS
    axes = 2 if is_grey else 3
    _check_packed(path, elements, header.size)
    try:
        values = np.asarray(elements.pixel_array)
        if values.shape[:2] != (header.height, header.width) or values.ndim != axes:
            raise ValueError(f"its pixels are {values.shape}")
        if not is_grey:
            return Samples(values)
        values = np.asarray(apply_modality_lut(values, elements))
        has_table = "VOILUTSequence" in elements
        if has_table or ("WindowCenter" in elements and "WindowWidth" in elements):
            kind = np.int64 if has_table else np.float64
            levels = np.asarray(apply_voi_lut(values.astype(kind), elements))
            ends = np.asarray(apply_voi_lut(np.array([-_FAR, _FAR]).astype(kind), elements))
        else:
            levels = values
            ends = np.array([values.min(), values.max()])
    except _broken() as error:
        raise ImageError(
            f"{path}: cannot be decoded ({first_line(error)}); download it again or save it uncompressed"
        ) from error
    if not np.isfinite([*ends, levels.min(), levels.max()]).all():
        raise ImageError(
            f"{path}: its grey levels cannot be worked out; correct its window, or remove the file"
        )
    image = files.stretch_to_eight_bits(levels, (float(ends[0]), float(ends[1])))[..., np.newaxis]
    if elements.PhotometricInterpretation == "MONOCHROME1":
        image = 255 - image
    return Samples(image)


def _check_packed(path: Path, elements: Any, size: tuple[int, int]) -> None:
    """Refuse compressed pixels of another size, before they are decoded, and a JPEG with missing pixels."""
    from pydicom.encaps import get_frame

    syntax = elements.file_meta.get("TransferSyntaxUID")
    try:
        if syntax is None or not syntax.is_encapsulated:
            return
        data = get_frame(elements.PixelData, 0, number_of_frames=1)
    except _broken() as error:
        raise ImageError(
            f"{path}: cannot be decoded ({type(error).__name__}); download it again"
        ) from error
    if data.startswith(JPEG_BEGIN) and int(elements.BitsStored) == 8:
        check_jpeg(path, data, size=size)
    elif JPEG_2000_BEGIN in data[:256]:
        # width and height of its grid, and offsets of the image
        start = data.index(JPEG_2000_BEGIN) + 8
        right, bottom, left, top = struct.unpack_from(">4I", data.ljust(start + 16, b"\0"), start)
        if (right - left, bottom - top) != size or right * bottom > 2 * limits.PIXELS:
            raise ImageError(
                f"{path}: a JPEG 2000 of {right - left}x{bottom - top} pixels is in it; download it again"
            )
