"""What the description of a TIFF states: channels and micrometres per pixel, as OME, ImageJ and Aperio write them.

Only the first `limits.DESCRIPTION` characters are searched, by regular expressions, so that no entity of XML is
expanded and no other file is opened.

References
----------
OME Data Model 2016-06 (Pixels, Channel); ImageJ 1.54, FileSaver.java and TiffEncoder.java (keys of the text).
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from .. import Content
from . import files, limits

_CHANNEL = re.compile(r"<(?:\w{1,99}:)?Channel\b([^<>]*)")
_MPP = re.compile(r"\|\s?MPP\s?=\s?([0-9]+[.,]?[0-9]*)")
_PURE = {"ff0000": "r", "00ff00": "g", "0000ff": "b"}
_COLOUR_NAME = re.compile(r"(?<![a-z])(?:(r)|(g)|(b))(?:ed|reen|lue)?(?![a-z])", re.IGNORECASE)
_UNITS = {
    "um": 1.0,
    "μm": 1.0,
    "micron": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "in": 25_400.0,
    "inch": 25_400.0,
}
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


def describe(
    text: str, *, samples: int, resolutions: list[float], beside: Content | None
) -> Description:
    """Read the description of a page.

    Parameters
    ----------
    text : str
    samples : int
        Samples per pixel of the page; OME counts each as a channel.
    resolutions : list of float
        Pixels per unit, across and down; empty if unknown. ImageJ writes the unit into the description.
    beside : dict, optional
        What ImageJ writes outside of the description, such as ``LUTs``.
    """
    text = text[: limits.DESCRIPTION].strip()
    first_image = re.split(r"</(?:\w{1,99}:)?Pixels\s*>", text, maxsplit=1)[0]
    if re.search(r"<(?:\w{1,99}:)?OME\b", text) is not None:
        return _of_ome(first_image, samples)
    if text.startswith("ImageJ="):
        unit = _value("unit", first_image) or "pixel"
        tables = (beside or {}).get("LUTs", ())
        return _with_order(
            tuple(_count(_value(key, first_image)) for key in ("channels", "slices", "frames")),
            names=[],
            # each channel is shown by a table of colours
            colours=[bytes(table[:, -1]).hex() for table in tables],
            size=[_length(1 / resolution, unit) for resolution in resolutions],
        )
    # a picture that was made smaller keeps the number of the large one: "46000x32914 -> 1024x732"
    if text.startswith("Aperio") and "->" not in text.partition("|")[0]:
        numbers = {float(number.replace(",", ".")) for number in _MPP.findall(text)}
        if len(numbers) == 1:
            return Description(size=(*numbers, *numbers))
    return Description()


def _of_ome(text: str, samples: int) -> Description:
    """Read the description of an image by OME."""
    channels = _CHANNEL.findall(text)
    colours = [_value("Color", channel) for channel in channels]
    size = [
        _length(_value(f"PhysicalSize{axis}", text), _value(f"PhysicalSize{axis}Unit", text))
        for axis in "XY"
    ]
    count, planes, times = (_count(_value(key, text)) for key in ("SizeC", "SizeZ", "SizeT"))
    return _with_order(
        (max(1, count // samples), planes, times),
        names=[_value("Name", channel) for channel in channels],
        colours=[f"{_count(colour) >> 8:06x}" for colour in colours if colour],  # RGBA
        size=size,
    )


def _with_order(
    counts: tuple[int, ...],
    *,
    names: Sequence[str],
    colours: Sequence[str],
    size: Sequence[float | None],
) -> Description:
    """Return a description with the order of red, green and blue by the names or the colours of the channels.

    Parameters
    ----------
    counts : tuple of int
    names : sequence of str
    colours : sequence of str
        The brightest colour of each channel that has one, in hexadecimal digits.
    size : sequence of float
    """
    by_name = ["".join(map("".join, _COLOUR_NAME.findall(name))).lower() for name in names]
    by_colour = [_PURE.get(colour, "") for colour in colours]
    orders = set()
    for letters in (by_name, by_colour):
        if sorted(letters) == ["b", "g", "r"]:
            orders.add(tuple(map(letters.index, "rgb")))
    has_others = len({*colours}) > 1 and {*colours} != {*_PURE}
    return Description(
        counts,
        order=min(orders, default=()),
        other=has_others or len(orders) > 1,
        size=tuple(filter(None, size)),
    )


def _value(key: str, text: str) -> str:
    """Return the first value of a key: XML has it in quotes, ImageJ up to the end of the line; empty without one."""
    match = re.search(rf"""\b{key}\s?=\s?["']?([^"'\n\r]{{0,200}})""", text)
    if match is None:
        return ""
    return html.unescape(match[1])


def _count(text: str) -> int:
    """Return the whole number in a text, as 32 bits without a sign; 1 if the text is not a whole number."""
    if re.fullmatch(r"\s*-?[0-9]{1,10}\s*", text) is None:
        return 1
    return max(1, int(text) % 2**32)


def _length(value: str | float, unit: str) -> float | None:
    """Return a length in micrometres, the unit if none is named; None if the length or its unit is unknown."""
    # ImageJ escapes letters beyond ASCII
    unit = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda code: chr(int(code[1], 16)), unit.strip() or "um")
    unit = unicodedata.normalize("NFKC", unit)
    if len(unit) > 2:
        unit = unit.casefold().removesuffix("s")
    try:
        return float(value) * _UNITS[unit]
    except (KeyError, ValueError):
        return None


def square_mpp(size: tuple[float, ...]) -> float | None:
    """Return micrometres per pixel from those across and down; None if implausible, or the pixels are not square."""
    if len(size) != 2 or not math.isclose(*size, rel_tol=0.01):
        return None
    return files.plausible_mpp(size[0])
