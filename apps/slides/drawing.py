"""Pictures of tiles: each in a colour over its slide, with what the colours mean below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.formats import Floats, Integers, Pixels
from ...evaluate.report import thumbnail
from ..explain import font_of, write_png
from .annotation_files import Colour
from .colours import heat_colours
from .tissue import Overview

if TYPE_CHECKING:
    from PIL import Image

_LETTER = 20
"""Size of letters, in pixels."""

_LINE = 30
"""Height of a line of text, in pixels."""

_MARGIN = 10
"""Margin of what is below a picture, in pixels."""

_BAR = 401
"""Length of a colour bar in pixels; one of them is its middle."""

_TICK = 6
"""Length of a tick below the bar, in pixels."""

_PICTURE = 1600
"""Longest side of a picture, in pixels."""


def paint_tiles(overview: Overview, boxes: Integers, colours: Pixels, shares: Floats) -> Pixels:
    """Return a picture of the slide in which tiles have colours.

    Parameters
    ----------
    overview : Overview
    boxes : ndarray, shape (tiles, 4)
        Left, top, right and bottom, pixels of level 0.
    colours : ndarray of uint8, shape (tiles, 3)
    shares : ndarray of float64, shape (tiles,)
        Of the colours, 0 to 1; the rest is the tissue.
    """
    from PIL import Image, ImageOps

    zoom = max(1, _PICTURE // max(overview.picture.shape[:2]))
    pixels = np.array(ImageOps.scale(Image.fromarray(overview.picture), zoom))
    ends = np.rint(boxes * (zoom / overview.factor)).astype(np.int64)
    for (left, top, right, bottom), colour, share in zip(ends, colours, shares, strict=True):
        covered = pixels[top:bottom, left:right]
        covered[:] = np.rint(covered * (1 - share) + colour * share)
    return pixels


def draw_heat(overview: Overview, boxes: Integers, values: Floats, title: str) -> Image.Image:
    """Draw a probability of each tile as its colour over the slide in grey, with the colour bar below.

    Tiles hide the tissue, so that their colours are those of the bar.

    Parameters
    ----------
    overview : Overview
    boxes : ndarray, shape (tiles, 4)
        As in `paint_tiles`.
    values : ndarray of float64, shape (tiles,)
    title : str
        What the values are.
    """
    from PIL import Image

    grey = np.array(Image.fromarray(overview.picture).convert("L").convert("RGB"))
    shares = np.ones(len(values))
    pixels = paint_tiles(overview._replace(picture=grey), boxes, heat_colours(values), shares)
    return _with_bar(pixels, title)


def _with_bar(pixels: Pixels, title: str) -> Image.Image:
    """Return a picture with a colour bar below, which has the values of its ends and its middle."""
    from PIL import Image, ImageDraw

    font = font_of(_LETTER)
    page = _extended(pixels, max(_BAR, round(font.getlength(title))), 3)
    pen = ImageDraw.Draw(page)
    top = pixels.shape[0] + _MARGIN
    pen.text((_MARGIN, top - 2), title, fill="black", font=font)
    colours = heat_colours(np.linspace(0, 1, _BAR))
    bar = Image.fromarray(np.tile(colours, (_LETTER, 1, 1)))
    page.paste(bar, (_MARGIN, top + _LINE))
    end = top + _LINE + _LETTER
    for share, anchor in ((0.0, "la"), (0.5, "ma"), (1.0, "ra")):
        left = _MARGIN + round(share * (_BAR - 1))
        pen.line([(left, end), (left, end + _TICK)], fill="black")
        pen.text((left, end + _TICK), f"{share:g}", fill="black", font=font, anchor=anchor)
    return page


def with_legend(pixels: Pixels, lines: Sequence[tuple[str, Colour]]) -> Image.Image:
    """Return a picture with lines below, each with a square of its colour."""
    from PIL import Image, ImageDraw

    font = font_of(_LETTER)
    words = round(max(font.getlength(line) for line, _ in lines))
    page = _extended(pixels, words + _LINE, len(lines))
    pen = ImageDraw.Draw(page)
    top = pixels.shape[0] + _MARGIN
    for line, colour in lines:
        page.paste(Image.new("RGB", (_LETTER, _LETTER), colour), (_MARGIN, top))
        pen.text((_MARGIN + _LINE, top - 2), line, fill="black", font=font)
        top += _LINE
    return page


def _extended(pixels: Pixels, width: int, lines: int) -> Image.Image:
    """Return a picture with room below for lines of a width."""
    from PIL import Image, ImageOps

    right = max(0, width + 2 * _MARGIN - pixels.shape[1])
    border = (0, 0, right, _LINE * lines + 2 * _MARGIN)
    return ImageOps.expand(Image.fromarray(pixels), border, "white")


def write_picture(path: Path, picture: Image.Image) -> str:
    """Write a picture as PNG; return it as a data address."""
    write_png(path, picture)
    return thumbnail(np.asarray(picture), side=_PICTURE)
