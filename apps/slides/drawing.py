"""Pictures of tiles: each in a colour over its slide, with what the colours mean below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.formats import Floats, Integers, Pixels
from ...evaluate.report import thumbnail
from ..explain import rendered, stacked, with_bar, write_image
from .annotation_files import Colour
from .colours import heat_colours
from .tissue import Overview

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


def draw_heat(overview: Overview, boxes: Integers, values: Floats, title: str) -> Pixels:
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
    return with_bar(pixels, heat_colours(np.linspace(0, 1, 256)), (0, 1, 0.5), title=title)


def with_legend(pixels: Pixels, lines: Sequence[tuple[str, Colour]]) -> Pixels:
    """Return a picture with lines below, each with a square of its colour."""
    from matplotlib.patches import Patch

    def draw_legend(figure: Any) -> None:
        squares = [Patch(facecolor=f"#{bytes(colour).hex()}", label=line) for line, colour in lines]
        figure.legend(
            handles=squares, loc="upper left", frameon=False, handleheight=1, handlelength=1
        )

    return stacked([pixels, rendered(draw_legend, 400, 30 * len(lines))])


def write_picture(path: Path, picture: Pixels) -> str:
    """Write a picture as PNG; return it as a data address."""
    write_image(path, picture)
    return thumbnail(picture, side=_PICTURE)
