"""Inside the training part of a fold: rows, standardisation, and folds to choose hyperparameters by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError, Message
from ..crossval import unpack_arrays
from ..data import inner_splits
from .arrays import Features, Places, Probabilities
from .head import Classifier, FittedModel, HeadSpec, TrainingPart, TrainingTerms

MOST_ROWS = 3000
"""Most rows that a linear or kernel head is fitted on: of 360 images some 8 augmentations each. A kernel head
keeps most of its rows, so that time grows with their square and the bundle with their number."""

INNER_FOLDS = 5
"""Folds inside the training part."""

Folds = Sequence[tuple[Places, Places]]
"""Positions of images that train and that are held out."""


def spread_augmentations(features: Features, *, most_rows: int = MOST_ROWS) -> Features:
    """Keep evenly spaced augmentations, so that images x augmentations stay within `most_rows`.

    Parameters
    ----------
    features : ndarray of float32, shape (images, augmentations, d)
    most_rows : int

    Returns
    -------
    ndarray of float32, shape (images, kept, d)
        At least one augmentation of each image.
    """
    images, augmentations, _ = features.shape
    kept = max(1, min(augmentations, most_rows // images))
    return features[:, np.linspace(0, augmentations - 1, kept).round().astype(np.int64)]


def few_images(labels: Places, groups: Sequence[str | None], *, seed: int, most: int = MOST_ROWS) -> Places:
    """Choose images where there are more than rows that may be fitted on.

    Every class keeps its share, and at least two images where it has them; in a class the groups take turns, so that
    none is left out before each has given one.

    Parameters
    ----------
    labels : ndarray of int, shape (images,)
    groups : sequence of str or None
    seed : int
    most : int

    Returns
    -------
    ndarray of int64
        Positions, ascending; all of them where they are no more than `most`.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    order = np.random.default_rng(np.random.SeedSequence([seed, len(labels)])).permutation(len(labels))
    chosen: list[int] = []
    for label in np.unique(labels):
        turns: dict[str, int] = {}
        ranked: list[tuple[int, int, int]] = []
        for position, image in enumerate(order[labels[order] == label].tolist()):
            group = groups[image]
            key = f"image {image}" if group is None else f"group {group}"
            turns[key] = turns.get(key, 0) + 1
            ranked.append((turns[key], position, image))
        share = max(min(2, len(ranked)), most * len(ranked) // len(labels))
        chosen += [image for _, _, image in sorted(ranked)[:share]]
    return np.sort(np.array(chosen, dtype=np.int64))


def few_images_of(part: TrainingPart) -> TrainingPart:
    """Return a part with a choice of its images, see `few_images`, where there are more than `MOST_ROWS`."""
    chosen = few_images(part.labels, part.groups, seed=part.seed)
    if len(chosen) == len(part.labels):
        return part
    groups = [part.groups[image] for image in chosen]
    return replace(part, features=part.features[chosen], labels=part.labels[chosen], groups=groups)


def array_head(
    name: str,
    *,
    fit: Callable[[TrainingPart], bytes],
    model: Callable[[dict[str, npt.NDArray[Any]]], Classifier],
    shapes: Mapping[str, tuple[str, ...]],
    method: str,
    few: str = "",
) -> HeadSpec:
    """Return a head without seeds whose models are arrays.

    Parameters
    ----------
    name, method : str
        See `HeadSpec`.
    fit : callable
        Returns the arrays of a model, packed by `pack_arrays`.
    model : callable
        Makes a classifier of them.
    shapes : mapping
        Of the arrays, for `unpack_arrays`.
    few : str
        What becomes of `few_images` where there are more: "kept" or "was fitted on"; empty for all images.
    """

    def fit_each(part: TrainingPart, params: Sequence[Mapping[str, Any]]) -> Iterator[FittedModel]:
        for _ in params:
            yield FittedModel(fit(few_images_of(part) if few else part))

    def settings(terms: TrainingTerms) -> Mapping[str, Any]:
        return {"inner_seed": terms.inner_seed, **({f"{name}_images": MOST_ROWS} if few else {})}

    def notice(terms: TrainingTerms) -> str | None:
        if not few or terms.most_images <= MOST_ROWS:
            return None
        return f"The head {name} {few} {MOST_ROWS:,} of up to {terms.most_images:,} training images of a fold."

    return HeadSpec(
        name=name,
        suffix=".npz",
        fit=fit_each,
        parse=lambda data: model(unpack_arrays(data, shapes)),
        settings=settings,
        method=method,
        packages=("scikit-learn",),
        notice=notice,
    )


def standardisation(features: Features) -> tuple[Features, Features]:
    """Return mean and standard deviation of each feature over all rows; a constant feature gets the scale 1."""
    rows = features.reshape(-1, features.shape[-1])
    mean, scale = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    scale[scale < 1e-12 * np.maximum(np.abs(mean), 1.0)] = 1.0
    return mean.astype(np.float32), scale.astype(np.float32)


def inner_folds(labels: Places, groups: Sequence[str | None], *, seed: int) -> Folds:
    """Split training images again, groups whole where all are known.

    Parameters
    ----------
    labels : ndarray of int, shape (images,)
    groups : sequence of str or None
    seed : int

    Returns
    -------
    sequence of (ndarray, ndarray)
        Positions of images that train and that are held out. A split whose training side lacks a class is left out.

    Raises
    ------
    InputError
        No split holds every class on its training side.
    """
    folds = inner_splits(labels, groups, count=INNER_FOLDS, seed=seed)
    if not folds:
        raise InputError(
            Message(
                "this classifier chooses its settings by folds inside the training part, and there a class is "
                "left with no image to train on; use {heads:lightgbm}, more {folds}, or add images "
                "(patients) of that class"
            )
        )
    return folds


def check_held_out(folds: Folds, labels: Places) -> None:
    """Refuse inner folds that hold out no image of some class, as where all its images are of one patient.

    Raises
    ------
    InputError
        Probabilities cannot be fitted on what is held out.
    """
    held = np.unique(np.concatenate([labels[held] for _, held in folds]))
    if len(held) < len(np.unique(labels)):
        raise InputError(
            Message(
                "this classifier turns its decisions into probabilities by folds inside the training part, and "
                "these hold out no image of one of the classes; use {heads:lightgbm} or "
                "{heads:logistic}, more {folds}, or add images (patients) of that class"
            )
        )


def out_of_fold(
    folds: Folds, images: int, columns: int, predict: Callable[[Places, Places], Probabilities]
) -> Probabilities:
    """Collect what `predict(train, held)` says of held-out images.

    Returns
    -------
    ndarray of float64, shape (images, columns)
        NaN for images that no split holds out.
    """
    result = np.full((images, columns), np.nan)
    for train, held in folds:
        result[held] = predict(train, held)
    return result
