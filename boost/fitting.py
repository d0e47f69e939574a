"""Tools to fit a classifier on the training part of a fold: rows, scales, inner folds, models of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..core import Content, InputError, Message
from ..core.models import pack_arrays, unpack_arrays
from ..data import inner_splits
from .head import Classifier, FittedModel, HeadSpec, TrainingPart, TrainingTerms
from .trees import Arrays, Features, Integers, Params, Probabilities

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

    def settings(terms: TrainingTerms) -> Content:
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
