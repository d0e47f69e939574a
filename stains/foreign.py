"""Find pixels that are not tissue: ink, black borders, the black around a field of view, text, single-coloured areas.

All tissue of haematoxylin and eosin lies in a cone of optical densities. Ink and black lie outside it, in areas.
"""

from __future__ import annotations

import numpy as np

from ..core.formats import Array, Flags, Floats32
from .colours import Image, check_rgb, optical_density

Mask = Flags

_INK = (0.28, 0.2, 0.22, 0.85, 0.45)
"""Densities beyond the cone, in the order of `beyond_tissue`, from which a pixel is ink. No area of `_LEAST_SHARE` of
104 BreakHis images exceeds 0.18, 0.15, 0.14, 0.38 and 0.39. Red is higher, so that blood stays tissue: in IDC, 3
patches of 2,564 exceed it."""

_WEAK = 0.5
"""Share of `_INK` from which a pixel near ink is ink too: edges of a stroke are half as dense as the stroke."""

_PALER = 0.7
_LARGER = 10
"""Share of `_INK` (`_PALER`) that is enough for an area this many times (`_LARGER`) as large, as of translucent ink.
Areas of this size reach a share of 0.64 in one image of BreakHis, and 0.57 in the others."""

_LEAST = 24
_LEAST_SHARE = 2e-4
"""Smallest area of ink in pixels, and of any area as a share of the image, so that noise and specks of pigment stay
tissue."""

_LEAST_FLAT = 150
_DARK = 160
_PALE_SHARE = 2e-2
"""Smallest single-coloured area in pixels: a stroke in a JPEG is of one colour only inside blocks of 16 pixels. If no
channel is darker than `_DARK`, it must fill a side or this share of the image. Equal JPEG blocks of BreakHis images at
quality 75 have up to 112 pixels of dark tissue, and up to 1.8 % of the image of pale tissue."""

_REACH = 16
"""Distance in pixels over which JPEG spreads the colour of an edge: its blocks of halved colour are 16 pixels wide."""

_LEAST_KEPT = 0.8
"""Share of the other pixels that must be farther than `_REACH` so that those near are left out of the statistics."""

_APART = 0.56
"""Share of the pixels of a colour and of those around it that have this colour, from which it may be an ink or padding,
though a mixture of stains could have it. Colours of tissue pass into one another: 101 of 104 BreakHis images have at
most 0.4, the others specks of pigment and pale tissue."""

_TOGETHER = 0.9
_FEW_AREAS = 6
"""This share of the pixels of such colours must lie in so few areas: in inks 0.93 or more do, also in JPEG, but nuclei
of one colour are many."""

_LEAST_APART = 400
_LEAST_APART_SHARE = 1.2e-3
_MOST_APART_SHARE = 0.25
"""Bounds of all these areas in pixels, and as shares of the image: pigment has less, glass and even tissue more."""

_COLOURS = 32
"""Bins of a channel in which colours are counted. A colour is three bins wide, with the colours around it seven."""

_JPEG_NOISE = 24
"""Difference in grey levels of JPEG noise from the single colour beside it, at quality 75."""

_ROWS = 32
"""Rows whose densities are computed at a time."""

_EDGE = 2
"""Width in pixels of the edge that antialiasing or a lens mixes with tissue."""

_GLASS = 205
"""If all channels are brighter (density below 0.15), a single colour is glass, unless it fills a side of the image."""

_SAMPLED = 100
"""Rows or columns of the shorter side in a sample that shows whether an image may have such pixels at all. The smallest
area (`_LEAST_SHARE`) has two pixels in it, and an image without such pixels is normalised nearly as fast."""


def beyond_tissue(density: Array) -> Array:
    """Return how far optical densities are outside the cone of haematoxylin and eosin, positive if outside.

    Parameters
    ----------
    density : ndarray of float, shape (..., 3)
        Optical density of red, green and blue.

    Returns
    -------
    ndarray of float, shape (5, ...)
        Towards blue (and green), green, orange, red and grey. Both stains absorb green most, eosin more blue than red;
        brown chromogens and pigment are in none of these directions.
    """
    red, green, blue = np.moveaxis(density, -1, 0)
    low = np.minimum(green, blue)
    directions = (
        red - 0.65 * (green + blue),
        np.minimum(red, blue) - green,
        blue - 1.15 * green - 0.5 * red,
        low - 2 * red,
        np.minimum(low, red) - 0.5 * np.maximum(np.maximum(green, blue), red),
    )
    return np.stack(directions)


def foreign_pixels(image: Image) -> Mask | None:
    """Return a mask of the pixels that are not tissue.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB.

    Returns
    -------
    ndarray of bool, shape (height, width), or None
        None if there are none.

    Raises
    ------
    ImageError
        Not a uint8 RGB image.

    Examples
    --------
    >>> tissue = np.uint8((200, 120, 170)) + np.uint8(np.indices((60, 60)).sum(axis=0) % 2)[..., np.newaxis]
    >>> foreign_pixels(tissue) is None
    True
    >>> tissue[10:20] = (30, 60, 180)
    >>> foreign_pixels(tissue)[15].all()
    np.True_
    """
    pixels = check_rgb(image).shape[0] * image.shape[1]
    least = max(_LEAST, _LEAST_SHARE * pixels)
    least_flat = max(_LEAST_FLAT, _LEAST_SHARE * pixels)
    step = max(1, min(image.shape[:2]) // _SAMPLED)
    sample = np.ascontiguousarray(image[::step, ::step])
    groups = _colours_apart(sample)
    if not groups:
        # most images have no ink or single-coloured areas, and end here; areas are found at full resolution
        even = _even(sample, 1)
        even &= _even(image, step)[: even.shape[0], : even.shape[1]]
        strength = _strength(sample)
        hints = (
            (strength >= 1, least),
            (strength >= _PALER, _LARGER * least),
            (even, least_flat),
        )
        if all(_components(hint)[1].max() * step**2 < smallest / 2 for hint, smallest in hints):
            return None
    mask = _ink(image, least)
    if groups:
        red, green, blue = np.moveaxis(image // (256 // _COLOURS), 2, 0)
        for colours in groups:
            mask |= _in_few_areas(colours[red, green, blue])
    dark, light = _single_coloured(image, least_flat)
    mask = _dilated(mask | dark, _EDGE) | light
    if not mask.any():
        return None
    return mask


def ink_pixels(image: Image, *, least: float) -> Mask:
    """Return a mask of ink and black by their colours only, whatever their shape; with their edges.

    It suits thumbnails of slides, in which tissue on glass may have one colour and lie in few areas, as ink does.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB.
    least : float
        Pixels of the smallest area; never fewer than 24.

    Raises
    ------
    ImageError
        Not a uint8 RGB image.
    """
    return _dilated(_ink(check_rgb(image), max(_LEAST, least)), _EDGE)


def _strength(image: Image) -> Floats32:
    """Return how far each pixel is beyond tissue, as a share of `_INK`: 1 is ink; shape (height, width)."""
    scales = np.array([[[1 / ink]] for ink in _INK], np.float32)
    return np.asarray((beyond_tissue(optical_density(image)) * scales).max(axis=0))


def _ink(image: Image, least: float) -> Mask:
    """Return the areas of ink and black that have at least so many pixels."""
    strength = np.empty(image.shape[:2], np.float32)
    # rows at a time, whose densities stay in the cache of a core
    for top in range(0, len(image), _ROWS):
        strength[top : top + _ROWS] = _strength(image[top : top + _ROWS])
    mask = large_areas(strength >= 1, least) | large_areas(strength >= _PALER, _LARGER * least)
    if not mask.any():
        return mask
    # beside ink, less is ink too, as letters beside a scale bar
    ink = large_areas(strength >= _PALER, _LEAST)
    return _touched(ink, _dilated(ink, _REACH) & (strength >= _WEAK))


def _single_coloured(image: Image, least: float) -> tuple[Mask, Mask]:
    """Return the dark and the light areas of a single colour that have at least so many pixels."""
    import cv2

    dark = np.zeros(image.shape[:2], bool)
    light = np.zeros(image.shape[:2], bool)
    labels, areas, boxes = _components(_even(image, 1))
    large = areas >= least
    is_even = _padded(large[labels])
    least_pale = _PALE_SHARE * image.shape[0] * image.shape[1]
    for label in np.flatnonzero(large):
        left, top, width, _ = boxes[label]
        # all its pixels have one colour: that of its first pixel in the top row of its box
        first = left + np.argmax(labels[top, left : left + width] == label)
        colour = image[top, first].astype(int)
        if colour.min() > _DARK:
            # glass and pale tissue stay, except for large areas that are darker than glass, and padding
            large_pale = colour.min() <= _GLASS and areas[label] >= least_pale
            if large_pale or _fills_side(boxes[label], labels.shape):
                light |= _with_neighbours(labels == label)
            continue
        core = _with_neighbours(labels == label)
        similar = cv2.inRange(image, colour - _JPEG_NOISE, colour + _JPEG_NOISE) > 0
        area = _touched(core, _dilated(core, _REACH) & similar)
        # a single block of a JPEG may be of tissue
        if np.count_nonzero(area & is_even) >= 2 * least:
            dark |= area
    return dark, light


def _fills_side(box: Array, shape: tuple[int, ...]) -> bool:
    """Return whether an area reaches along a whole side of an image of this height and width."""
    left, top, width, height = box
    down = height == shape[0] and (left == 0 or left + width == shape[1])
    across = width == shape[1] and (top == 0 or top + height == shape[0])
    return bool(down or across)


def _padded(mask: Mask) -> Mask:
    """Add the row and the column that `_even` leaves out."""
    return np.pad(mask, (0, 1))


def _with_neighbours(even: Mask) -> Mask:
    """Return pixels that have the colour of those to the right and below, with these; shape of the image."""
    import cv2

    right_and_below = np.array([[0, 1], [1, 1]], np.uint8)
    flat = _padded(even).astype(np.uint8)
    return np.asarray(cv2.dilate(flat, right_and_below, anchor=(1, 1)) > 0)


def beside(foreign: Mask) -> Mask:
    """Return foreign pixels with those near them, whose colours JPEG or a lens mixed: they define no stain either.

    If many others are near them, as in small images, only the foreign pixels are returned.
    """
    region = _dilated(foreign, _REACH)
    if np.count_nonzero(~region) < _LEAST_KEPT * np.count_nonzero(~foreign):
        return foreign
    return region


def _colours_apart(image: Image) -> list[Mask]:
    """Return sets of colours that may be an ink or padding, though a mixture of stains could have them.

    Each is a mask of shape (32, 32, 32): neighbouring colours that are frequent, while those around are rare, and
    these.
    """
    import cv2
    from scipy import ndimage

    counts = cv2.calcHist([image], [0, 1, 2], None, [_COLOURS] * 3, [0, 256] * 3).astype(np.float64)
    near, around = (
        size**3 * ndimage.uniform_filter(counts, size, mode="constant") for size in (3, 7)
    )
    dark = np.indices(counts.shape).min(axis=0) <= _DARK * _COLOURS // 256
    # 7.5: at least 8 pixels, although the filter rounds
    peaks = dark & (near >= max(7.5, _LEAST_APART_SHARE * counts.sum())) & (near >= _APART * around)
    if not peaks.any():
        return []
    labels, number = ndimage.label(peaks, np.ones((3, 3, 3)))
    return [
        ndimage.binary_dilation(labels == group, np.ones((3, 3, 3)))
        for group in range(1, number + 1)
    ]


def _in_few_areas(mask: Mask) -> Mask:
    """Return the areas of a mask that are large if its pixels lie in few areas, otherwise an empty mask."""
    labels, areas, _ = _components(mask)
    total = areas.sum()
    largest = np.sort(areas)[-_FEW_AREAS:]
    least = max(_LEAST_APART, _LEAST_APART_SHARE * mask.size)
    is_plausible = least <= total <= _MOST_APART_SHARE * mask.size
    if not is_plausible or largest.sum() < _TOGETHER * total:
        return np.zeros_like(mask)
    return np.asarray((areas >= max(1, largest[0]))[labels])


def _even(image: Image, step: int) -> Mask:
    """Return which pixels, of one in `step` rows and columns, have the colour of those to the right and below."""
    import cv2

    # one number is compared, not three
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA).view(np.uint32)[..., 0]
    base = colours[:-1:step, :-1:step]
    right = colours[:-1:step, 1::step]
    below = colours[1::step, :-1:step]
    return np.asarray((base == right) & (base == below))


def _components(mask: Mask) -> tuple[Array, Array, Array]:
    """Return the label of each pixel, and of each label its area and box; the area of label 0, the rest, is 0."""
    import cv2

    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    stats[0] = 0
    return labels, stats[:, 4], stats[:, :4]


def large_areas(mask: Mask, least: float) -> Mask:
    """Return the connected areas of a mask that have at least so many pixels."""
    if np.count_nonzero(mask) < least:
        return np.zeros_like(mask)
    labels, areas, _ = _components(mask)
    return (areas >= least)[labels]


def _touched(core: Mask, others: Mask) -> Mask:
    """Return `core` with the pixels of `others` that are connected to it."""
    labels, areas, _ = _components(core | others)
    touched = np.zeros(len(areas), bool)
    touched[labels[core]] = True
    return touched[labels]


def _dilated(mask: Mask, reach: int) -> Mask:
    import cv2

    return np.asarray(
        cv2.dilate(mask.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) > 0
    )
