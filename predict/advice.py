"""Advice of other rooms in words that hold for new images: a model that is trained has no options left to change."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ..arguments import reworded
from ..data import Needs

_LARGER = "; this model needs larger images"

_ADVICE = (
    (r"; use a smaller `views`(, or `pad=[^`]*`)?", _LARGER),
    (r"; use `patches=[^`]*` or smaller ones", _LARGER),
    (r"; leave it out, or use `stain_fallback=[^`]*`", "; leave it out"),
    (r"(; copy it(?: again)?), or use `context=[^`]*`", r"\1"),
    (r", or a manifest path,label,group with `folds` .*", ""),
    (r", or other names by `path_column`[^;]*`group_column`", ""),
    (r"; where they are, use `group_from=.*", ""),
    (r"; `folds=[^`]*` keeps (the split, .*|them)", ""),
    (r"; `dataset=[^`]*` takes classes and patients from the names", ""),
    (r"; (if it does, name it|name the label column) with `(group|label)_column`", ""),
    (r", or name \S+ in `classes`", ""),
    (
        r"`(?:encoders|network)` (\S+): no such (encoder|network); .*",
        r"the \2 \1 of this model is not known here; install the package that adds it",
    ),
    (r"`encoders` (\S+): ", r"the encoder \1 of this model: "),
    (r'`engine="(\w+)"`: ', r"the engine \1 of this model: "),
    (r'`(?:stain|method)="([^"`]+)"` needs', r"the stain method \1 of this model needs"),
)
"""What names options of training, and what to say instead."""


def said_of_training(notes: Iterable[str]) -> tuple[str, ...]:
    """Return what a bundle says of itself, so that nobody takes it to be said of the new images.

    Notes that begin with their name in capitals stay as they are in every output.

    Examples
    --------
    >>> said_of_training(["RANDOM WEIGHTS: vgg16 ran untrained.", "3 pairs of images seem to show the same pixels"])
    ('RANDOM WEIGHTS: vgg16 ran untrained.', "the model's training: 3 pairs of images seem to show the same pixels")
    """
    return tuple(note if note[:2].isupper() else f"the model's training: {note}" for note in notes)


def in_our_words(text: str) -> str:
    """Return a message without advice that a prediction cannot follow.

    Examples
    --------
    >>> in_our_words("a.png: 40x40 is smaller than the crop of 64; use a smaller `views`")
    'a.png: 40x40 is smaller than the crop of 64; this model needs larger images'
    """
    for pattern, instead in _ADVICE:
        text = re.sub(pattern, instead, text, flags=re.DOTALL)
    return text


def advised() -> AbstractContextManager[None]:
    """Let what is refused inside be `in_our_words`."""
    return reworded(in_our_words)


@dataclass(frozen=True)
class Fitting:
    """What images must be large enough for, `in_our_words`.

    Attributes
    ----------
    need : Needs
    """

    need: Needs

    @property
    def scale(self) -> float:
        """The scale at which it looks at an image."""
        return self.need.scale

    def misfit(self, path: Path, *, width: int, height: int) -> str | None:
        """Say what is wrong with an image of this size after scaling."""
        said = self.need.misfit(path, width=width, height=height)
        return None if said is None else in_our_words(said)
