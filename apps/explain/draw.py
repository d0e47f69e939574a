"""Draw explanations: a heat map over its image, small pictures, and the page of all."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from ...core import counted
from ...core.formats import Floats
from ...core.jobs import atomic_output
from ...evaluate.report import render_page, thumbnail
from .explanation import Explanation, Picture

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

_SIDE = 560
"""Longest side of a picture in a drawing, in pixels; smaller pictures are enlarged to it."""

_PICTURE = 860
"""Longest side of a picture on the page, in pixels: its text stays readable, at about 60 kB."""

MAX_PICTURES = 200
"""Largest number of pictures on the page; about 12 MB."""

_TILE = 176
_GAP = 16
_BAR = 22
_SMALL = 13
_LINE = 18
"""Size of the font of captions, and distance of their lines, in pixels."""

_LARGE = 24
_APART = 29
"""Size of the font of numbers on the colour bar, which the page shows three times smaller, and their least distance."""

_INK = (28, 31, 36)
_PAPER = (255, 255, 255)

_RED = np.array([178.0, 12.0, 36.0])
_BLUE = np.array([18.0, 72.0, 168.0])
"""Ends of the two-sided colour scale, see `Explanation.warm_above`."""

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
    return _blend(grey, np.asarray(explanation.drawn, np.float64), explanation)


def _blend(grey: Floats, values: Floats, explanation: Explanation) -> Picture:
    import matplotlib as mpl

    low, high = colour_limits(explanation)
    white = explanation.white
    if explanation.signed:
        least = max(_SHORTEST * (high - low), 1e-30)
        up = np.clip((values - white) / max(high - white, least), 0, 1)[..., np.newaxis]
        down = np.clip((white - values) / max(white - low, least), 0, 1)[..., np.newaxis]
        strength = 0.8 * np.sqrt(up + down)
        colour = np.where((up > 0) == explanation.warm_above, _RED, _BLUE)
    else:
        share = np.clip((values - low) / max(high - low, 1e-30), 0, 1)
        # from dark to light
        colour = 255 * mpl.colormaps["inferno"](share)[..., :3]
        strength = 0.25 + 0.6 * share[..., np.newaxis]
    return np.clip(grey * (1 - strength) + colour * strength, 0, 255).round().astype(np.uint8)


def draw(explanation: Explanation) -> Image:
    """Draw an explanation: panels and colour bar, and small pictures. Its words are for the page."""
    pictures = []
    if explanation.values is not None:
        pictures.append(_beside(explanation))
    if explanation.tiles:
        pictures.append(_tiles(explanation))
    return _grid([[picture] for picture in pictures], border=_GAP)


def _beside(explanation: Explanation) -> Image:
    """Draw image, overlay and colour bar side by side."""
    from PIL import Image

    assert explanation.picture is not None
    picture = _sized(explanation.picture, _SIDE)
    width, height = picture.size
    bar = _colour_bar(explanation, height)
    left = 2 * (width + _GAP)
    page = Image.new("RGB", (left + bar.width, bar.height), _PAPER)
    page.paste(picture, (0, 0))
    page.paste(_sized(lay_over(explanation), _SIDE), (width + _GAP, 0))
    page.paste(bar, (left, 0))
    return page


def _colour_bar(explanation: Explanation, height: int) -> Image:
    """Draw the colours of a map from its highest value down, with numbers of ends and white, and a tick at the base."""
    from PIL import Image, ImageDraw

    low, high = colour_limits(explanation)
    height = max(height, 3 * _APART)
    step = (height - 1) / max(high - low, 1e-30)
    tops = {}
    if explanation.signed:
        # clear of the numbers at the ends, which replace it where they are equal
        middle = (high - explanation.white) * step - _APART / 2
        tops[explanation.white] = min(max(_APART, middle), height - 2 * _APART)
    tops |= {high: 0.0, low: height - _APART}
    font = font_of(_LARGE)
    widest = round(max(font.getlength(f"{value:.3g}") for value in tops))
    bar = Image.new("RGB", (_GAP + _BAR + widest, height), _PAPER)
    drawing = ImageDraw.Draw(bar)
    ramp = np.linspace(high, low, height)[:, np.newaxis].repeat(_BAR, axis=1)
    grey = np.full((height, _BAR, 1), 255.0)
    bar.paste(Image.fromarray(_blend(grey, ramp, explanation)), (0, 0))
    for value, top in tops.items():
        drawing.text((_BAR + 5, top), f"{value:.3g}", fill=_INK, font=font)
    if explanation.base:
        down = (high - explanation.tick) * step
        drawing.line([(0, down), (_BAR - 1, down)], fill=_INK, width=4)
    return bar


def _tiles(explanation: Explanation) -> Image:
    """Draw small pictures with captions."""
    across = 2 * _SIDE // (_TILE + _GAP)
    tiles = [
        _grid([[_sized(tile, _TILE)], [_text(caption, _TILE)]], gap=1)
        for caption, tile in explanation.tiles
    ]
    return _grid([tiles[start : start + across] for start in range(0, len(tiles), across)])


def write_png(path: Path, picture: Image) -> None:
    """Write a drawing as a PNG file."""
    with atomic_output(path) as temporary, temporary.open("wb") as handle:
        picture.save(handle, format="PNG", compress_level=3)


def _grid(rows: Sequence[Sequence[Image]], *, gap: int = _GAP, border: int = 0) -> Image:
    """Arrange pictures in a grid. All columns have the width of the widest picture; each row has its own height."""
    from PIL import Image

    width = max(picture.width for row in rows for picture in row)
    heights = [max(picture.height for picture in row) for row in rows]
    size = (
        max(map(len, rows)) * (width + gap) - gap + 2 * border,
        sum(heights) + (len(rows) - 1) * gap + 2 * border,
    )
    page = Image.new("RGB", size, _PAPER)
    top = border
    for row, height in zip(rows, heights, strict=True):
        for index, picture in enumerate(row):
            page.paste(picture, (border + index * (width + gap), top))
        top += height + gap
    return page


def _text(text: str, width: int) -> Image:
    """Draw a text in lines of at most `width` pixels, broken between words if possible."""
    from PIL import Image, ImageDraw

    font = font_of(_SMALL)
    columns = len(text)
    lines = [text]
    while columns > 1 and any(font.getlength(line) > width for line in lines):
        columns -= 1
        lines = textwrap.wrap(text, columns)
    page = Image.new("RGB", (width, max(1, _LINE * len(lines))), _PAPER)
    for index, line in enumerate(lines):
        ImageDraw.Draw(page).text((0, index * _LINE), line, fill=_INK, font=font)
    return page


def _sized(picture: Picture, side: int) -> Image:
    from PIL import Image

    image = Image.fromarray(picture)
    scale = side / max(image.size)
    size = tuple(max(1, round(length * scale)) for length in image.size)
    if size == image.size:
        return image
    resampling = Image.Resampling.LANCZOS
    if scale >= 8:  # tiny pictures, such as filters, are enlarged without smoothing
        resampling = Image.Resampling.NEAREST
    elif scale > 1:
        resampling = Image.Resampling.BICUBIC
    return image.resize((size[0], size[1]), resampling)


@functools.lru_cache(maxsize=8)
def font_of(size: int) -> FreeTypeFont:
    """Return the font DejaVu Sans, which matplotlib contains and which has accented letters."""
    import matplotlib as mpl
    from PIL import ImageFont

    return ImageFont.truetype(
        str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size
    )


def page_row(explanation: Explanation, picture: Image, link: str) -> dict[str, Any]:
    """Return what the page shows of an explanation and its drawing, whose file is at `link` from the page."""
    return {
        "explanation": explanation,
        "source": thumbnail(np.asarray(picture), side=_PICTURE),
        "link": quote(link),
        "alt": f"{explanation.image_id}: {where_highest(explanation)}",
    }


def where_highest(explanation: Explanation) -> str:
    """Describe a map in words: its range, and where it is highest. Empty without a map."""
    if explanation.values is None:
        return ""
    values = explanation.drawn
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    across = column / values.shape[1]
    down = row / values.shape[0]
    return (
        f"{explanation.unit} from {values.min():.3g} to {values.max():.3g}, highest {100 * across:.0f} % from the left "
        f"and {100 * down:.0f} % from the top."
    )


def write_page(path: Path, rows: Sequence[dict[str, Any]], *, count: int, **values: Any) -> None:
    """Write the page of all explanations.

    Parameters
    ----------
    path : Path
    rows : sequence of dict
        Results of `page_row` for the first `MAX_PICTURES`.
    count : int
        Number of explanations.
    **values
        The title, ``banners``, ``failures``, and about the model what is ``known`` of its results and ``facts``.
    """
    render_page(
        path,
        "sheet.html",
        package=__package__,
        style="sheet.css",
        script="",
        goal="pictures",
        summary=counted(count, "picture"),
        rows=rows,
        left_out=count - len(rows),
        **values,
    )
