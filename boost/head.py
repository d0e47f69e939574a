"""The interface of classifiers on features (heads), and tools for the training part of a fold, on which one is fitted.

The tools select rows, standardise features, and make inner folds for hyperparameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ..core import InputError, Message
from ..core.models import pack_arrays, unpack_arrays
from ..data import inner_splits
from .presets import Preset
from .trees import Arrays, Features, Integers, Params, Probabilities

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
    settings: Callable[[TrainingTerms], Mapping[str, Any]] = lambda terms: {}
    shown: Callable[[TrainingTerms], Mapping[str, str]] = lambda terms: {}
    method: str = ""
    packages: tuple[str, ...] = ()
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


MOST_ROWS = 3000
"""Maximum number of rows on which a linear or kernel classifier is fitted: for 360 images, 8 augmentations each. A
kernel classifier keeps most of its rows, so its time grows with their square and its model file with their number."""

INNER_FOLDS = 5
"""Number of folds inside the training part."""

_MORE = "add images (patients) of that class"

Folds = Sequence[tuple[Integers, Integers]]
"""Positions of training images and of held-out images, for each inner fold."""


def spaced_augmentations(features: Features) -> Features:
    """Select evenly spaced augmentations, so that images x augmentations is at most `MOST_ROWS`.

    Parameters
    ----------
    features : ndarray of float32, shape (images, augmentations, d)

    Returns
    -------
    ndarray of float32, shape (images, selected, d)
        At least one augmentation of each image.
    """
    images, augmentations, _ = features.shape
    count = max(1, min(augmentations, MOST_ROWS // images))
    return features[:, np.linspace(0, augmentations - 1, count).round().astype(np.int64)]


def few_images(labels: Integers, groups: Sequence[str | None], *, seed: int) -> Integers:
    """Select images at random if there are more than `MOST_ROWS`.

    Every class keeps its share, but at least two images if it has them. Within a class, patients take turns: no patient
    gets a second image before each has one.

    Parameters
    ----------
    labels : ndarray of int, shape (images,)
    groups : sequence of str or None
    seed : int

    Returns
    -------
    ndarray of int64
        Positions, ascending; all of them if there are at most `MOST_ROWS`.
    """
    if len(labels) <= MOST_ROWS:
        return np.arange(len(labels))
    order = np.random.default_rng([seed, len(labels)]).permutation(len(labels))
    selection = []
    for label in np.unique(labels):
        turns: dict[str, int] = {}
        ranked = []
        for position, image in enumerate(order[labels[order] == label].tolist()):
            group = groups[image]
            patient = f"image {image}" if group is None else f"group {group}"
            turns[patient] = turns.get(patient, 0) + 1
            ranked.append((turns[patient], position, image))
        share = max(min(2, len(ranked)), MOST_ROWS * len(ranked) // len(labels))
        selection += [image for _, _, image in sorted(ranked)[:share]]
    return np.sort(np.array(selection, dtype=np.int64))


def array_head(
    name: str,
    *,
    fit: Callable[[TrainingPart], Arrays],
    model: Callable[[Arrays], Classifier],
    shapes: Mapping[str, tuple[str, ...]],
    method: str,
    few: str = "",
) -> HeadSpec:
    """Return a classifier without seeds whose models are arrays.

    Parameters
    ----------
    name, method : str
        See `HeadSpec`.
    fit : callable
        ``fit(part)`` returns the arrays of a model by name, from a `TrainingPart`.
    model : callable
        Builds a classifier from the arrays.
    shapes : mapping
        Shapes of the arrays, for `unpack_arrays`. Every model also has ``mean`` and ``scale`` of the d features, and
        ``intercepts`` of the k classes.
    few : str
        If not empty, the classifier uses only `few_images`, and this is the verb for a notice: "kept" or "was fitted
        on". Empty: it uses all images.
    """
    all_shapes = {"mean": ("d",), "scale": ("d",), **shapes, "intercepts": ("k",)}

    def notice(terms: TrainingTerms) -> str | None:
        if not few or terms.most_images <= MOST_ROWS:
            return None
        return f"The head {name} {few} {MOST_ROWS:,} of up to {terms.most_images:,} training images of a fold."

    def fit_models(part: TrainingPart, params: Sequence[Params]) -> Iterator[FittedModel]:
        if few:
            images = few_images(part.labels, part.groups, seed=part.seed)
            part = replace(
                part,
                features=part.features[images],
                labels=part.labels[images],
                groups=[part.groups[image] for image in images],
            )
        for _ in params:
            yield FittedModel(pack_arrays(fit(part)))

    def settings(terms: TrainingTerms) -> dict[str, Any]:
        decided = {"inner_seed": terms.inner_seed}
        if few:
            decided[f"{name}_images"] = MOST_ROWS
        return decided

    return HeadSpec(
        name=name,
        suffix=".npz",
        fit=fit_models,
        parse=lambda data: model(unpack_arrays(data, all_shapes)),
        settings=settings,
        method=method,
        packages=("scikit-learn",),
        notice=notice,
    )


def standardisation(features: Features) -> tuple[Features, Features]:
    """Return mean and standard deviation of each feature over all rows; a constant feature gets the scale 1."""
    rows = features.reshape(-1, features.shape[-1])
    mean = rows.mean(axis=0, dtype=np.float64)
    scale = rows.std(axis=0, dtype=np.float64)
    scale[scale < 1e-12 * np.maximum(np.abs(mean), 1.0)] = 1.0
    return mean.astype(np.float32), scale.astype(np.float32)


def inner_folds(labels: Integers, groups: Sequence[str | None], *, seed: int) -> Folds:
    """Split training images into inner folds, which keep patients together if all are known.

    Parameters
    ----------
    labels : ndarray of int, shape (images,)
    groups : sequence of str or None
    seed : int

    Returns
    -------
    sequence of (ndarray, ndarray)
        Positions of training images and of held-out images. A split without training images of a class is left out.

    Raises
    ------
    InputError
        No split can be made, or every one lacks training images of a class.
    """
    folds = inner_splits(labels, groups, count=INNER_FOLDS, seed=seed)
    if not folds:
        raise InputError(
            Message(
                "this classifier chooses its settings by folds inside the training set, and there a class is "
                "left with no image to train on",
                remedies=[Message("use {heads:lightgbm}"), Message("more {folds}"), _MORE],
            )
        )
    return folds


def check_held_out(folds: Folds, labels: Integers) -> None:
    """Refuse inner folds that never hold out a class, for example because all its images are of one patient.

    Raises
    ------
    InputError
        Probabilities cannot be fitted on the held-out images.
    """
    held_labels = np.unique(np.concatenate([labels[held] for _, held in folds]))
    if len(held_labels) < len(np.unique(labels)):
        raise InputError(
            Message(
                "this classifier turns its decisions into probabilities by folds inside the training set, and "
                "these hold out no image of one of the classes",
                remedies=[
                    Message("use {heads:lightgbm} or {heads:logistic}"),
                    Message("more {folds}"),
                    _MORE,
                ],
            )
        )


def out_of_fold(
    folds: Folds, images: int, columns: int, predict: Callable[[Integers, Integers], Probabilities]
) -> Probabilities:
    """Collect the predictions of held-out images that `predict(train, held)` returns for each inner fold.

    Returns
    -------
    ndarray of float64, shape (images, columns)
        NaN for images that no fold holds out.
    """
    result = np.full((images, columns), np.nan)
    for train, held in folds:
        result[held] = predict(train, held)
    return result
