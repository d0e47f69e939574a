"""What is asked of a model."""

from __future__ import annotations

from dataclasses import dataclass

from ..arguments import as_whole
from ..errors import InputError
from .methods import choose_method

__all__ = ["ExplainSettings"]


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

    method: str
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
