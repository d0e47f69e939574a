"""The interface of classifiers on features (heads)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..core import Entries, InputError
from .presets import Preset
from .trees import Features, Integers, Params, Probabilities

HEAD_NAME = r"[a-z][a-z0-9_]{0,31}"
"""Pattern of a classifier's name, which is part of names of folders."""


class Classifier(Protocol):
    """A fitted model.

    It may have a property ``constant``: whether it gives all images the same probabilities. It may also have ``base``:
    the probabilities, float64 of shape (classes,), before any feature is known.
    """

    def predict_proba(self, features: Features) -> Probabilities:
        """Return probabilities, float64 of shape (images, classes), from features (images, augmentations, d)."""
        ...


@dataclass(frozen=True)
class TrainingPart:
    """The training part of a fold, on which a model is fitted.

    Attributes
    ----------
    features : ndarray of float32, shape (images, augmentations, d)
    labels : ndarray of int, shape (images,)
        Class numbers.
    groups : sequence of str or None
        Patients; None if unknown.
    classes : int
        Number of classes.
    seed : int
        Seed of the inner folds.
    rounds : int
        Number of boosting rounds.
    """

    features: Features
    labels: Integers
    groups: Sequence[str | None]
    classes: int
    seed: int
    rounds: int


@dataclass(frozen=True)
class TrainingTerms:
    """Settings that all models of a cross-validation scheme share.

    Attributes
    ----------
    preset : Preset
        Preset of LightGBM, for the number of classes.
    inner_seed : int
        Seed of the folds inside the training part.
    most_images : int
        Number of training images in the largest fold.
    """

    preset: Preset
    inner_seed: int
    most_images: int


@dataclass(frozen=True)
class FittedModel:
    """A model that `HeadSpec.fit` returned.

    Attributes
    ----------
    data : bytes
        The model, for `HeadSpec.parse`.
    text : str or None
        The model as text for people. It is written next to the model, and bchisto does not read it.
    """

    data: bytes
    text: str | None = None


@dataclass(frozen=True)
class HeadSpec:
    """A classifier on features: how its models are fitted, saved and described.

    Another package adds a classifier through the entry-point group ``bchisto.heads``. The entry point has the name of
    the classifier, and is a `HeadSpec` or a function without arguments that returns one.

    Attributes
    ----------
    name : str
        Lower-case letters, digits and ``_``.
    suffix : str
        Suffix of a model's file, such as ``.npz``.
    fit : callable
        ``fit(part, params)`` accepts a `TrainingPart` and a sequence of parameters, one mapping per model, and yields a
        `FittedModel` for each. Equal calls must yield equal bytes.
    parse : callable
        ``parse(data)`` returns a `Classifier` from a model's bytes, and raises `BundleError` if they are damaged. It
        must not run any code that they contain.
    seeded : bool
        Whether models depend on the seed. Other classifiers are fitted once per fold.
    params : callable
        ``params(terms, classes=..., seed=..., fold_position=...)`` returns the parameters of one model; by default its
        ``seed`` (from 0) and ``fold_position`` (from 0).
    settings : callable
        ``settings(terms)`` returns, JSON-ready, all settings that affect its models except folds, classes and feature
        files. A folder with other settings is refused.
    shown : callable
        ``shown(terms)`` returns the settings for a report, name to text.
    method : str
        Its name in a methods section, in the plural, such as "random forests". It may cite references
        that bchisto knows, ``[@key]``.
    packages : tuple of str
        Distributions whose versions are recorded with its models.
    takes_equal : bool
        Whether its probabilities take classes as equally frequent, whatever their shares in training: the largest is
        called then.
    notice : callable
        ``notice(terms)`` returns a sentence that must appear with its results, or None.

    Raises
    ------
    InputError
        The name or suffix is not valid.
    """

    name: str
    suffix: str
    fit: Callable[[TrainingPart, Sequence[Params]], Iterator[FittedModel]]
    parse: Callable[[bytes], Classifier]
    seeded: bool = False
    params: Callable[..., Params] = lambda terms, *, classes, **seed_and_fold: seed_and_fold
    settings: Callable[[TrainingTerms], Entries] = lambda terms: {}
    shown: Callable[[TrainingTerms], Mapping[str, str]] = lambda terms: {}
    method: str = ""
    packages: tuple[str, ...] = ()
    takes_equal: bool = False
    notice: Callable[[TrainingTerms], str | None] = lambda terms: None

    def __repr__(self) -> str:
        return f"HeadSpec({self.name!r})"

    def __post_init__(self) -> None:
        if not re.fullmatch(HEAD_NAME, self.name):
            raise InputError(
                f"head {self.name!r}: its name must be lower-case letters, digits and _, at most 32, a letter first"
            )
        if not re.fullmatch(r"\.[a-z0-9]{1,8}", self.suffix):
            raise InputError(
                f"head {self.name}: its suffix {self.suffix!r} must be a dot and up to 8 lower-case letters or digits"
            )
