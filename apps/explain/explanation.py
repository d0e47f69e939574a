"""The explanation of one image: a heat map or small pictures, saved as arrays and drawn by `draw`."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...core import DAMAGE
from ...core.formats import Array, Floats32
from ...core.jobs import atomic_output, save_arrays
from ...data import ImageRecord, decode_record, shrink_image

Picture = npt.NDArray[np.uint8]

Tiles = tuple[tuple[str, Picture], ...]
"""Captions and small pictures."""

Arrays = Mapping[str, Array]

_SAME = 1e-6
"""Difference from the base up to which a mean equals it: float32 rounds to 6e-8."""

_SHOWN = 1024
"""Longest side of a displayed image, in pixels."""

_SCALARS = (
    "image_id",
    "method",
    "target",
    "predicted",
    "caution",
    "unit",
    "base",
    "overall",
    "score",
    "calibrated",
    "signed",
    "padded",
    "floor",
    "centre",
)
_KEPT = (*_SCALARS, "picture", "values", "limits")
"""Fields that are saved as arrays of the same name, in this order."""

EVEN = "even shares of all classes"
"""Description of the centre of a map if no base is known."""


class UnitPictures(NamedTuple):
    """Small pictures of what units of a network respond to.

    Attributes
    ----------
    tiles : tuple of (str, ndarray of uint8)
        Captions and small pictures.
    arrays : dict of str to ndarray
        Further arrays to save.
    values : ndarray of float32, shape (rows, columns), optional
        Heat map of the patch, in 0..1. Without it, the pictures do not refer to a class.
    """

    tiles: Tiles
    arrays: Arrays
    values: Floats32 | None = None


@dataclass(frozen=True)
class Explanation:
    """An explanation of the prediction of one image.

    Attributes
    ----------
    image_id : str
        Name of the image, or of the model if the explanation needs no image.
    method : str
    target : str
        The class that is explained; empty if there is none.
    predicted : str
        The most probable class; empty without an image.
    score : float
        Probability of `target`; NaN without an image.
    caution : str
        Limitations of the method, for readers.
    picture : ndarray of uint8, shape (height, width, 3), optional
        The image as it is displayed, at most 1,024 pixels on its longest side.
    values : ndarray of float32, shape (height, width), optional
        The heat map, one value for each pixel of `picture`.
    signed : bool
        Whether values above and below `centre` have opposite meanings; otherwise values start at 0.
    padded : bool
        Whether padding in the network makes the map bright along the border.
    floor : float
        Smallest reach of the colour bar to either side of the centre.
    centre : float
        The neutral value; for ``map``, the prediction of the models without any image content.
    limits : tuple of float, optional
        Ends of the colour bar; by default they cover nearly all values.
    unit : str
        What the values of the map are.
    base : str
        What the centre is; only for ``map``.
    overall : str
        The most probable class by the mean of the map; only for ``map``.
    calibrated : float
        The calibrated probability of `target`; NaN if the model has no temperature.
    notes : tuple of str
        Further lines for the margin text.
    tiles : tuple of (str, ndarray of uint8)
        Captions and small pictures.
    arrays : dict of str to ndarray
        Further arrays to save, see docs/explain.md.
    """

    image_id: str
    method: str
    target: str
    predicted: str
    score: float
    caution: str
    picture: Picture | None = None
    values: Floats32 | None = None
    signed: bool = False
    padded: bool = False
    floor: float = 0.0
    centre: float = 0.0
    limits: tuple[float, float] | None = None
    unit: str = ""
    base: str = ""
    overall: str = ""
    calibrated: float = math.nan
    notes: tuple[str, ...] = ()
    tiles: Tiles = ()
    arrays: Arrays = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the displayed image."""
        assert self.picture is not None
        return self.picture.shape

    @property
    def title(self) -> str:
        """The method, the explained class, and the prediction."""
        title = self.method
        if self.target:
            title += f" of {self.target}"
        if self.predicted:
            title += f"; predicted {self.predicted}"
        if self.predicted and self.target and not math.isnan(self.score):
            title += f", probability of {self.target} {self.score:.3f}"
        if not math.isnan(self.calibrated):
            title += f" (calibrated {self.calibrated:.3f})"
        return title

    @property
    def means(self) -> str:
        """For ``map``, the mean of the map, and the probability of the whole image if known; otherwise empty."""
        if self.method != "map" or self.values is None:
            return ""
        means = f"mean of the map {self.values.mean():.3f}"
        if not math.isnan(self.score):
            means += f", of the whole image {self.score:.3f}"
        return means

    @property
    def ends(self) -> str:
        """The smallest and largest value of the map, which the colour bar may not show if several pictures share it."""
        if self.values is None:
            return ""
        low = float(self.values.min())
        high = float(self.values.max())
        if self.method == "occlusion":
            return f"largest fall {100 * max(high, 0):.1f} points, largest rise {100 * max(-low, 0):.1f}"
        return f"in this image {low:.3g} to {high:.3g}"

    @property
    def contradiction(self) -> str:
        """A warning in words if the mean of the map contradicts the prediction; otherwise empty."""
        if not self.overall or not self.predicted or self.values is None:
            return ""
        if self.overall != self.predicted:
            mean = f"its mean is of {self.overall}, the prediction is {self.predicted}"
            return f"THE MAP CONTRADICTS THE PREDICTION: {mean}"
        difference = float(self.values.mean()) - self.centre
        if abs(difference) < _SAME or (difference > 0) == (self.predicted == self.target):
            return ""
        direction = "above" if difference > 0 else "below"
        mean = f"its mean is {direction} the base, though the prediction is {self.predicted}"
        return f"{mean}: the colours do not show why"

    @property
    def margin(self) -> list[str]:
        """The lines below the map: unit, base, mean, ends, notes, and the warning of a contradiction."""
        lines = [self.unit]
        if self.base:
            lines.append(f"base {self.centre:.3f}: {self.base}")
        lines += [self.means, self.ends, *self.notes, self.contradiction]
        return [line for line in lines if line]

    def save(self, path: Path, *, work: str) -> None:
        """Write all that is needed to draw the explanation again, as ``.npz`` without pickles.

        Parameters
        ----------
        path : Path
        work : str
            Key of the model, image and settings.
        """
        content = {"work": np.array(work)}
        for name in _KEPT:
            value = getattr(self, name)
            if value is not None:
                content[name] = np.array(value)
        content["notes"] = np.array(self.notes, dtype=np.str_)
        if self.tiles:
            content["tile_captions"] = np.array([caption for caption, _ in self.tiles])
            content |= {f"tile_{number:03d}": tile for number, (_, tile) in enumerate(self.tiles)}
        content |= dict(self.arrays)
        with atomic_output(path) as temporary, temporary.open("wb") as handle:
            save_arrays(handle, content, compressed=True)

    @classmethod
    def load(cls, path: Path, *, work: str) -> Explanation | None:
        """Read a file of `save`. Return None if it is missing, damaged, or has another key `work`."""
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            if str(arrays["work"]) != work:
                return None
            scalars = {name: arrays.pop(name).item() for name in _SCALARS}
            captions = arrays.pop("tile_captions", np.empty(0)).tolist()
            limits = None
            if "limits" in arrays:
                low, high = arrays.pop("limits")[:2]
                limits = (float(low), float(high))
            return cls(
                **scalars,
                notes=tuple(arrays.pop("notes").tolist()),
                picture=arrays.pop("picture", None),
                values=arrays.pop("values", None),
                limits=limits,
                tiles=tuple(
                    (caption, arrays.pop(f"tile_{number:03d}"))
                    for number, caption in enumerate(captions)
                ),
                arrays={name: value for name, value in arrays.items() if name != "work"},
            )
        except DAMAGE:
            return None


def shown_picture(record: ImageRecord) -> Picture:
    """Decode an image, and reduce it to the size at which it is displayed.

    Raises
    ------
    ImageError
        The image cannot be decoded.
    """
    return shrink_image(decode_record(record), _SHOWN)
