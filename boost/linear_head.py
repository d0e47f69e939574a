"""Logistic regression on standardised features, and the base class of all models of standardised features.

The functions ``fit_...`` of this and of the other classifiers of arrays are the ``fit`` of `array_head`.
"""

from __future__ import annotations

import functools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core import BundleError
from ..evaluate import negative_log_likelihood
from .head import (
    TrainingPart,
    array_head,
    inner_folds,
    out_of_fold,
    spaced_augmentations,
    standardisation,
)
from .trees import Array, Arrays, Features, Floats, Integers, Probabilities, check_length

_TRIED_C = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Values of scikit-learn's ``C``, the inverse of the regularisation, that are tried. They are small because there are
more features than images."""

_ROUNDS = 300

ABSENT = -1e3
"""Score of a class without training images; it gives a probability of zero."""

_LEAST_SCALE = 1e-13
"""Lower limit for the scale of a feature. `standardisation` returns none below 1e-12."""


@dataclass(frozen=True)
class StandardisedModel(ABC):
    """A fitted model of standardised features.

    Attributes
    ----------
    arrays : dict of str to ndarray
        ``mean`` and ``scale`` (d,), ``intercepts`` (classes,), and further arrays of the model.

    Raises
    ------
    BundleError
        A scale is not positive, or is so small that a division by it could overflow.
    """

    arrays: Arrays

    def __post_init__(self) -> None:
        if not (self.arrays["scale"] > _LEAST_SCALE).all():
            raise BundleError("the array scale of a model holds invalid scales; train it again")

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.arrays["intercepts"])

    @property
    def features(self) -> int:
        """Number of features."""
        return len(self.arrays["mean"])

    def predict_proba(self, features: Features) -> Probabilities:
        """Predict images: the softmax of their scores.

        Parameters
        ----------
        features : ndarray of float32, shape (images, augmentations, d)

        Returns
        -------
        ndarray of float64, shape (images, classes)

        Raises
        ------
        BundleError
            The number of features is wrong.
        """
        check_length(features, self.features)
        return softmax(self.scores(features))

    @property
    def base(self) -> Probabilities:
        """Probabilities for the mean features of the training images, float64 of shape (classes,)."""
        return np.asarray(self.predict_proba(self.arrays["mean"][np.newaxis, np.newaxis])[0])

    @property
    @abstractmethod
    def constant(self) -> bool:
        """Whether all images get the same probabilities."""

    @abstractmethod
    def scores(self, features: Features) -> Probabilities:
        """Return the score of each class, shape (images, classes)."""


@dataclass(frozen=True)
class LinearModel(StandardisedModel):
    """A fitted logistic regression.

    Attributes
    ----------
    arrays : dict of str to ndarray
        ``mean``, ``scale`` (d,), ``coefficients`` (classes, d), ``intercepts`` (classes,), ``C`` as ``strength`` ().
    """

    @property
    def constant(self) -> bool:
        """Whether all coefficients are zero."""
        return not self.arrays["coefficients"].any()

    def scores(self, features: Features) -> Probabilities:
        """Return the score of each class, shape (images, classes)."""
        a = self.arrays
        # the mean of a linear function over rows is the function of the mean row
        rows = ((features.astype(np.float64) - a["mean"]) / a["scale"]).mean(axis=1)
        return np.asarray(rows @ a["coefficients"].T + a["intercepts"])


def softmax(scores: Floats) -> Probabilities:
    """Return the softmax of each row."""
    from scipy import special

    return np.asarray(special.softmax(scores, axis=1))


def multinomial(rows: Array, labels: Integers, *, C: float, classes: int) -> tuple[Floats, Floats]:
    """Fit scikit-learn's logistic regression; return coefficients (classes, d) and intercepts (classes,).

    For two classes there are two rows as well, whose softmax is the logistic function. A class that is missing in
    `labels` gets an intercept that makes its probability zero.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C, max_iter=_ROUNDS)
    # on some CPUs OpenBLAS reports invalid values for float32 products that have none (OpenBLAS issue 1924)
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        # stopping early only adds regularisation, and C is chosen on held-out images in any case
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows, labels)
    weights = model.coef_.astype(np.float64)
    offsets = model.intercept_.astype(np.float64)
    if len(model.classes_) == 2:
        weights = np.concatenate([-weights, weights]) / 2
        offsets = np.concatenate([-offsets, offsets]) / 2
    coefficients = np.zeros((classes, weights.shape[1]))
    coefficients[model.classes_] = weights
    intercepts = np.full(classes, ABSENT)
    intercepts[model.classes_] = offsets
    return coefficients, intercepts


def fit_logistic(part: TrainingPart) -> Arrays:
    """Fit a logistic regression, and choose its ``C`` by grouped folds inside the training part.

    Augmentations become separate rows, see `spaced_augmentations`.

    Raises
    ------
    InputError
        See `inner_folds`.
    """
    labels = part.labels
    mean, scale = standardisation(part.features)
    rows = (spaced_augmentations(part.features) - mean) / scale
    augmentations, d = rows.shape[1:]

    def fit(images: Integers, C: float) -> Any:
        return multinomial(
            rows[images].reshape(-1, d),
            np.repeat(labels[images], augmentations),
            C=C,
            classes=part.classes,
        )

    def predict(C: float, train: Integers, held: Integers) -> Probabilities:
        weights, offsets = fit(train, C)
        return softmax(rows[held].mean(axis=1) @ weights.T + offsets)

    best = best_of(_TRIED_C, part, predict)
    weights, offsets = fit(np.arange(len(labels)), best)
    return {
        "mean": mean,
        "scale": scale,
        "coefficients": weights,
        "intercepts": offsets,
        "strength": np.array(best),
    }


def best_of(
    tried: Sequence[Any],
    part: TrainingPart,
    predict: Callable[[Any, Integers, Integers], Probabilities],
) -> Any:
    """Return the value with the smallest loss on the images that inner folds hold out."""
    folds = inner_folds(part.labels, part.groups, seed=part.seed)

    def loss(value: Any) -> float:
        of_value = functools.partial(predict, value)
        probabilities = out_of_fold(folds, len(part.labels), part.classes, of_value)
        return held_out_loss(probabilities, part.labels)

    return min(tried, key=loss)


def held_out_loss(probabilities: Probabilities, labels: Integers) -> float:
    """Return the mean negative log-likelihood over the images that were held out, which have no NaN."""
    held_out = ~np.isnan(probabilities).any(axis=1)
    return negative_log_likelihood(probabilities[held_out], labels[held_out])


LOGISTIC = array_head(
    "logistic",
    fit=fit_logistic,
    model=LinearModel,
    shapes={"coefficients": ("k", "d"), "strength": ()},
    method="L2-regularised logistic regressions, their strength chosen by folds inside the training set",
)
"""Scikit-learn's logistic regression, with ``C`` chosen by inner folds."""
