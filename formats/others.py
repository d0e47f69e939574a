"""Files that are not read as images: what their first bytes show, and what a person can do about it."""

from __future__ import annotations

import re

_PICTURES = {
    b"ftypavi": "an AVIF picture", b"ftyphe": "a HEIC picture", b"ftypmif1": "a HEIC picture", b"ftyp": "a video",
    b"jP  \r\n": "a JPEG 2000 picture", b"\xff\x4f\xff\x51": "a JPEG 2000 picture", b"JXL ": "a JPEG XL picture",
    b"\xff\x0a": "a JPEG XL picture", b"II\xbc": "a JPEG XR picture", b"GIF8": "a GIF picture",
    b"8BPS": "a Photoshop document", b"v/1\x01": "an OpenEXR picture", b"\0\0\1\0": "an icon",
    b"<svg": "an SVG drawing", b"%PDF": "a PDF document",
    **{b"P%d" % kind + space: "a PNM picture" for kind in range(1, 8) for space in (b"\n", b" ", b"\r")},
}  # fmt: skip
_ARCHIVES = {
    b"PK\3\4": "a zip archive or a document of Office", b"\x1f\x8b": "a gzip archive", b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive", b"BZh": "a bzip2 archive", b"\xfd7zXZ": "an xz archive",
}  # fmt: skip
_DATA = {
    b"\x89HDF": "an HDF5 file", b"\x93NUMPY": "a NumPy array", b"MATLAB": "a MATLAB file", b"SIMPLE  =": "a FITS file",
    b"ZISRAW": "a Zeiss CZI file", b"\xda\xce\xbe\x0a": "a Nikon ND2 file", b"\x70\0\0\0": "a Leica LIF file",
    b"\xd0\xcf\x11\xe0": "a file of a microscope or an old document of Office",
}  # fmt: skip
_CURES = (
    (_PICTURES, "save it as PNG, TIFF or JPEG"),
    (_ARCHIVES, "unpack it, and name the images in it"),
    (_DATA, "export its images as 8-bit RGB TIFF or PNG"),
    ({b"version https://git-lfs": "a pointer of Git LFS"}, "fetch the image with `git lfs pull`"),
    (
        {b"<html": "a web page", b"<!doctype html": "a web page"},
        "a download saved it instead of the image; try it again",
    ),
)
"""First bytes, or those after the length of a first block, and what they show; and the cure."""


def what_else(begin: bytes) -> tuple[str, str]:
    """Return what the first bytes of a file show, empty if nothing that is known, and what helps.

    Examples
    --------
    >>> what_else(b"GIF89a")
    ('a GIF picture', 'save it as PNG, TIFF or JPEG')
    """
    start = begin.lower()
    if b"<" in start[:64]:  # of SVG and web pages, after a declaration or comments
        start = start[max(start.find(b"<"), start.find(b"<svg"), start.find(b"<html")) :]
    for kinds, cure in _CURES:
        for known, kind in kinds.items():
            if start.startswith(known.lower()) or begin.startswith(known, 4):
                return kind, cure
    if begin[257:262] == b"ustar":
        return "a tar archive", _CURES[1][1]
    if not begin.strip(b"\0"):
        return "only zeros", "the copy or the disk failed; copy it again"
    text = re.search(rb"[\0-\x08\x0e-\x1f\x7f]", begin) is None
    return "a text file" if text else "", "remove it or replace it by the image"
