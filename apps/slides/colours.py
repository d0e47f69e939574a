"""Colours of maps: those of classes, and those of a probability."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...core import InputError, few, one_of
from ...core.formats import Floats, Pixels
from ...core.jobs import key_of
from ...data import match_class
from ...evaluate import default_positive
from ...predict import OperatingPoint
from .annotation_files import Colour, class_colours
from .tiles import MapSettings

_PALETTE = ("d55e00", "e69f00", "cc79a7", "f0e442", "6e6e6e", "009e73", "0072b2", "56b4e9")
"""Colours that people with any colour vision tell apart (Okabe and Ito 2008, jfly.uni-koeln.de/color), and grey, from
warm to cool."""


@dataclass(frozen=True)
class Colouring:
    """What the colours of maps mean; no prediction depends on it.

    Attributes
    ----------
    heat : tuple of str
        The classes whose probability is drawn.
    rule : str
        How it follows from those of the classes, see `bchisto.evaluate.two_class_scores`.
    warm : tuple of str
        The classes with warm colours.
    drawn : mapping of str to (int, int, int)
        Colours that a person gave to classes.
    """

    heat: tuple[str, ...]
    rule: str
    warm: tuple[str, ...]
    drawn: Mapping[str, Colour]

    @classmethod
    def of(
        cls, classes: Sequence[str], point: OperatingPoint | None, settings: MapSettings
    ) -> Colouring:
        """Return the colouring of the maps of a model.

        Warm, and drawn as heat, are the positive classes. Of a model without them, it is the last class, which in most
        tables of two classes is the positive one.

        Parameters
        ----------
        classes : sequence of str
        point : OperatingPoint or None
        settings : MapSettings
            Its other class for the heat, and its file with colours of classes, or folder of such files.

        Raises
        ------
        InputError
            The model has no such class, or none that has a colour in the files.
        """
        rule = "sum"
        warm = default_positive(classes)
        if point is not None:
            warm = point.positive
            # of two classes both rules are one
            if len(classes) > 2:
                rule = point.rule
        shown = warm or tuple(classes[-1:])
        if settings.heat is not None:
            name = match_class(settings.heat, classes)
            if name is None:
                text = "{heat} {}: no class of this model; {}"
                raise InputError(text, settings.heat, one_of(settings.heat, classes))
            shown = (name,)
            rule = "sum"
        drawn: dict[str, Colour] = {}
        if settings.colours is not None:
            colours = class_colours(settings.colours)
            for label, colour in colours.items():
                name = match_class(label, classes)
                if name is not None:
                    drawn.setdefault(name, colour)
            if not drawn:
                text = "{colours} {}: no class of the model has a colour there, only: {}; give annotations of {}"
                raise InputError(text, settings.colours, few(colours) or "none", few(classes))
        return cls(shown, rule, warm or shown, drawn)

    @property
    def title(self) -> str:
        """What the heat is."""
        names = " + ".join(self.heat)
        if self.rule == "sum":
            return f"probability of {names}"
        return f"score of {names} (rule {self.rule})"

    @property
    def key(self) -> str:
        """What tells maps of this colouring from others."""
        return key_of("colours 1", **vars(self))

    def of_classes(self, classes: Sequence[str]) -> dict[str, Colour]:
        """Return the colour of each class; a class without one of a person gets one that is free, while there are."""
        palette = [tuple(bytes.fromhex(code)) for code in _PALETTE]
        free = [colour for colour in palette if colour not in self.drawn.values()] or palette
        warm = itertools.cycle(free)
        cool = itertools.cycle(reversed(free))
        colours = {}
        for name in classes:
            colours[name] = self.drawn.get(name) or next(warm if name in self.warm else cool)
        return colours


def heat_colours(values: Floats) -> Pixels:
    """Return the colours of probabilities, uint8 of shape (n, 3): the higher, the lighter, from blue to yellow.

    References
    ----------
    Nunez, Anderton and Renslow, PLoS ONE 13 (2018) e0199239: cividis, which is even to people with any colour vision.
    """
    import matplotlib as mpl

    return np.asarray(mpl.colormaps["cividis"](values, bytes=True)[..., :3], np.uint8)
