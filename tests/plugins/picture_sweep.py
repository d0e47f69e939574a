"""Compare decoded pictures with those of other readers, at the page that bchisto takes."""

import contextlib
import io
import warnings

import numpy as np
from bchisto.core import ImageError
from bchisto.core.formats import decode_image, read_header

LEVELS = 1.0
"""Mean difference in grey levels below which two readers agree: 16 bits may be divided by 256 or 257."""


def by_pillow(path, header):
    """Decode with Pillow: turned by EXIF, alpha over white unless it is 0 everywhere."""
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        if header.pages > 1:
            image.seek(header.page - 1)
        image.load()
        turned = ImageOps.exif_transpose(image)
        if turned.mode.startswith("I"):
            return eight(np.asarray(turned))
        if "A" in turned.getbands() or "a" in turned.getbands() or "transparency" in turned.info:
            return over_white(np.asarray(turned.convert("RGBA")))
        return np.asarray(turned.convert("RGB"))


def by_opencv(path, header):
    """Decode with OpenCV, likewise."""
    import cv2

    if header.pages > 1 and header.page > 1:
        return None
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR
    image = cv2.imread(str(path), flags)
    raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if raw is not None and raw.ndim == 3 and raw.shape[2] == 4 and raw.shape[:2] == image.shape[:2]:
        return over_white(eight(raw[..., [2, 1, 0, 3]]))
    return None if image is None else eight(image[..., ::-1])


def by_tifffile(path, header):
    """Decode a TIFF of grey or RGB samples with tifffile."""
    import tifffile

    if header.format != "TIFF":
        return None
    with tifffile.TiffFile(path) as file:
        page = file.pages.get(header.page - 1)
        if (
            page.photometric not in (0, 1, 2)
            or page.bitspersample not in (8, 16)
            or page.samplesperpixel > 3
        ):
            return None
        values = page.asarray()
        values = (
            np.moveaxis(values, 0, -1) if page.planarconfig == 2 and values.ndim == 3 else values
        )
        return eight(values if page.photometric else np.iinfo(values.dtype).max - values)


def by_pydicom(path, header):
    """Decode the colours of DICOM with pydicom."""
    import pydicom

    if header.format != "DICOM" or "MONO" in header.mode:
        return None
    return pydicom.dcmread(path).pixel_array


def by_imagecodecs(path, header):
    """Decode with the libraries of imagecodecs."""
    import imagecodecs

    decode = {
        "PNG": imagecodecs.png_decode,
        "JPEG": imagecodecs.jpeg8_decode,
        "WebP": imagecodecs.webp_decode,
        "BMP": imagecodecs.bmp_decode,
    }.get(header.format)
    if decode is None:
        return None
    values = eight(decode(path.read_bytes()))
    return (
        over_white(values)
        if values.ndim == 3 and values.shape[2] in (2, 4) and header.format != "JPEG"
        else values
    )


READERS = {
    "Pillow": by_pillow,
    "OpenCV": by_opencv,
    "tifffile": by_tifffile,
    "pydicom": by_pydicom,
    "imagecodecs": by_imagecodecs,
}


def eight(values):
    """Return samples of 8 or 16 bits as 8 bits."""
    return values if values.dtype == np.uint8 else np.rint(values.astype(np.float64) / 257)


def over_white(values):
    """Composite over white, unless alpha is 0 everywhere."""
    values = values.astype(np.float64)
    colours, alpha = values[..., :-1], values[..., -1:] / 255
    return colours * alpha + 255 * (1 - alpha) if alpha.any() else colours


def compare(path):
    """Return what bchisto does with a file: a dict of ``refused`` (its line) or of reader to mean difference."""
    try:
        header, image = read_header(path), decode_image(path)
    except ImageError as error:
        return {"refused": str(error)}
    differences = {}
    for name, read in READERS.items():
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            try:
                other = read(path, header)
            except Exception:  # other readers may fail in any way
                continue
        if other is None:
            continue
        other = np.atleast_3d(other)
        if other.shape[:2] != image.shape[:2] or other.shape[2] not in (1, 3):
            differences[name] = 999.0
            continue
        differences[name] = float(np.abs(image.astype(np.float64) - other).mean())
    return {"header": header, "differences": differences}


def verdict(result):
    """Return in one word whether two other readers agree, or one, or none."""
    if "refused" in result:
        return "refused"
    agreeing = sum(value < LEVELS for value in result["differences"].values())
    return (
        "alone"
        if not result["differences"]
        else ("none", "one")[agreeing]
        if agreeing < 2
        else "two"
    )
