"""What is asked of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..arguments import as_whole
from ..data import match_class
from ..errors import InputError, one_of
from ..options import option
from .methods import METHODS, choose_method


def _first(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else value[0]


@dataclass(frozen=True)
class ExplainSettings:
    """What is asked of a model.

    Attributes
    ----------
    method : str
        Of `METHODS`.
    layer : str
        Layer that a method looks at; empty for its default.
    target : str
        Class that is explained; empty for the likeliest of each image, by ``map`` for the positive one of two.
    window : int
        Of ``map`` and a boosted ensemble: side of what each place sees, pixels of the image; 0 for the crop of the
        view, at most a third of the shorter side.
    top : int
        How many channels, filters or feature maps are shown: of ``channels`` and ``contributions`` the largest, of
        ``activations`` the most active, of ``filters`` and of ``maximisation`` of a layer the first.

    Raises
    ------
    InputError
        No such method, or a number out of range.
    """

    method: str = option(value=_first)
    layer: str = ""
    target: str = ""
    window: int = 0
    top: int = 20

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name in ("window", "top"):
            put(self, name, as_whole(getattr(self, name), name))
        method = choose_method(self.method)
        if self.layer and not method.layered:
            raise InputError(f"`layer` {self.layer}: the method {self.method} looks at no layer; leave it out")
        if self.window and self.window < 32:
            raise InputError(f"`window` {self.window}: give at least 32 pixels")
        if self.top < 1:
            raise InputError(f"`top` {self.top}: give at least 1")


def settings_of(methods: Sequence[str], *, layer: str = "", **options: Any) -> list[ExplainSettings]:
    """Return settings for each of several methods; a layer goes to those that look at one.

    Parameters
    ----------
    methods : sequence of str
    layer : str
    **options : any
        The other fields, for all of them.

    Raises
    ------
    InputError
        See `ExplainSettings`; none of the methods looks at a layer.
    """
    layered = {name for name in methods if name in METHODS and METHODS[name].layered}
    return [
        ExplainSettings(name, layer=layer if name in layered or not layered else "", **options)
        for name in dict.fromkeys(methods)
    ]


def class_of(settings: ExplainSettings, classes: Sequence[str], two_class: Mapping[str, Any] | None) -> int | None:
    """Return the place of the class that is asked for; None where the likeliest of each image is.

    A map of two classes is of the positive one, so that red means the same in every picture.

    Parameters
    ----------
    settings : ExplainSettings
    classes : sequence of str
        Of the model.
    two_class : mapping or None
        Of its bundle.

    Raises
    ------
    InputError
        No such class.
    """
    if not settings.target:
        positive = [] if two_class is None or settings.method != "map" else two_class["positive"]
        return list(classes).index(positive[0]) if len(positive) == 1 and len(classes) == 2 else None
    found = match_class(settings.target, classes)
    if found is None:
        raise InputError(f"`target` {settings.target}: no class of this model; {one_of(settings.target, classes)}")
    return list(classes).index(found)
