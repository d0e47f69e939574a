"""What the description of a TIFF states: planes and channels of OME, ImageJ and tifffile, and micrometres per pixel.

The texts are untrusted: only their first `limits.DESCRIPTION` characters are read, and by regular expressions, so that
no entity of XML is expanded and no other file is opened.

References
----------
OME Data Model 2016-06 (Pixels, Channel); ImageJ 1.54, ij/io/FileSaver.java and TiffEncoder.java (keys of the text).
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import limits
from .bounds import parse_json
from .container import plausible_mpp

_ELEMENT = re.compile(r"<(?:\w{1,99}:)?(Pixels|Channel)\b([^<>]*)>")
_ATTRIBUTE = re.compile(r"""\b([A-Za-z]{1,99})\s?=\s?(?:"([^"]*)"|'([^']*)')""")
_MPP = re.compile(r"\|\s?MPP\s?=\s?([0-9]+[.,]?[0-9]*)")

_COLOUR = re.compile(r"(?<![a-z])(r|g|b|red|green|blue)(?![a-z])")
_STAIN = re.compile(
    r"dapi|hoechst|[gycmr]fp\b|tritc|fitc|\bcy ?-?[2357]|alexa|\baf ?-?\d{3}|texas|opal|cherry|tomato|rhodamine|atto|"
    r"fluo|phalloidin|draq|dylight|iodide"
)
"""Names of channels that are fluorescent."""
_LIGHTS = frozenset({"EmissionWavelength", "ExcitationWavelength", "Fluor"})

_UNITS = {
    "pm": 1e-6, "å": 1e-4, "nm": 1e-3, "um": 1.0, "μm": 1.0, "mm": 1e3, "cm": 1e4, "dm": 1e5, "m": 1e6,
    "in": 25_400.0, '"': 25_400.0, "inch": 25_400.0, "thou": 25.4, "meter": 1e6, "metre": 1e6,
    **{prefix + unit: size for prefix, size in (("nano", 1e-3), ("micro", 1.0), ("milli", 1e3), ("centi", 1e4))
       for unit in ("meter", "metre")}, "micron": 1.0, "angstrom": 1e-4,
}  # fmt: skip
"""Micrometres of a unit of length, as `_unit` writes it."""


@dataclass(frozen=True)
class Description:
    """What the description of a TIFF states.

    Attributes
    ----------
    channels, planes, times : int
        Sizes of the axes C, Z and T; 1 if not stated.
    order : tuple of int
        Positions of red, green and blue among three channels, by their names or colours; empty if not stated.
    fluorescent : bool
        Whether a channel is stated to be fluorescent, or the channels have other colours than red, green and blue.
    size : tuple of float, or None
        Micrometres per pixel, across and down.
    """

    channels: int = 1
    planes: int = 1
    times: int = 1
    order: tuple[int, ...] = ()
    fluorescent: bool = False
    size: tuple[float, float] | None = None

    @property
    def mpp(self) -> float | None:
        """Micrometres per pixel; None if implausible for a microscope, or the pixels are not square."""
        across, down = self.size or (0.0, 0.0)
        return plausible_mpp(across) if math.isclose(across, down, rel_tol=0.01) else None


def describe(
    text: str, *, samples: int, resolutions: Sequence[float], more: Callable[[], dict[str, Any] | None]
) -> Description:
    """Read the description of a page.

    Parameters
    ----------
    text : str
    samples : int
        Samples per pixel of the page; channels of OME count each.
    resolutions : sequence of float
        Pixels per unit, across and down, of an ImageJ file; empty if unknown.
    more : callable
        Returns what ImageJ writes outside of the description: ``Labels`` and ``LUTs``.
    """
    text = text[: limits.DESCRIPTION].strip()
    if re.search(r"<(?:\w{1,99}:)?OME\b", text):
        return _of_ome(text, samples)
    if text.startswith("ImageJ="):
        return _of_imagej(dict(line.split("=", 1) for line in text.splitlines() if "=" in line), resolutions, more)
    if text.startswith('{"'):
        return _of_tifffile(text)
    values = {value.replace(",", ".") for value in _MPP.findall(text)}
    # a picture that was made smaller keeps the number of the large one: "46000x32914 -> 1024x732"
    if text.startswith("Aperio") and len(values) == 1 and "->" not in text.partition("|")[0]:
        return Description(size=(float(min(values)),) * 2)
    return Description()


def _of_ome(text: str, samples: int) -> Description:
    elements = [
        (name, {key: html.unescape(double or single) for key, double, single in _ATTRIBUTE.findall(inside)})
        for name, inside in _ELEMENT.findall(text)
    ]
    starts = [index for index, (name, _) in enumerate(elements) if name == "Pixels"]
    if not starts:
        return Description()
    pixels = elements[starts[0]][1]
    channels = [inside for _, inside in elements[starts[0] + 1 : (*starts, None)[1]]]
    counts = {axis: _count(pixels.get(f"Size{axis}")) for axis in "CZT"}
    colours = [f"{_count(inside['Color']) >> 8:06x}" for inside in channels if "Color" in inside]  # RGBA
    order, fluorescent = _order([inside.get("Name", "") for inside in channels], colours)
    lit = any(_LIGHTS & {*inside} or "luoresc" in "".join(inside.values()) for inside in channels)
    sides = [_size(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "XY"]
    size = (sides[0], sides[1]) if sides[0] and sides[1] else None
    return Description(max(1, counts["C"] // samples), counts["Z"], counts["T"], order, fluorescent or lit, size)


def _of_imagej(
    fields: dict[str, str], resolutions: Sequence[float], more: Callable[[], dict[str, Any] | None]
) -> Description:
    channels, planes, times = (_count(fields.get(name)) for name in ("channels", "slices", "frames"))
    order, fluorescent = (), False
    if 3 in (channels, planes, times):
        beside = more() or {}
        ends = [bytes(table[:, -1]).hex() for table in beside.get("LUTs", ())]
        order, fluorescent = _order([str(label) for label in beside.get("Labels", ())], ends)
        if order and sorted((channels, planes, times)) == [1, 1, 3]:  # a stack whose slices are named red, green, blue
            channels, planes, times = 3, 1, 1
    unit = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda code: chr(int(code[1], 16)), fields.get("unit", ""))
    sides = [_size(1 / value if value else None, unit) for value in resolutions]
    size = (sides[0], sides[1]) if len(sides) == 2 and sides[0] and sides[1] else None
    return Description(channels, planes, times, order, fluorescent, size)


def _of_tifffile(text: str) -> Description:
    try:
        stated = parse_json(text)
        counts = dict(zip(stated["axes"], map(int, stated["shape"]), strict=True))
    except (LookupError, TypeError, ValueError, RecursionError):
        return Description()
    return Description(counts.get("C", 1), counts.get("Z", 1), counts.get("T", 1))


def _order(names: list[str], colours: list[str]) -> tuple[tuple[int, ...], bool]:
    """Return the positions of red, green and blue, and whether the channels are others, as in fluorescence."""
    lower = [name.casefold() for name in names]
    letters = ["".join(match[1][0] for match in _COLOUR.finditer(name)) for name in lower]
    by_colour = [{"ff0000": "r", "00ff00": "g", "0000ff": "b"}.get(colour, "") for colour in colours]
    orders = {tuple(map(stated.index, "rgb")) for stated in (letters, by_colour) if sorted(stated) == ["b", "g", "r"]}
    others = len(set(colours)) > 1 and sorted(by_colour) != ["b", "g", "r"]
    fluorescent = len(orders) > 1 or others or any(map(_STAIN.search, lower))
    return (min(orders) if orders else ()), fluorescent


def _count(value: str | None) -> int:
    """Return a whole number that a text states, of 32 bits without a sign; 1 if it states none."""
    text = (value or "").strip()
    return int(text) % 2**32 or 1 if re.fullmatch(r"-?[0-9]{1,10}", text) else 1


def _size(value: Any, unit: str) -> float | None:
    """Return a length in micrometres; None if it or its unit is unknown."""
    unit = unicodedata.normalize("NFKC", unit.strip())
    unit = unit.casefold().removesuffix("s") if len(unit) > 2 else unit
    try:
        return float(value) * _UNITS["inch" if unit == "inche" else unit.replace("Å", "å")]
    except (KeyError, TypeError, ValueError):
        return None
