"""Check whether stain normalisation damaged an image, such as by turning stained tissue white.

The published method estimates stains from pixels that absorb light in all three channels. Pale or eosin-rich tissue
has hardly any such pixels. Stains estimated from a few dark nuclei then bleach the other tissue.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..core import Message, counted, few
from ..core.formats import Array
from .colours import RUIFROK_FROM_HED, Image, check_rgb
from .foreign import beyond_tissue, foreign_pixels
from .macenko import ROBUST, stained_pixels
from .spec import StainEstimate

_log = logging.getLogger(__name__)

WHITE = 235
"""A pixel is white if all its channels reach this grey level. It then absorbs less than 2 % of the light that
passes empty glass (240)."""

MOST_WHITENED = 0.05
"""Largest acceptable share of stained pixels that turn white. From one in twenty on, the loss is visible."""

LEAST_BASIS = 0.05
"""Smallest acceptable share of stained pixels from which stains are estimated. Below it, 74 of 86 images lost more
than `MOST_WHITENED`. With a share of at least one half, none of 540 images did (docs/methods.md)."""

LEAST_COMPONENT = -0.05
"""Smallest acceptable component of a stain vector. Stains absorb light, so only noise makes a component slightly
negative."""

LEAST_ANGLE = 8.0
"""Smallest acceptable angle between the two stains, degrees. The condition number of the stain matrix is the cotangent
of half the angle, here 14. Errors of a density grow by this factor. 99 of 100 BreakHis images have more than 14
degrees."""

FARTHEST = 45.0
"""Largest acceptable angle between a stain and Ruifrok's haematoxylin or eosin, degrees. 99 of 100 BreakHis images
are within 23 and 36 degrees."""


BLUE_INK = 0.35
"""Excess of a stain vector towards blue or green, see `beyond_tissue`, from which it is an ink. Of 104 BreakHis images,
the largest is 0.32, and blue pens have 0.4 to 0.9."""

RED_INK = 0.1
"""Red component below which a stain vector is a red ink, if green and blue are alike; eosin absorbs far more green."""

ALIKE = 0.85
"""Ratio of components of a stain vector from which they are alike: those of black pens have 0.87 or more."""

MOST_DIFFERENCE = 8
"""Largest difference of the channels of a grey picture in grey levels, as JPEG makes it."""

PALE = "pale tissue"
_GREY = "grey pictures"
_INK = "ink or black"
_OTHER_STAIN = "another stain"

_NONE = Message("use {stain:none}")
_REMEDIES = {
    _GREY: _NONE,
    _INK: "crop it away, or leave these images out",
    _OTHER_STAIN: _NONE,
    PALE: Message("use {stain:macenko-robust}"),
}
"""Usual causes of doubt and what helps. Of several causes in an image, the first counts."""


class DoubtReason(str):
    """A reason for doubt in the stains of an image, as text, with its usual cause."""

    cause: str

    def __new__(cls, text: str, cause: str = PALE) -> DoubtReason:
        """Return a reason with this text and cause."""
        reason = super().__new__(cls, text)
        reason.cause = cause
        return reason


GREY_PICTURE = DoubtReason("it is a grey picture, without stain", _GREY)


@dataclass(frozen=True)
class StainCheck:
    """Result of a check of the normalised stains of an image.

    Attributes
    ----------
    whitened : float
        Share of the stained pixels that turned white, 0 to 1. A pixel is stained if the optical density of its green
        channel is at least 0.15.
    basis : float
        Share of the stained pixels from which the stains were estimated, 0 to 1; NaN if the method estimates no stains.
    reasons : tuple of str
        Reasons for doubt, such as implausible stains; empty if there are none.
    foreign : float
        Share of pixels that are not tissue (ink, black or single-coloured areas) and keep their colour, 0 to 1.
    """

    whitened: float
    basis: float
    reasons: tuple[str, ...]
    foreign: float


def check_stains(before: Image, after: Image, estimate: StainEstimate | None) -> StainCheck:
    """Check a normalised image for tissue that turned white and for implausible stains.

    Parameters
    ----------
    before, after : ndarray of uint8, shape (height, width, 3)
        The image before and after normalisation, RGB.
    estimate : StainEstimate or None
        The stains that were estimated; None if the method does not estimate any.

    Examples
    --------
    >>> tissue = np.full((12, 12, 3), (200, 120, 170), np.uint8)
    >>> check_stains(tissue, np.full_like(tissue, 250), None).reasons
    ('100 % of the stained tissue turned white',)
    """
    import cv2

    stained = stained_pixels(before)
    if estimate is None:
        foreign = foreign_pixels(before)
    else:
        foreign = estimate.foreign
    share = 0.0
    if foreign is not None:
        share = float(foreign.mean())
        stained[foreign] = 0
    count = int(cv2.countNonZero(stained))
    white = cv2.inRange(check_rgb(after), (WHITE,) * 3, (255.0,) * 3)
    whitened = int(cv2.countNonZero(cv2.bitwise_and(white, stained))) / max(count, 1)
    reasons = []
    if whitened > MOST_WHITENED:
        reasons.append(f"{100 * whitened:.0f} % of the stained tissue turned white")
    if estimate is None:
        return StainCheck(whitened, float("nan"), tuple(reasons), share)
    basis = min(1.0, estimate.tissue * stained.size / max(count, 1))
    if basis < LEAST_BASIS:
        reasons.append(f"its stains rest on {100 * basis:.1f} % of the stained tissue")
    return StainCheck(whitened, basis, (*reasons, *_implausible(estimate.stains)), share)


def _implausible(stains: Array) -> list[str]:
    reasons = []
    if stains.min() < LEAST_COMPONENT:
        reasons.append("a stain vector is negative")
    vectors = np.vstack([stains.T, RUIFROK_FROM_HED[:2]])
    lengths = np.linalg.norm(vectors, axis=1)
    angles = np.degrees(
        np.arccos(np.clip(vectors @ vectors.T / np.outer(lengths, lengths), -1.0, 1.0))
    )
    separation = angles[0, 1]
    if separation < LEAST_ANGLE:
        reasons.append(f"its two stains are {separation:.0f} degrees apart")
    pairs = (("haematoxylin", stains[:, 0], angles[0, 2]), ("eosin", stains[:, 1], angles[1, 3]))
    for name, stain, angle in pairs:
        if angle > FARTHEST:
            reasons.append(DoubtReason(f"its {name} is {angle:.0f} degrees off", _OTHER_STAIN))
        elif stain.min() > ALIKE * stain.max():
            reasons.append(DoubtReason(f"its {name} is grey, as black ink or borders are", _INK))
        elif _is_ink(stain):
            reasons.append(DoubtReason(f"its {name} has the colour of an ink", _INK))
    return reasons


def _is_ink(stain: Array) -> bool:
    """Return whether a stain vector is that of a blue, green or red ink."""
    red, green, blue = stain
    red_ink = red < RED_INK and min(green, blue) > ALIKE * max(green, blue)
    return bool(red_ink or max(beyond_tissue(stain)[:2]) > BLUE_INK)


def doubt_causes(
    doubtful: Iterable[Collection[str]], *, images: int, stain: str
) -> dict[str, tuple[int, str]]:
    """Return the usual causes of doubt, each with its number of images and what helps.

    Parameters
    ----------
    doubtful : iterable of collection of str
        The reasons for doubt of each image, see `StainCheck`; the cause of plain text is pale tissue.
    images : int
        Number of all images that were checked; grey pictures among coloured ones are perhaps masks.
    stain : str
        The stain method.

    Examples
    --------
    >>> reasons = [[DoubtReason("its eosin is 54 degrees off", "another stain")]]
    >>> doubt_causes(reasons, images=1, stain="macenko")
    {'another stain': (1, 'use `stain="none"`')}
    """
    causes: Counter[str] = Counter()
    for reasons in doubtful:
        kinds = {getattr(reason, "cause", PALE) for reason in reasons}
        # the first of them counts
        causes[next(cause for cause in _REMEDIES if cause in kinds)] += 1
    remedies = dict(_REMEDIES)
    if causes[_GREY] < images:
        remedies[_GREY] = (
            "leave out masks and drawings, and make photographs grey in all images or none"
        )
    if stain == ROBUST.name:
        remedies[PALE] = _NONE
    return {cause: (count, remedies[cause]) for cause, count in causes.most_common()}


def is_grey(image: Image) -> bool:
    """Return whether an image with stained pixels has no colour: its channels differ by at most 8 grey levels."""
    red, green, blue = np.moveaxis(image.astype(np.int16), 2, 0)
    difference = max(np.abs(red - green).max(), np.abs(blue - green).max())
    return bool(difference <= MOST_DIFFERENCE and stained_pixels(image).any())


_SKIPPED = "too little tissue, used without stain normalisation"


@dataclass
class StainNotes:
    """Images that were not normalised, whose stains are doubtful, or that have pixels which are not tissue.

    Attributes
    ----------
    stain : str
        The stain method.
    skipped, doubtful : dict of str to None
        Names of images with too little tissue, and of those whose stains are doubtful.
    foreign : dict of str to float
        Names of images with pixels that are not tissue, and their share of the pixels, 0 to 1.
    """

    stain: str
    skipped: dict[str, None] = field(default_factory=dict)
    doubtful: dict[str, None] = field(default_factory=dict)
    foreign: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, check: StainCheck) -> None:
        """Note what a check shows of an image."""
        if check.reasons:
            self.doubtful[name] = None
        if check.foreign:
            self.foreign[name] = check.foreign

    def texts(self, images: int | None) -> list[Message]:
        """Return a note on the images of each kind, with the first of their names.

        Parameters
        ----------
        images : int or None
            Number of all images. None for the prediction of new images, whose number is unknown and whose stain method
            cannot be changed.

        Examples
        --------
        >>> StainNotes("macenko", {"a.png": None}).texts(12)
        ['1 of 12 images: too little tissue, used without stain normalisation: a.png']
        >>> StainNotes("macenko", {"a.png": None, "b.png": None}).texts(None)
        ['2 images: too little tissue, used without stain normalisation: a.png, b.png']
        """
        remedies = []
        if images is not None and self.stain != ROBUST.name:
            remedies.append(
                Message(
                    "{stain:macenko-robust} takes all of the stained tissue, and {stain:none} is for other stains"
                )
            )
        kinds: list[tuple[Collection[str], str, list[Message]]] = [
            (self.skipped, _SKIPPED, []),
            (self.doubtful, self._doubt, remedies),
            (self.foreign, _areas(max(self.foreign.values(), default=0)), []),
        ]
        notes = []
        for names, text, cures in kinds:
            number = counted(len(names), "image")
            if images is not None:
                number = f"{len(names)} of {images} images"
            if names:
                notes.append(
                    Message("{}: {}: {}", number, text, few(sorted(names)), remedies=cures)
                )
        return notes

    def by_image(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each image with a note on it; one of several kinds comes several times."""
        for name in self.skipped:
            yield name, _SKIPPED
        for name in self.doubtful:
            yield name, self._doubt
        for name, share in self.foreign.items():
            yield name, _areas(share)

    def warn(self, images: int | None, notes: dict[str, list[str]] | None = None) -> None:
        """Log `texts`, and if `notes` is given, add to it those of `by_image`."""
        for text in self.texts(images):
            _log.warning("%s", text)
        if notes is not None:
            for name, note in self.by_image():
                notes.setdefault(name, []).append(note)

    @property
    def _doubt(self) -> Message:
        return Message(
            "{} turned tissue white, or rests on few pixels or implausible stains", self.stain
        )


def _areas(share: float) -> Message:
    return Message(
        "ink, black or single-coloured areas are left as they are, {} % of the pixels at most",
        f"{100 * share:.1f}",
    )
