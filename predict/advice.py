"""What a prediction says of its model's training, and of what its caller can change."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import fields

from ..core import limited_to
from ..jobs import Work
from .settings import PredictSettings

PARAMETERS = frozenset({"model", "images", "features", "weights", "out"}).union(
    one.name for one in (*fields(PredictSettings), *fields(Work))
)
"""What a caller who predicts can change; a model that is trained has no other options left."""


def said_of_training(notes: Iterable[str]) -> tuple[str, ...]:
    """Return what a bundle says of itself, so that nobody takes it to be said of the new images.

    Notes that begin with their name in capitals stay as they are in every output.

    Examples
    --------
    >>> said_of_training(["RANDOM WEIGHTS: vgg16 ran untrained.", "3 pairs of images seem to show the same pixels"])
    ('RANDOM WEIGHTS: vgg16 ran untrained.', "the model's training: 3 pairs of images seem to show the same pixels")
    """
    return tuple(note if note[:2].isupper() else f"the model's training: {note}" for note in notes)


def advised(*further: str) -> AbstractContextManager[None]:
    """Let what is refused inside be told to someone who predicts, see `bchisto.core.Message.limited`.

    Parameters
    ----------
    *further : str
        What the caller can change beside `PARAMETERS`.
    """
    return limited_to(PARAMETERS.union(further))
