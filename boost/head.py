"""What a head is: how a classifier on descriptors is fitted, kept, read, and told of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..core import InputError
from .arrays import Features, Places, Probabilities
from .presets import Preset

HEAD_NAME = r"[a-z][a-z0-9_]{0,31}"
"""Pattern of a head's name, which stands in names of folders and of members of a bundle."""

MODEL_SUFFIX = r"\.[a-z0-9]{1,8}"
"""Pattern of the suffix of a model's file."""


class Classifier(Protocol):
    """A fitted model.

    It may have a property ``constant``: whether it gives all images the same probabilities; and ``base``: the
    probabilities, float64 of shape (classes,), before any number of a descriptor is known.
    """

    def predict_proba(self, features: Features) -> Probabilities:
        """Return probabilities of images, float64 of shape (images, classes), from (images, augmentations, d)."""
        ...


@dataclass(frozen=True)
class TrainingPart:
    """What a model is fitted on: the training part of a fold.

    Attributes
    ----------
    features : ndarray of float32, shape (images, augmentations, d)
    labels : ndarray of int, shape (images,)
    groups : sequence of str or None
    classes : int
    seed : int
        Of the inner folds.
    rounds : int
        Of boosting.
    """

    features: Features
    labels: Places
    groups: Sequence[str | None]
    classes: int
    seed: int
    rounds: int


@dataclass(frozen=True)
class TrainingTerms:
    """What all models of a protocol are trained under.

    Attributes
    ----------
    preset : Preset
        Of LightGBM.
    inner_seed : int
        Moves the folds inside the training part.
    most_images : int
        Training images of the fold that has the most.
    """

    preset: Preset
    inner_seed: int
    most_images: int


@dataclass(frozen=True)
class FittedModel:
    """A model of `HeadSpec.fit`.

    Attributes
    ----------
    data : bytes
        For `HeadSpec.parse`.
    text : str or None
        For people, who find it beside the model; bchisto does not read it.
    """

    data: bytes
    text: str | None = None


def _nothing(terms: TrainingTerms) -> Mapping[str, Any]:
    return {}


def _seed_and_fold(terms: TrainingTerms, *, classes: int, seed: int, fold_position: int) -> Mapping[str, Any]:
    return {"seed": seed, "fold_position": fold_position}


def _no_notice(terms: TrainingTerms) -> str | None:
    return None


@dataclass(frozen=True)
class HeadSpec:
    """A classifier on descriptors.

    Another package adds one through the entry-point group ``bchisto.heads``: the entry point is a `HeadSpec`, or a
    function without arguments that returns one, and has its name.

    Attributes
    ----------
    name : str
        Lower-case letters, digits and ``_``.
    suffix : str
        Of the file that holds a model, such as ``.npz``.
    fit : callable
        ``fit(part, params)`` takes a `TrainingPart` and a sequence of parameters, one mapping for each model, and
        yields a `FittedModel` for each. Equal calls yield equal bytes.
    parse : callable
        ``parse(data)`` makes a `Classifier` of a model's bytes, and raises `BundleError` where they are not whole. It
        must run nothing that stands in them.
    seeded : bool
        Whether models differ from seed to seed; others are fitted once per fold.
    params : callable
        ``params(terms, classes=..., seed=..., fold_position=...)`` returns the parameters of one model; by default its
        ``seed`` (from 0) and ``fold_position`` (from 0).
    settings : callable
        ``settings(terms)`` returns what decides the content of its models beside the folds, the classes and the stores,
        JSON-ready; a folder is held to it.
    shown : callable
        ``shown(terms)`` returns what a report says of the settings, name to text.
    method : str
        What a methods section calls it, in the plural, such as "random forests"; may cite, see `bchisto.evaluate.cite`.
    packages : tuple of str
        Distributions whose versions are recorded beside its models.
    notice : callable
        ``notice(terms)`` returns a sentence that a reader of its results must know, or None.

    Raises
    ------
    InputError
        A name or suffix that does not fit.
    """

    name: str
    suffix: str
    fit: Callable[[TrainingPart, Sequence[Mapping[str, Any]]], Iterator[FittedModel]]
    parse: Callable[[bytes], Classifier]
    seeded: bool = False
    params: Callable[..., Mapping[str, Any]] = _seed_and_fold
    settings: Callable[[TrainingTerms], Mapping[str, Any]] = _nothing
    shown: Callable[[TrainingTerms], Mapping[str, str]] = _nothing
    method: str = ""
    packages: tuple[str, ...] = ()
    notice: Callable[[TrainingTerms], str | None] = _no_notice

    def __post_init__(self) -> None:
        if not re.fullmatch(HEAD_NAME, self.name):
            raise InputError(
                f"head {self.name!r}: its name must be lower-case letters, digits and _, at most 32, a letter first"
            )
        if not re.fullmatch(MODEL_SUFFIX, self.suffix):
            raise InputError(
                f"head {self.name}: its suffix {self.suffix!r} must be a dot and up to 8 lower-case letters or digits"
            )
