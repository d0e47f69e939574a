"""The explanation of one image: a heat map or small pictures, saved as arrays and drawn by `draw`."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...core import DAMAGE, Content
from ...core.formats import Array, Floats, Floats32, Pixels
from ...core.jobs import atomic_output, save_arrays
from ...data import ImageRecord, decode_record, shrink_image
from ...evaluate import equalised

Picture = Pixels

Tiles = tuple[tuple[str, Picture], ...]
"""Captions and small pictures."""

Arrays = Mapping[str, Array]

_SAME = 1e-6
"""Difference up to which two means of a map count as equal; float32 rounds to 6e-8."""

_SHOWN = 1024
"""Longest side of a displayed image, in pixels."""


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
        The class that the image is called without a threshold; empty without an image.
    score : float
        Probability of `target`; NaN without an image.
    caution : str
        Limitations of the method, for readers.
    picture : ndarray of uint8, shape (height, width, 3), optional
        The image as it is displayed, at most 1,024 pixels on its longest side.
    values : ndarray of float32, shape (height, width), optional
        The heat map, one value for each pixel of `picture`; NaN where a field shows nothing.
    called : str
        The class that the image is called by the threshold; without one, `predicted`.
    red : tuple of str
        The classes that values above white speak for, which are red: those of `methods.Asked`, else the called one.
    blue : str
        What values below white speak for.
    signed : bool
        Whether values above and below `white` have opposite meanings; otherwise values start at 0.
    floor : float
        Smallest reach of the colour bar to either side of white.
    centre : float
        For ``map`` the base: the prediction of the models without any image content.
    white : float
        The value without colour; for ``map`` the decision.
    tick : float
        Position of the base on the colour bar.
    leads : ndarray of float32, shape (height, width), optional
        What is coloured in place of `values` if there are more than two classes: how far the class is above its rival.
    limits : tuple of float, optional
        Ends of the colour bar; by default they cover nearly all values.
    unit : str
        What the values of the map are.
    base : str
        What the base is; only for ``map``.
    overall : str
        The class that the mean of the map would be called; only for ``map``.
    shares : sequence of float, optional
        Share of each class in training, if classes are called by it.
    called_from : float
        That of `predicted`; NaN if the most probable class is called.
    calibrated : float
        The calibrated probability of `target`; NaN if the model has no temperature.
    notes : tuple of str
        Further facts about the image, for readers.
    tiles : tuple of (str, ndarray of uint8)
        Captions and small pictures, all of one size.
    arrays : dict of str to ndarray
        Further arrays to save, see docs/explain.md.
    """

    image_id: str
    method: str
    target: str
    predicted: str = ""
    score: float = math.nan
    caution: str = ""
    picture: Picture | None = None
    values: Floats32 | None = None
    called: str = ""
    red: tuple[str, ...] = ()
    blue: str = ""
    signed: bool = False
    floor: float = 0.0
    centre: float = 0.0
    white: float = 0.0
    tick: float = 0.0
    leads: Floats32 | None = None
    limits: tuple[float, float] | None = None
    unit: str = ""
    base: str = ""
    overall: str = ""
    shares: Sequence[float] | None = None
    called_from: float = math.nan
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
        """The method, the explained class, and the answer."""
        title = self.method
        if self.target:
            title += f" of {self.target}"
        return "; ".join(filter(None, [title, self.answer]))

    @property
    def answer(self) -> str:
        """The prediction; empty without an image."""
        if not self.predicted:
            return ""
        answer = f"predicted {self.predicted}"
        if not math.isnan(self.called_from):
            answer += f" (from {self.called_from:.3g}, its share in training)"
        if self.called != self.predicted:
            answer += f", called {self.called} by the threshold"
        if self.target:
            answer += f", probability of {self.target} {self.score:.3f}"
        calibrated = f"{self.calibrated:.3f}"
        if calibrated not in {"nan", f"{self.score:.3f}"}:
            answer += f" (calibrated {calibrated})"
        return answer

    @property
    def drawn(self) -> Floats32:
        """The values that are coloured."""
        if self.leads is not None:
            return self.leads
        assert self.values is not None
        return self.values

    @property
    def contradiction(self) -> str:
        """A warning if the map contradicts the class that the image is called; otherwise empty."""
        if not self.overall:
            return ""
        if self.overall != self.called:
            mean = f"its mean is of {self.overall}, the prediction is {self.called}"
            return f"THE MAP CONTRADICTS THE PREDICTION: {mean}"
        difference = float(np.nanmean(self.drawn)) - self.white
        if abs(difference) < _SAME or (difference > 0) == (self.called == self.target):
            return ""
        text = f"its mean is of {self.called}, but more of it has the other colour"
        return f"{text}: the colours do not show why"

    @property
    def margin(self) -> str:
        """The warning of a contradiction, what the colours mean, and the base or the range of values, in one line."""
        if self.values is None:
            return ""
        colours = self.unit
        if self.signed:
            red = " or ".join(self.red)
            colours = f"red: {red}, blue: {self.blue}, white: {self.unit} {self.white:.3g}"
        values = f"{self.drawn.min():.3g} to {self.drawn.max():.3g}"
        if self.base:
            values = f"tick: before any image {self.tick:.3g}; mean of the map {np.nanmean(self.drawn):.3f}"
        return "; ".join(filter(None, [self.contradiction, colours, values]))

    def about_decision(
        self, maps: Floats, base: Floats, *, classes: Sequence[str], base_is: str
    ) -> Explanation:
        """Return the explanation with the map of its class, and with colours that are white where the decision changes.

        With two classes, that is at the threshold. With more, it is where the most probable class of `red` and its
        rival are equally probable: the rival is the most probable other class or, if the map is of one class that is
        not the called one, the called one. If classes are called by shares in training, probabilities are those that
        equal shares would give.

        Parameters
        ----------
        maps : ndarray, shape (classes, height, width)
            The probability of each class at each position.
        base : ndarray, shape (classes,)
            Probabilities without any image content.
        classes : sequence of str
        base_is : str
            What the base is.
        """
        target = classes.index(self.target)
        called = classes.index(self.called)
        means = np.nanmean(maps, axis=(1, 2))
        unit = self.unit
        tick = base[target]
        leads = None
        limits = (0.0, 1.0)
        if len(classes) == 2:
            means[target] += 1 - 2 * self.white
        else:
            reds = [*map(classes.index, self.red)]
            rivals = np.array([called])
            rival = self.called
            if reds != [target] or target == called:
                rivals = np.delete(np.arange(len(classes)), reds)
                rival = "the next class"
            limits = (-1.0, 1.0)
            weighed = np.moveaxis(equalised(np.moveaxis(maps, 0, -1), self.shares), -1, 0)
            before = equalised(base, self.shares)
            means = equalised(means, self.shares)
            leads = (weighed[reds].max(axis=0) - weighed[rivals].max(axis=0)).astype(np.float32)
            tick = before[reds].max() - before[rivals].max()
            unit = f"probability of {' or '.join(self.red)} less that of {rival}"
            if self.shares is not None:
                unit += ", at equal shares in training"
        overall = self.called
        if means.max() - means[called] > _SAME:
            overall = classes[int(means.argmax())]
        return replace(
            self,
            values=maps[target].astype(np.float32),
            limits=limits,
            centre=float(base[target]),
            overall=overall,
            base=base_is,
            caution=f"{self.caution} The tick on the colour bar is the base: {base_is}.",
            tick=float(tick),
            leads=leads,
            unit=unit,
        )

    def save(self, path: Path, *, work: str) -> None:
        """Write all that is needed to draw the explanation again, as ``.npz`` without pickles.

        Parameters
        ----------
        path : Path
        work : str
            Key of the model, image and settings.
        """
        content = {"work": np.array(work)}
        for name, value in vars(self).items():
            if value is not None and name not in ("tiles", "arrays"):
                content[name] = np.array(value)
        content["notes"] = np.array(self.notes, dtype=np.str_)
        if self.tiles:
            captions, pictures = zip(*self.tiles, strict=True)
            content |= {"tile_captions": np.array(captions), "tile_pictures": np.stack(pictures)}
        content |= self.arrays
        with atomic_output(path) as temporary, temporary.open("wb") as handle:
            save_arrays(handle, content, compressed=True)

    @classmethod
    def load(cls, path: Path, *, work: str) -> Explanation | None:
        """Read a file of `save`. Return None if it is missing, damaged, or has another key `work`."""
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            if str(arrays.pop("work")) != work:
                return None
            saved: Content = {
                field.name: arrays.pop(field.name) for field in fields(cls) if field.name in arrays
            }
            for name, value in saved.items():
                if name not in ("picture", "values", "leads"):
                    # a text or a number, or several of them
                    saved[name] = value.item() if value.ndim == 0 else tuple(value.tolist())
            captions = arrays.pop("tile_captions", np.empty(0)).tolist()
            tiles = tuple(zip(captions, arrays.pop("tile_pictures", ()), strict=True))
            return cls(**saved, tiles=tiles, arrays=arrays)  # the arrays that no field took
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
