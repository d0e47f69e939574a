"""Draw explanations: a heat map over its image, small pictures, and the page of all."""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from ...core import Content
from ...core.formats import Floats
from ...core.jobs import atomic_output
from ...evaluate.report import thumbnail
from .explanation import Explanation, Picture

_SIDE = 560
"""Longest side of a picture in a drawing, in pixels; smaller pictures are enlarged to it."""

_PICTURE = 860
"""Longest side of a picture on the page, in pixels: its text stays readable, at about 60 kB."""

MAX_PICTURES = 200
"""Largest number of pictures on the page; about 12 MB."""

_ACROSS = 5
"""Small pictures in a row."""

_TILE = 176
"""Longest side of a small picture, in pixels."""

_GAP = 16
_LETTER = 24
_SMALL = 13
"""Sizes of letters of colour bars and of captions, in pixels; the page shows drawings smaller."""

_CAPTION = 66
_CAPTION_LETTERS = 26
"""Height of a caption of four lines, in pixels, and letters in a line."""

_SHORTEST_BAR = 400
"""Length of the colour bar of a narrow picture, in pixels."""

RED = np.array([178, 12, 36])
_BLUE = np.array([18, 72, 168])
"""Ends of the two-sided colour scale: of values above white and below."""

_NEARLY_ALL = 99.5
"""Percentile at which a colour bar without fixed ends stops, so that a single pixel does not make all others pale."""

_SHORTEST = 0.25
"""Smallest fraction of the colour bar over which a side reaches its full colour.

Without it, the narrow side above a threshold of 0.95 would be drawn as intensely as the other."""


def colour_limits(explanation: Explanation) -> tuple[float, float]:
    """Return the values at the ends of the colour bar."""
    if explanation.limits is not None:
        return explanation.limits
    white = explanation.white
    distances = np.abs(np.asarray(explanation.values, np.float64) - white)
    reach = explanation.floor
    if distances.size:
        reach = max(float(np.percentile(distances, _NEARLY_ALL)), reach)
    reach = reach or float(distances.max(initial=0.0)) or 1.0
    low = white - reach if explanation.signed else white
    return low, white + reach


def lay_over(explanation: Explanation) -> Picture:
    """Overlay a map on its image, in grey so that the colours of the image are not mistaken for those of the map.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
    """
    assert explanation.picture is not None
    grey = explanation.picture.mean(axis=2)[..., np.newaxis]
    values = np.asarray(explanation.drawn, np.float64)
    # what shows nothing has no colour
    return _blend(grey, np.nan_to_num(values, nan=explanation.white), explanation)


def _blend(grey: Floats, values: Floats, explanation: Explanation) -> Picture:
    import matplotlib as mpl

    low, high = colour_limits(explanation)
    white = explanation.white
    if explanation.signed:
        least = max(_SHORTEST * (high - low), 1e-30)
        up = np.clip((values - white) / max(high - white, least), 0, 1)[..., np.newaxis]
        down = np.clip((white - values) / max(white - low, least), 0, 1)[..., np.newaxis]
        strength = 0.8 * np.sqrt(up + down)
        colour = np.where(up > 0, RED, _BLUE)
    else:
        share = np.clip((values - low) / max(high - low, 1e-30), 0, 1)
        # from dark to light
        colour = 255 * mpl.colormaps["inferno"](share)[..., :3]
        strength = 0.25 + 0.6 * share[..., np.newaxis]
    return np.clip(grey * (1 - strength) + colour * strength, 0, 255).round().astype(np.uint8)


def draw(explanation: Explanation) -> Picture:
    """Draw an explanation: panels and colour bar, and small pictures. Its words are for the page."""
    parts = []
    if explanation.values is not None:
        parts.append(_with_map(explanation))
    if explanation.tiles:
        parts.append(_tiles(explanation))
    return np.pad(stacked(parts), ((_GAP, _GAP), (_GAP, _GAP), (0, 0)), constant_values=255)


def _with_map(explanation: Explanation) -> Picture:
    """Draw image and overlay side by side, with a colour bar below, which has a tick at the base."""
    assert explanation.picture is not None
    picture = _sized(explanation.picture)
    between = np.full((len(picture), _GAP, 3), 255, np.uint8)
    panels = np.hstack([picture, between, _sized(lay_over(explanation))])
    low, high = colour_limits(explanation)
    ticks = [low, high]
    # clear of the numbers at the ends
    if explanation.signed and 0.1 < (explanation.white - low) / (high - low) < 0.9:
        ticks.append(explanation.white)
    mark = None
    if explanation.base:
        mark = explanation.tick
    ramp = np.linspace(low, high, 256)[np.newaxis]
    colours = _blend(np.full((1, 256, 1), 255.0), ramp, explanation)[0]
    return with_bar(panels, colours, ticks, mark=mark)


def with_bar(
    picture: Picture,
    colours: Picture,
    ticks: Sequence[float],
    *,
    title: str = "",
    mark: float | None = None,
) -> Picture:
    """Return a picture with a colour bar below.

    Parameters
    ----------
    picture : ndarray of uint8, shape (height, width, 3)
    colours : ndarray of uint8, shape (n, 3)
        Those of the lowest to the highest value.
    ticks : sequence of float
        The lowest and the highest value, then others that get a number.
    title : str
        What the values are.
    mark : float, optional
        Where a thick line crosses the bar.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    def draw_bar(figure: Any) -> None:
        axes = figure.add_axes((0, 0, 1, 1))
        scale = ScalarMappable(Normalize(ticks[0], ticks[1]), ListedColormap(colours / 255))
        figure.colorbar(scale, axes, orientation="horizontal", ticks=ticks, format="%.3g")
        axes.set_title(title, loc="left")
        if mark is not None:
            axes.axvline(mark, color="black", linewidth=4)

    width = max(picture.shape[1], _SHORTEST_BAR) - 2 * _LETTER
    return stacked([picture, rendered(draw_bar, width, _LETTER)])


def stacked(parts: Sequence[Picture]) -> Picture:
    """Return pictures one below the other, beginning at the left."""
    width = max(part.shape[1] for part in parts)
    white = [
        np.pad(part, ((0, 0), (0, width - part.shape[1]), (0, 0)), constant_values=255)
        for part in parts
    ]
    return np.concatenate(white)


def rendered(draw_on: Callable[[Any], None], width: int, height: int) -> Picture:
    """Return the pixels of a new figure on which a function draws.

    Class names are text, whatever signs they hold: a dollar sign begins no formula.

    Parameters
    ----------
    draw_on : callable
        It is called with the figure.
    width, height : int
        Size of the figure in pixels. The picture is larger if something reaches beyond it, and has a margin.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    content = io.BytesIO()
    with (
        mpl.rc_context({"text.parse_math": False, "font.size": _LETTER, "axes.titlesize": _LETTER}),
        warnings.catch_warnings(),
    ):
        # letters that the font lacks are boxes
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        # of 72 dots an inch, so that sizes of letters are in pixels
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        canvas = FigureCanvasAgg(figure)
        draw_on(figure)
        canvas.print_figure(content, format="png", bbox_inches="tight", pad_inches=_GAP / 2 / 72)
    return np.asarray(Image.open(content).convert("RGB"))


def _tiles(explanation: Explanation) -> Picture:
    """Draw small pictures with captions."""
    rows = math.ceil(len(explanation.tiles) / _ACROSS)

    def draw_tiles(figure: Any) -> None:
        figure.subplots_adjust(0, 0, 1, 1, wspace=_GAP / _TILE, hspace=_CAPTION / _TILE)
        for number, (caption, tile) in enumerate(explanation.tiles, start=1):
            axes = figure.add_subplot(rows, _ACROSS, number, anchor="NW")
            axes.axis("off")
            axes.imshow(tile)
            axes.set_title(textwrap.fill(caption, _CAPTION_LETTERS), fontsize=_SMALL, loc="left")

    return rendered(draw_tiles, _ACROSS * (_TILE + _GAP), rows * (_TILE + _CAPTION))


def write_image(path: Path, picture: Picture, kind: str = "PNG") -> None:
    """Write pixels as a file of a kind, as Pillow calls it."""
    from PIL import Image

    with atomic_output(path) as temporary, temporary.open("wb") as handle:
        Image.fromarray(picture).save(handle, kind, quality=90, compress_level=1)


def _sized(picture: Picture) -> Picture:
    """Return a picture whose longest side is that of a picture in a drawing."""
    from PIL import Image, ImageOps

    image = Image.fromarray(picture)
    return np.asarray(ImageOps.contain(image, (_SIDE, _SIDE)))


def page_row(explanation: Explanation, picture: Picture, link: str) -> Content:
    """Return what the page shows of an explanation and its drawing, whose file is at `link` from the page."""
    return {
        "explanation": explanation,
        "source": thumbnail(picture, side=_PICTURE),
        "link": quote(link),
        "alt": f"{explanation.image_id}: {where_highest(explanation)}",
    }


def where_highest(explanation: Explanation) -> str:
    """Describe a map in words: its range, and where it is highest. Empty without a map."""
    if explanation.values is None:
        return ""
    values = explanation.drawn
    least = np.nanmin(values)
    most = np.nanmax(values)
    row, column = np.argwhere(values == most)[0]
    across = column / values.shape[1]
    down = row / values.shape[0]
    return (
        f"{explanation.unit} from {least:.3g} to {most:.3g}, highest {100 * across:.0f} % from the left "
        f"and {100 * down:.0f} % from the top."
    )
