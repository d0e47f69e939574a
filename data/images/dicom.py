"""DICOM mammograms: the header and the pixels, and no element that names a patient.

One stated rule for grey levels, as for TIFF and PNG in `decode`:

- the modality rescale is applied, then the first VOI look-up table or window of the file;
- without either, the smallest and largest value in the image become black and white;
- MONOCHROME1 is inverted, so that dense tissue is bright in every image;
- one frame, one sample per pixel; anything else is refused.

References
----------
DICOM PS3.3, C.7.6.3 (image pixel), C.11.1 (modality LUT), C.11.2 (VOI LUT).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import ImageError

__all__ = ["DICOM_SUFFIXES", "DicomHeader", "decode_dicom", "read_dicom_header", "stretch_to_eight_bits"]

DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})

_TAGS = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    "PixelData",
)
"""All that is ever parsed: names, birth dates and the rest of the patient module are passed over."""

_DEFER_BYTES = 4096
"""Elements longer than this, the pixels, are passed over while only the header is wanted."""

_FAR = 1e9
"""A value beyond both ends of any window."""


@dataclass(frozen=True)
class DicomHeader:
    """Size and kind of a DICOM image.

    Attributes
    ----------
    width, height : int
        Pixels.
    photometric : str
        ``MONOCHROME1`` or ``MONOCHROME2``.
    bits : int
        Bits stored per pixel.
    """

    width: int
    height: int
    photometric: str
    bits: int


def _read(path: Path, *, pixels: bool) -> Any:
    import pydicom
    from pydicom.errors import InvalidDicomError

    if not path.is_file():
        raise ImageError(f"{path}: no such file")
    try:
        found = pydicom.dcmread(path, specific_tags=list(_TAGS), defer_size=None if pixels else _DEFER_BYTES)
    except InvalidDicomError as error:
        raise ImageError(f"{path}: not a DICOM file; remove it or replace it by the image") from error
    except (OSError, ValueError, KeyError, EOFError, AttributeError, NotImplementedError, struct.error) as error:
        raise ImageError(f"{path}: its header cannot be read ({error}); copy the file again") from error
    return found


def _header(path: Path, found: Any) -> DicomHeader:
    if "PixelData" not in found:
        raise ImageError(f"{path}: a DICOM file without pixels; leave it out or copy the image again")
    try:
        width, height = int(found.Columns), int(found.Rows)
        frames, samples = int(found.get("NumberOfFrames") or 1), int(found.SamplesPerPixel)
        photometric, bits = str(found.PhotometricInterpretation), int(found.BitsStored)
    except (AttributeError, TypeError, ValueError) as error:
        raise ImageError(f"{path}: its header does not say how the pixels are stored ({error})") from error
    if frames != 1 or samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        kind = f"{frames} frames, {samples} samples per pixel, {photometric}"
        raise ImageError(f"{path}: {kind}; only single grey images are read, save it as one")
    if width < 1 or height < 1:
        raise ImageError(f"{path}: its header says {width}x{height} pixels; copy the file again")
    return DicomHeader(width, height, photometric, bits)


def read_dicom_header(path: Path) -> DicomHeader:
    """Read what the header says of the pixels, without reading them.

    Raises
    ------
    ImageError
        Not a DICOM file, no pixels, or not a single grey image.
    """
    return _header(path, _read(path, pixels=False))


def decode_dicom(path: Path) -> npt.NDArray[np.uint8]:
    """Decode a DICOM image by the rules of this module.

    Parameters
    ----------
    path : Path

    Returns
    -------
    ndarray of uint8, shape (height, width)

    Raises
    ------
    ImageError
        As `read_dicom_header`; pixels that are compressed in a way that is not installed, truncated or damaged.
    """
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    found = _read(path, pixels=True)
    header = _header(path, found)
    try:
        values = np.asarray(apply_modality_lut(found.pixel_array, found))
        if "VOILUTSequence" in found:
            shown = np.asarray(apply_voi_lut(values.astype(np.int64), found))
            ends = np.asarray(apply_voi_lut(np.array([-_FAR, _FAR]).astype(np.int64), found))
        elif "WindowCenter" in found and "WindowWidth" in found:
            shown = np.asarray(apply_voi_lut(values.astype(np.float64), found))
            ends = np.asarray(apply_voi_lut(np.array([-_FAR, _FAR]), found))
        else:
            shown = values
            ends = np.array([values.min(), values.max()])
    except (OSError, ValueError, KeyError, EOFError, AttributeError, RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f"{path}: cannot be decoded ({reason}); copy it again or save it uncompressed") from error
    image = _scale(shown, float(ends[0]), float(ends[1]))
    return np.asarray(255 - image, dtype=np.uint8) if header.photometric == "MONOCHROME1" else image


def stretch_to_eight_bits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Map the smallest value of an image to 0 and the largest to 255; an image of one value becomes 0.

    Parameters
    ----------
    values : ndarray of integer or float, any shape

    Returns
    -------
    ndarray of uint8, same shape
    """
    return _scale(values, float(values.min()), float(values.max()))


def _scale(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    share = (values.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    return np.asarray(np.rint(np.clip(share, 0.0, 255.0)), dtype=np.uint8)
