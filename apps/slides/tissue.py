"""The tissue of a slide, by its colours or as another program outlined it, and the share of squares that it covers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...core import InputError, Message, counted, few
from ...core.formats import Flags, Floats, Pixels
from ...stains import ink_pixels, is_grey, large_areas
from .files import SlideFile, SlideSettings, list_slides, with_mpp
from .regions import Annotation, Positions, areas_of_classes, files_by_slide, read_annotations
from .slide import Slide

_log = logging.getLogger(__name__)

_SCALE = 8.0
"""Micrometres per pixel of a mask, at least (bchisto's choice)."""

_MOST = 2048
"""Pixels of the longer side of a mask, at most (bchisto's choice)."""

_PALEST = 10
_STRONGEST = 20
"""Bounds of Otsu's threshold of the saturation (0 to 255), which would divide a slide of only tissue, or only glass. If
12 pixels of BreakHis become one, glass has 1 to 8, pale tissue 20 and more."""

_HOLE = 0.05
"""Area in mm2 below which a hole belongs to the tissue around it (bchisto's choice)."""

_SPECK = 0.02
"""Area in mm2 below which tissue is dirt, and ink a dark place in tissue (bchisto's choice)."""

_MOST_INK = 0.2
"""Share of the stained area above which a slide is named, since tissue may be lost (bchisto's choice)."""

_FEWEST = 5
"""Least number of slides among which outliers are named: quartiles and extremes are five numbers."""

_FENCE = 1.5
"""Interquartile ranges above the upper quartile from which a value is an outlier (Tukey, Exploratory Data Analysis,
1977)."""


_BITS = 4
"""Bits of the fraction of a pixel in which outlines are drawn."""


class Overview(NamedTuple):
    """A slide at the scale of a mask.

    Attributes
    ----------
    picture : ndarray of uint8, shape (height, width, 3)
        RGB.
    factor : float
        Pixels of level 0 per pixel of the picture.
    """

    picture: Pixels
    factor: float


class Areas(NamedTuple):
    """Areas of a slide, mm2.

    Attributes
    ----------
    tissue : float
    stained, ink : float
        What is not pale, and what of it is left out as ink or black; 0 if the tissue was drawn.
    """

    tissue: float
    stained: float = 0.0
    ink: float = 0.0


class Tissue(NamedTuple):
    """The tissue of a slide.

    Attributes
    ----------
    picture, factor
        See `Overview`.
    mask : ndarray of bool, shape (height, width)
    areas : Areas
    """

    picture: Pixels
    factor: float
    mask: Flags
    areas: Areas


def given_slides(sources: Sequence[Path], settings: SlideSettings) -> list[SlideFile]:
    """Return the slides in files and folders, with what is given of their micrometres and their tissue.

    Parameters
    ----------
    sources : sequence of Path
        See `list_slides`.
    settings : SlideSettings
        For outlines of tissue, see `files_by_slide`.

    Raises
    ------
    InputError
        See `list_slides` and `with_mpp`; or a slide has no file of outlines, or several.
    """
    slides = with_mpp(list_slides(sources), settings)
    source = settings.tissue_from
    if source is None:
        return slides
    masks = files_by_slide(slides, source, option="tissue_from")
    missing = [slide.name for slide in slides if slide.name not in masks]
    if missing:
        text = "{tissue_from} {}: no tissue of {}: {}; add its file, or give only the other slides"
        raise InputError(text, source, counted(len(missing), "slide"), few(missing))
    return [slide._replace(mask=masks[slide.name]) for slide in slides]


def overview_of(slide: Slide) -> Overview:
    """Return a picture of all of a slide, of the size of a mask of its tissue.

    Raises
    ------
    ImageError
        A part of the slide is damaged.
    """
    scale = max(slide.mpp, _SCALE, slide.mpp * max(slide.width, slide.height) / _MOST)
    width, height = (max(1, int(side * slide.mpp / scale)) for side in (slide.width, slide.height))
    return Overview(slide.read(0, 0, width, height, scale), scale / slide.mpp)


def find_tissue(slide: Slide, drawn: Path | None = None) -> Tissue:
    """Find the tissue of a slide, by Otsu's threshold of the saturation, or take that which was drawn.

    It warns of a slide that is not one of H&E.

    Parameters
    ----------
    slide : Slide
    drawn : Path, optional
        A file of outlines of the tissue.

    Raises
    ------
    InputError
        The file of outlines cannot be read, has none, or is of another slide.
    ImageError
        A part of the slide is damaged.

    References
    ----------
    Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62.
    """
    picture, factor = overview_of(slide)
    # area in mm2
    pixel = (factor * slide.mpp) ** 2 / 1e6
    if drawn is not None:
        outlines = read_annotations(drawn, slide)
        if all(map(_is_taken_out, outlines)):
            raise InputError(f"{drawn}: has no outline of tissue of {slide.path.name}; add some")
        mask = _fill(outlines, picture.shape[:2], factor)
        return Tissue(picture, factor, mask, Areas(int(mask.sum()) * pixel))
    balanced = _white_balanced(picture)
    ink = ink_pixels(balanced, least=_SPECK / pixel)
    # specks on glass are not tissue that may be lost
    stained = large_areas(_stained(balanced, ink), _SPECK / pixel)
    mask = stained & ~ink
    # glass at the edge is not a hole: a frame makes it large
    frame = int(_HOLE / pixel / (2 * sum(mask.shape))) + 1
    glass = large_areas(np.pad(~mask, frame, constant_values=True), _HOLE / pixel)
    mask |= ~glass[frame:-frame, frame:-frame] & ~ink
    mask = large_areas(mask, _SPECK / pixel)
    doubt = ""
    if ink.mean() > 0.5:
        doubt = "more than half of it is black, or has other colours, as fluorescence has"
    if is_grey(picture):
        doubt = "a grey picture"
    if doubt:
        _log.warning("%s: not H&E: %s", slide.path, doubt)
    areas = Areas(*(int(part.sum()) * pixel for part in (mask, stained, stained & ink)))
    return Tissue(picture, factor, mask, areas)


def _white_balanced(picture: Pixels) -> Pixels:
    """Return a picture whose glass has no colour, if what is brightest has the colour of a lamp.

    The light of a lamp is reddish or bluish, and green is never its weakest colour. Haematoxylin and eosin absorb more
    green than red and blue.
    """
    import cv2

    white = np.percentile(picture, 99, axis=(0, 1))
    if white.min() < 128 or white[1] < min(white[0], white[2]):
        return picture
    values = np.arange(256)[:, None, None] * (white.max() / white)
    return np.asarray(cv2.LUT(picture, np.minimum(values, 255).astype(np.uint8)))


def _stained(picture: Pixels, ink: Flags) -> Flags:
    """Return which pixels are stained, ink among them, by a threshold of the pixels without ink.

    As many pixels of glass are added as there are pixels. Otherwise, with little glass, the threshold would be between
    pale and strong tissue.
    """
    import cv2

    saturation = cv2.medianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 1], 3)
    glass = np.full(saturation.size, np.percentile(saturation, 1), np.uint8)
    otsu, _ = cv2.threshold(np.concatenate([saturation[~ink], glass]), 0, 255, cv2.THRESH_OTSU)
    return np.asarray(saturation > min(max(otsu, _PALEST), _STRONGEST))


def _is_taken_out(outline: Annotation) -> bool:
    """Return whether an outline encloses no tissue: QuPath ignores its class, and it is not ``Region*``."""
    return outline.is_ignored and not outline.is_bare_region


def _fill(outlines: Sequence[Annotation], shape: tuple[int, ...], factor: float) -> Flags:
    """Return the mask of outlines of any class, without what lies in those that QuPath ignores (``Ignore*``).

    As with annotations, what is drawn inside an ignored outline is tissue.
    """
    import cv2
    import shapely

    tissue = [
        outline._replace(label="Ignore*" if _is_taken_out(outline) else "tissue")
        for outline in outlines
    ]
    # nothing, if QuPath ignores all of them
    area = areas_of_classes(tissue).get("tissue", shapely.Polygon())
    points = [
        np.rint((shapely.get_coordinates(ring) / factor - 0.5) * 2**_BITS).astype(np.int32)
        for ring in shapely.get_rings(shapely.get_parts(area))
    ]
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, points, 1, shift=_BITS)
    return mask.astype(bool)


def report_ink(areas: Mapping[str, Areas]) -> None:
    """Print the share of the stained area that was left out as ink or black, and name slides with much of it.

    Parameters
    ----------
    areas : mapping of str to Areas
        By the name of the slide. Slides without a stained area, as those whose tissue was drawn, are left out.
    """
    shares = {name: area.ink / area.stained for name, area in areas.items() if area.stained}
    if not shares:
        return
    _, stained, ink = np.sum([*areas.values()], axis=0)
    _log.info("ink or black: %.0f %% of the stained area left out", 100 * ink / stained)
    names = _above(_MOST_INK, shares)
    if names:
        text = "ink or black: more than a fifth of the stained area left out: {}; look at them, or give {tissue_from}"
        _log.warning(Message(text, few(names)))
    lower, upper = np.percentile([*shares.values()], (25, 75))
    # a share that is shown as 0 % is not worth a look
    outliers = _above(max(upper + _FENCE * (upper - lower), 0.005), shares)
    if outliers and len(shares) >= _FEWEST:
        text = "ink or black: more than in the other slides: %s; look at them"
        _log.warning(text, few(outliers))


def _above(most: float, shares: Mapping[str, float]) -> list[str]:
    """Return the names of slides whose share is larger, the largest first, with the share."""
    ranked = sorted(shares, key=lambda name: -shares[name])
    return [f"{name} ({100 * shares[name]:.0f} %)" for name in ranked if shares[name] > most]


def tissue_shares(tissue: Tissue, corners: Positions, side: float) -> Floats:
    """Return the share of tissue in squares, 0 to 1.

    Parameters
    ----------
    tissue : Tissue
    corners : ndarray, shape (squares, 2)
    side : float
        Pixels of level 0.
    """
    starts = np.rint(corners / tissue.factor).astype(int).tolist()
    length = max(1, round(side / tissue.factor))
    counts = [tissue.mask[y : y + length, x : x + length].sum() for x, y in starts]
    return np.array(counts) / length**2
