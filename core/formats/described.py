"""What the description of a TIFF states: planes and channels of OME and ImageJ, and micrometres per pixel.

The texts are untrusted: only their first `limits.DESCRIPTION` characters are searched, by regular expressions, so that
no entity of XML is expanded and no other file is opened.

References
----------
OME Data Model 2016-06 (Pixels, Channel); ImageJ 1.54, FileSaver.java and TiffEncoder.java (keys of the text).
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from typing import Any, NamedTuple

from . import limits
from .files import plausible_mpp

_CHANNEL = re.compile(r"<(?:\w{1,99}:)?Channel\b([^<>]*)")
_MPP = re.compile(r"\|\s?MPP\s?=\s?([0-9]+[.,]?[0-9]*)")
_COLOURS = {"ff0000": "r", "00ff00": "g", "0000ff": "b"}
_COLOUR_NAME = re.compile(r"(?<![a-z])(?:(r)|(g)|(b))(?:ed|reen|lue)?(?![a-z])", re.IGNORECASE)
_UNITS = {
    "um": 1.0, "μm": 1.0, "micron": 1.0, "micrometer": 1.0, "micrometre": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4,
    "m": 1e6, "in": 25_400.0, "inch": 25_400.0,
}  # fmt: skip
"""Micrometres of a unit of length, without a plural s."""


class Description(NamedTuple):
    """What the description of a TIFF states.

    Attributes
    ----------
    counts : tuple of int
        Numbers of channels, of planes in depth and of times; 1 if not stated.
    order : tuple of int
        Positions of red, green and blue among three channels, by their names or colours; empty if not stated.
    other : bool
        Whether the channels are stated to have other colours than red, green and blue, or contradicting ones.
    size : tuple of float
        Micrometres per pixel, across and down; empty if not stated.
    """

    counts: tuple[int, ...] = (1, 1, 1)
    order: tuple[int, ...] = ()
    other: bool = False
    size: tuple[float, ...] = ()


def describe(text: str, *, samples: int, resolutions: list[float], beside: dict[str, Any] | None) -> Description:
    """Read the description of a page.

    Parameters
    ----------
    text : str
    samples : int
        Samples per pixel of the page; OME counts each as a channel.
    resolutions : list of float
        Pixels per unit, across and down; empty if unknown. ImageJ writes the unit into the description.
    beside : dict, optional
        What ImageJ writes outside of the description: ``Labels`` and ``LUTs``.
    """
    text = text[: limits.DESCRIPTION].strip()
    ome = re.search(r"<(?:\w{1,99}:)?OME\b", text) is not None
    if not ome and not text.startswith("ImageJ="):
        # a picture that was made smaller keeps the number of the large one: "46000x32914 -> 1024x732"
        sizes = {value.replace(",", ".") for value in _MPP.findall(text) if "->" not in text.partition("|")[0]}
        return Description(size=(float(min(sizes)),) * 2 if len(sizes) == 1 and text.startswith("Aperio") else ())
    text = re.split(r"</(?:\w{1,99}:)?Pixels\s*>", text, maxsplit=1)[0]
    keys = ("SizeC", "SizeZ", "SizeT") if ome else ("channels", "slices", "frames")
    counts = [_count(_value(key, text)) for key in keys]
    if ome:
        inside = _CHANNEL.findall(text)
        names = [_value("Name", channel) for channel in inside]
        shown = filter(None, (_value("Color", channel) for channel in inside))  # RGBA
        colours = [f"{_count(colour) >> 8:06x}" for colour in shown]
        size = [_length(_value(f"PhysicalSize{axis}", text), _value(f"PhysicalSize{axis}Unit", text)) for axis in "XY"]
        counts[0] = max(1, counts[0] // samples)
    else:
        names = [str(label) for label in (beside or {}).get("Labels", ())]
        colours = [bytes(table[:, -1]).hex() for table in (beside or {}).get("LUTs", ())]
        size = [_length(1 / value, _value("unit", text) or "pixel") for value in resolutions]
    named = ["".join(map("".join, _COLOUR_NAME.findall(name))).lower() for name in names]
    three = (named, [_COLOURS.get(colour, "") for colour in colours])
    orders = {tuple(map(letters.index, "rgb")) for letters in three if sorted(letters) == ["b", "g", "r"]}
    if orders and sorted(counts) == [1, 1, 3]:  # slices that are named red, green and blue are channels
        counts = [3, 1, 1]
    others = len({*colours}) > 1 and {*colours} != {*_COLOURS}
    return Description(tuple(counts), min(orders, default=()), others or len(orders) > 1, tuple(filter(None, size)))


def _value(key: str, text: str) -> str:
    """Return the first value of a key: of XML in quotes, of ImageJ up to the end of the line; empty without one."""
    match = re.search(rf"""\b{key}\s?=\s?["']?([^"'\n\r]{{0,200}})""", text)
    return html.unescape(match[1]) if match else ""


def _count(text: str) -> int:
    """Return a whole number that a text states, of 32 bits without a sign; 1 if it states none."""
    return int(text) % 2**32 or 1 if re.fullmatch(r"\s*-?[0-9]{1,10}\s*", text) else 1


def _length(value: str | float, unit: str) -> float | None:
    """Return a length in micrometres, the unit of OME if it names none; None if it or its unit is unknown."""
    unit = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda code: chr(int(code[1], 16)), unit.strip() or "um")  # as in ImageJ
    unit = unicodedata.normalize("NFKC", unit)
    try:
        return float(value) * _UNITS[unit if len(unit) < 3 else unit.casefold().removesuffix("s")]
    except (KeyError, ValueError):
        return None


def square_mpp(size: tuple[float, ...]) -> float | None:
    """Return micrometres per pixel from those across and down; None if implausible, or the pixels are not square."""
    return plausible_mpp(size[0]) if len(size) == 2 and math.isclose(*size, rel_tol=0.01) else None
