"""Files that are not read as images: what their first bytes show, and what a person can do about it."""

from __future__ import annotations

_SAVE = "save it as PNG or TIFF"
_UNPACK = "unpack it, and name the images in it"
_EXPORT = "export its images as 8-bit RGB TIFF or PNG"
_AGAIN = "it is what a download saved instead of the image; download it again"
_REPLACE = "remove it or replace it by the image"

_BRANDS = {b"avif": "an AVIF picture", b"avis": "an AVIF picture", b"crx ": "a raw picture of a camera"}
_HEIF = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
"""Brands of pictures in the container of MP4 (ISO/IEC 23008-12); the others are videos."""

_BEGINS = (
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", _SAVE),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture", _SAVE),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture", _SAVE),
    (b"\xff\x0a", "a JPEG XL picture", _SAVE),
    (b"II\xbc", "a JPEG XR picture", _SAVE),
    (b"GIF8", "a GIF picture", _SAVE),
    (b"8BPS", "a Photoshop document", _SAVE),
    (b"v/1\x01", "an OpenEXR picture", _SAVE),
    (b"\0\0\1\0", "an icon", _SAVE),
    *((b"P%d" % kind, "a PNM picture", _SAVE) for kind in range(1, 8)),
    (b"%PDF", "a PDF document", "export its images as PNG"),
    (b"PK\3\4", "a zip archive or a document of Office", _UNPACK),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ", "an xz archive", _UNPACK),
    (b"\x89HDF", "an HDF5 file", _EXPORT),
    (b"\x93NUMPY", "a NumPy array", _EXPORT),
    (b"MATLAB", "a MATLAB file", _EXPORT),
    (b"SIMPLE  =", "a FITS file", _EXPORT),
    (b"ZISRAWFILE", "a Zeiss CZI file", _EXPORT),
    (b"\xda\xce\xbe\x0a", "a Nikon ND2 file", _EXPORT),
    (b"\x70\0\0\0", "a Leica LIF file", _EXPORT),
    (b"\xd0\xcf\x11\xe0", "a file of a microscope or an old document of Office", _EXPORT),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the image with `git lfs pull`"),
)
"""First bytes, what they show, and the cure. Of two that fit, the first counts."""

_TEXTS = ((b"<svg", "an SVG drawing", _SAVE), (b"<html", "a web page", _AGAIN), (b"<?xml", "an XML file", _REPLACE))


def what_else(begin: bytes) -> tuple[str, str]:
    """Return what the first bytes of a file show, empty if nothing that is known, and what helps.

    Examples
    --------
    >>> what_else(b"GIF89a")
    ('a GIF picture', 'save it as PNG or TIFF')
    """
    if begin[4:8] == b"ftyp":
        kind = _BRANDS.get(begin[8:12], "a HEIC picture" if begin[8:12] in _HEIF else "a video")
        return kind, _SAVE if kind != "a video" else "save frames of it as PNG"
    for known, kind, cure in _BEGINS:
        if begin.startswith(known):
            return kind, cure
    if begin[257:262] == b"ustar":
        return "a tar archive", _UNPACK
    if not begin.strip(b"\0"):
        return "a file of zeros", "the disk or the copy was interrupted; copy it again"
    if all(byte >= 32 or byte in b"\t\n\r\f" for byte in begin.removeprefix(b"\xef\xbb\xbf")):
        lower = begin.lower()
        for known, kind, cure in (*_TEXTS, (b"<!doctype html", "a web page", _AGAIN)):
            if known in lower:
                return kind, cure
        if _is_text(begin):
            return "a text file", _REPLACE
    return "", _REPLACE


def _is_text(begin: bytes) -> bool:
    """Whether bytes are UTF-8, of which the last letter may be cut off."""
    try:
        begin.decode()
    except UnicodeDecodeError as error:
        return error.start > len(begin) - 4
    return True
