"""The methods by name: for which models, what they show, what they are not, and where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError, one_of

__all__ = ["METHODS", "Method", "choose_method"]

_ROADS = {"boosted": "boosted ensembles on descriptors", "cnn": "fine-tuned networks"}


@dataclass(frozen=True)
class Method:
    """A way to look into a model.

    Attributes
    ----------
    name : str
    roads : tuple of str
        ``boosted``, ``cnn``: the bundles that it is for.
    unit : str
        What its colour bar says; ``{target}`` is the class.
    caution : str
        What it is not.
    signed : bool
    layered : bool
        Whether it takes a layer.
    about_model : bool
        Whether it looks at the model alone, so that no image is needed.
    """

    name: str
    roads: tuple[str, ...]
    unit: str
    caution: str
    signed: bool = False
    layered: bool = False
    about_model: bool = False


_ALL = (
    Method(
        "map",
        ("boosted", "cnn"),
        "probability of {target}",
        "Each place shows what the model would say if the picture held nothing but its surroundings; it was trained on "
        "whole pictures, so this is no segmentation and no probability of a lesion here.",
        signed=True,
    ),
    Method(
        "contributions",
        ("boosted",),
        "added to the raw score of {target}",
        "How the trees share out their score among channels of the encoder; a channel has no meaning of its own, and "
        "nothing here says what would happen if the tissue were different.",
        signed=True,
    ),
    Method(
        "channels",
        ("boosted",),
        "raw score of {target}, mean over the picture",
        "Where the channels with the largest contributions are active; the trees saw their average over the picture and "
        "not where they are, so a strong place need not have been needed.",
        signed=True,
    ),
)

METHODS = {method.name: method for method in _ALL}
"""The methods, by name."""


def choose_method(name: str, *, road: str | None = None, bundle: object = "") -> Method:
    """Return the method of that name, if it is for bundles of this road.

    Raises
    ------
    InputError
        No such method, or one for other models; the message names those that there are.
    """
    if name not in METHODS:
        raise InputError(f"`method` {name}: no such method; {one_of(name, METHODS)}")
    method = METHODS[name]
    if road is not None and road not in method.roads:
        there = _named([one for one in METHODS.values() if road in one.roads])
        raise InputError(
            f"`method` {name}: is for {_ROADS[method.roads[0]]}, and {bundle} holds {_ROADS[road]}; choose one of {there}"
        )
    return method


def _named(methods: Sequence[Method]) -> str:
    return ", ".join(method.name for method in methods)
