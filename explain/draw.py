"""Explanations as pictures: a map over the image with its colour bar, small pictures, bars; and what it is not."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .explanation import Explanation, Picture

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

_SIDE = 560
"""Longest side of a picture in a drawing, pixels; small ones are enlarged to it."""

_TILE = 176
_GAP, _BAR = 16, 22
_SMALL, _LARGE = 15, 19
_INK, _FAINT, _PAPER = (28, 31, 36), (90, 96, 106), (255, 255, 255)

_RED, _BLUE = np.array([178.0, 12.0, 36.0]), np.array([18.0, 72.0, 168.0])
"""Ends of the scale of two sides: more likely and less likely."""

_HOT = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], dtype=np.float64)
"""Scale of one side, by lightness from dark to light."""

_NEARLY_ALL = 99.5
"""Percentile at which a colour bar without fixed ends stops: a single pixel is not to make all else
pale."""

_SHORTEST = 0.25
"""Share of the colour bar over which a side takes its full colour at least: beside a base of 0.95 the little
that is left is not to look like much."""

Floats = npt.NDArray[np.float64]


def colour_limits(explanation: Explanation) -> tuple[float, float]:
    """Return the values at the ends of the colour bar."""
    if explanation.limits is not None:
        return explanation.limits
    values = np.asarray(explanation.values, np.float64)
    far = float(np.percentile(np.abs(values - explanation.centre), _NEARLY_ALL)) if values.size else 0.0
    far = max(far, explanation.floor)
    far = far or float(np.abs(values - explanation.centre).max(initial=0.0)) or 1.0
    return (explanation.centre - far if explanation.signed else explanation.centre), explanation.centre + far


def lay_over(explanation: Explanation) -> Picture:
    """Lay a map over its picture, which turns grey so that its own colours are not taken for the map's.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
    """
    if explanation.picture is None or explanation.values is None:
        raise ValueError("an explanation without a map cannot be laid over a picture")
    grey = explanation.picture.mean(axis=2)[..., np.newaxis]
    return _blend(grey, np.asarray(explanation.values, np.float64), explanation)


def _blend(grey: Floats, values: Floats, explanation: Explanation) -> Picture:
    (low, high), centre = colour_limits(explanation), explanation.centre
    if explanation.signed:
        least = max(_SHORTEST * (high - low), 1e-30)
        up = np.clip((values - centre) / max(high - centre, least), 0, 1)[..., np.newaxis]
        down = np.clip((centre - values) / max(centre - low, least), 0, 1)[..., np.newaxis]
        strength = 0.8 * np.sqrt(up + down)
        colour = np.where(up > 0, _RED, _BLUE)
    else:
        share = np.clip((values - low) / max(high - low, 1e-30), 0, 1)
        places = share * (len(_HOT) - 1)
        colour = np.stack([np.interp(places, range(len(_HOT)), _HOT[:, channel]) for channel in range(3)], axis=-1)
        strength = 0.25 + 0.6 * share[..., np.newaxis]
    return np.clip(grey * (1 - strength) + colour * strength, 0, 255).round().astype(np.uint8)


def draw(explanation: Explanation) -> Image:
    """Draw an explanation: what was asked, the pictures, and beneath them what they are not."""
    parts = [beside(explanation)] if explanation.values is not None else []
    if explanation.tiles:
        parts.append(_tiles(explanation))
    if explanation.bars:
        parts.append(_bars(explanation))
    width = max(part.width for part in parts)
    head = _lines(_title(explanation), width, _LARGE)
    caution = _lines(f"What it is not: {explanation.caution}", width, _SMALL)
    line = {size: round(size * 1.4) for size in (_SMALL, _LARGE)}
    height = len(head) * line[_LARGE] + sum(part.height + _GAP for part in parts) + len(caution) * line[_SMALL] + _GAP
    page, pen = _canvas(width + 2 * _GAP, height + 2 * _GAP)
    at = _GAP
    for text in head:
        pen.text((_GAP, at), text, fill=_INK, font=_font(_LARGE))
        at += line[_LARGE]
    at += _GAP // 2
    for part in parts:
        page.paste(part, (_GAP, at))
        at += part.height + _GAP
    for text in caution:
        pen.text((_GAP, at), text, fill=_FAINT, font=_font(_SMALL))
        at += line[_SMALL]
    return page


def _title(explanation: Explanation) -> str:
    title = f"{explanation.image_id}: {explanation.method}"
    if explanation.target:
        title += f" of {explanation.target}"
    if explanation.predicted:
        title += f"; the model says {explanation.predicted}"
        if explanation.target and not math.isnan(explanation.score):
            more = "" if math.isnan(explanation.calibrated) else f", calibrated {explanation.calibrated:.3f}"
            title += f" (probability of {explanation.target} {explanation.score:.3f}{more})"
    return title


def beside(explanation: Explanation, *, side: int = _SIDE) -> Image:
    """Put picture, overlay and colour bar side by side; nothing in it names the image."""
    from PIL import Image

    pictures = [_sized(shown, side) for shown in (explanation.picture, lay_over(explanation)) if shown is not None]
    width, height = pictures[0].size
    low, high = colour_limits(explanation)
    ticks = [high, explanation.centre, low] if explanation.signed else [high, low]
    numbers = [f"{value:.3g}" for value in ticks]
    if explanation.base:
        numbers[1] += " base"
    label = round(max(_font(_SMALL).getlength(text) for text in numbers))
    unit = _lines("; ".join(explanation.margin), 2 * width + 2 * _GAP + _BAR + label, _SMALL)
    page, pen = _canvas(2 * width + 3 * _GAP + _BAR + label, height + 4 + round(1.4 * _SMALL) * len(unit))
    for index, picture in enumerate(pictures):
        page.paste(picture, (index * (width + _GAP), 0))
    ramp = np.linspace(high, low, height)[:, np.newaxis].repeat(_BAR, axis=1)
    bar = _blend(np.full((height, _BAR, 1), 225.0), ramp, explanation)
    left = 2 * (width + _GAP)
    page.paste(Image.fromarray(bar), (left, 0))
    for index, (text, value) in enumerate(zip(numbers, ticks, strict=True)):
        down = (high - value) / (high - low) * (height - 1) if high > low else 0
        between = index == 1 and len(ticks) == 3  # a base near an end is not to be written over its number
        first, last = (1.2 * _SMALL, height - 2.4 * _SMALL) if between else (0, height - 1.2 * _SMALL)
        top = min(max(first, down - _SMALL * 0.7), last)
        pen.text((left + _BAR + 5, top), text, fill=_INK, font=_font(_SMALL))
    for index, text in enumerate(unit):
        pen.text((0, height + 4 + index * round(1.4 * _SMALL)), text, fill=_INK, font=_font(_SMALL))
    return page


def _tiles(explanation: Explanation) -> Image:
    across = min(len(explanation.tiles), max(3, (2 * _SIDE) // (_TILE + _GAP)))
    down = -(-len(explanation.tiles) // across)
    line, size = round(1.4 * (_SMALL - 2)), _SMALL - 2
    tiles = [(caption, _sized(tile, _TILE)) for caption, tile in explanation.tiles]
    tall = max(tile.height for _, tile in tiles)
    notes = [] if explanation.values is not None else explanation.margin  # else they stand beneath the map
    below = _lines("; ".join(notes), across * (_TILE + _GAP), _SMALL)
    wide, high = across * (_TILE + _GAP), down * (tall + line + _GAP)
    page, pen = _canvas(wide, high + round(1.4 * _SMALL) * len(below))
    for index, (caption, tile) in enumerate(tiles):
        left, top = index % across * (_TILE + _GAP), index // across * (tall + line + _GAP)
        page.paste(tile, (left, top))
        pen.text((left, top + tall + 1), _cut(caption, _TILE + _GAP // 2, size), fill=_INK, font=_font(size))
    for index, text in enumerate(below):
        pen.text((0, high + index * round(1.4 * _SMALL)), text, fill=_INK, font=_font(_SMALL))
    return page


def _bars(explanation: Explanation) -> Image:
    """Draw named numbers as bars to the right, red, or to the left, blue."""
    names = [name for name, _ in explanation.bars]
    most = max((abs(value) for _, value in explanation.bars), default=0.0) or 1.0
    font, line, reach = _font(_SMALL), round(1.5 * _SMALL), 260
    label = min(math.ceil(max(font.getlength(name) for name in names)), 460)
    number = round(font.getlength("-0.0000")) + 12
    width = label + 2 * reach + 2 * number + _GAP
    notes = _lines("; ".join(explanation.notes), width, _SMALL)
    page, pen = _canvas(width, line * (len(names) + 1 + len(notes)) + 4)
    zero = label + _GAP + number + reach
    for row, (name, value) in enumerate(explanation.bars):
        top = row * line
        pen.text((0, top), _cut(name, label, _SMALL), fill=_INK, font=font)
        end = zero + reach * value / most
        colour = tuple(int(part) for part in (_RED if value >= 0 else _BLUE))
        pen.rectangle((min(zero, end), top + 3, max(zero, end), top + line - 4), fill=colour)
        text = f"{value:+.4f}"
        pen.text((end + 6 if value >= 0 else end - 6 - font.getlength(text), top), text, fill=_INK, font=font)
    pen.line((zero, 0, zero, line * len(names)), fill=_FAINT)
    pen.text((label + _GAP, line * len(names) + 4), explanation.unit, fill=_INK, font=font)
    for row, text in enumerate(notes, start=1):
        pen.text((0, line * (len(names) + row) + 4), text, fill=_INK, font=font)
    return page


def write_sheet(path: Path, drawn: list[Path], *, width: int = 420, most: int = 200) -> None:
    """Write a contact sheet: drawings beside each other, at most `most` of them.

    Parameters
    ----------
    path : Path
        The PNG file.
    drawn : list of Path
        Drawings.
    width : int
        Of each at most, pixels.
    most : int
    """
    from PIL import Image

    from ..jobs import atomic_output

    small = []
    for file in drawn[:most]:
        with Image.open(file) as whole:
            scale = min(1.0, width / whole.width)
            size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
            small.append(whole.convert("RGB").resize(size))
    across = max(1, min(len(small), 3))
    rows = [small[at : at + across] for at in range(0, len(small), across)]
    heights = [max(picture.height for picture in row) for row in rows]
    page, _ = _canvas(across * (width + _GAP) + _GAP, sum(heights) + _GAP * (len(rows) + 1))
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        for index, picture in enumerate(row):
            page.paste(picture, (_GAP + index * (width + _GAP), top))
        top += height + _GAP
    with atomic_output(path) as temporary, temporary.open("wb") as handle:
        page.save(handle, format="PNG", compress_level=3)


def _canvas(width: int, height: int) -> tuple[Image, ImageDraw]:
    from PIL import Image, ImageDraw

    page = Image.new("RGB", (max(1, width), max(1, height)), _PAPER)
    return page, ImageDraw.Draw(page)


def _sized(picture: Picture, side: int) -> Image:
    from PIL import Image

    image = Image.fromarray(picture)
    scale = side / max(image.size)
    size = tuple(max(1, round(length * scale)) for length in image.size)
    if size == image.size:
        return image
    blocky = scale >= 8  # a few pixels, such as a filter, are shown as what they are
    resampling = (
        Image.Resampling.NEAREST if blocky else Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS
    )
    return image.resize((size[0], size[1]), resampling)


@functools.lru_cache(maxsize=8)
def _font(size: int) -> FreeTypeFont:
    """Return DejaVu Sans, which matplotlib brings and which has accents."""
    import matplotlib as mpl
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def _lines(text: str, width: int, size: int) -> list[str]:
    """Break a text into lines of a width, long words too."""
    font, lines, words = _font(size), [], text.split()
    line = ""
    while words:
        word = words.pop(0)
        longer = f"{line} {word}".strip()
        if font.getlength(longer) <= width:
            line = longer
        elif line:
            lines.append(line)
            line, words = "", [word, *words]
        else:
            fits = next(n for n in range(len(word), 0, -1) if n == 1 or font.getlength(word[:n]) <= width)
            lines.append(word[:fits])
            words = [word[fits:], *words] if word[fits:] else words
    return [*lines, line] if line else lines


def _cut(text: str, width: int, size: int) -> str:
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
