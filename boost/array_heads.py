"""Classifiers of arrays: logistic regression, nearest neighbours, class means, discriminant analysis.

The functions ``fit_...`` of this and of the other classifiers of arrays are the ``fit`` of `array_head`.
"""

from __future__ import annotations

import functools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core import BundleError
from ..evaluate import negative_log_likelihood
from .fitting import array_head, inner_folds, out_of_fold, spaced_augmentations, standardisation
from .head import TrainingPart
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
        predictor = functools.partial(predict, value)
        probabilities = out_of_fold(folds, len(part.labels), part.classes, predictor)
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


def squared_distances(a: Array, b: Array) -> Floats:
    """Return squared Euclidean distances, float64 of shape (len(a), len(b))."""
    squares = (a * a).sum(axis=1, dtype=np.float64)[:, None] + (b * b).sum(axis=1, dtype=np.float64)
    return np.asarray(np.maximum(squares - 2.0 * (a @ b.T), 0.0))


_NEIGHBOURS = (1, 3, 5, 10, 20)
"""Numbers of neighbours that are tried; UNI (Chen et al. 2024) uses 20."""

_TEMPERATURES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Factors of squared distances that are tried. A distance between vectors of length 1 is at most 2."""


def unit_rows(features: Features, mean: Array, scale: Array) -> Floats:
    """Return the mean features of each image, centred, scaled, and normalised to length 1.

    Parameters
    ----------
    features : ndarray of float32, shape (images, augmentations, d)
    mean, scale : ndarray, shape (d,)

    Returns
    -------
    ndarray of float64, shape (images, d)
    """
    rows = (features.mean(axis=1, dtype=np.float64) - mean) / scale
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0))


@dataclass(frozen=True)
class NeighbourModel(StandardisedModel):
    """A fitted nearest-neighbour classifier: the training images and their classes.

    Attributes
    ----------
    arrays : dict of str to ndarray
        ``mean``, ``scale`` (d,); ``vectors`` (m, d), the training images as `unit_rows`; ``votes`` (m, classes), 1 for
        the class of an image; ``intercepts`` (classes,); ``neighbours`` ().
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        votes = self.arrays["votes"]
        if not (1 <= int(self.arrays["neighbours"]) <= len(votes) and (votes >= 0).all()):
            raise BundleError("the arrays of a model are of no nearest neighbours; train it again")

    @property
    def constant(self) -> bool:
        """Whether all images get the same votes."""
        votes = self.arrays["votes"]
        return int(self.arrays["neighbours"]) == len(votes) or bool((votes == votes[0]).all())

    def scores(self, features: Features) -> Probabilities:
        """Return the score of each class, shape (images, classes)."""
        a = self.arrays
        order = _nearest(unit_rows(features, a["mean"], a["scale"]), a["vectors"])
        return _vote(a["votes"], order, int(a["neighbours"])) + a["intercepts"]


@dataclass(frozen=True)
class PrototypeModel(StandardisedModel):
    """A fitted nearest-mean classifier: the mean of each class.

    Attributes
    ----------
    arrays : dict of str to ndarray
        ``mean``, ``scale`` (d,); ``prototypes`` (classes, d), means of `unit_rows`; ``intercepts`` (classes,);
        ``temperature`` (), the factor of squared distances.
    """

    @property
    def constant(self) -> bool:
        """Whether all classes have the same mean."""
        prototypes = self.arrays["prototypes"]
        return bool((prototypes == prototypes[0]).all())

    def scores(self, features: Features) -> Probabilities:
        """Return the score of each class, shape (images, classes)."""
        a = self.arrays
        distances = squared_distances(
            unit_rows(features, a["mean"], a["scale"]), a["prototypes"].astype(np.float64)
        )
        return a["intercepts"] - float(a["temperature"]) * distances


def _nearest(rows: Floats, vectors: Array) -> Integers:
    """Return the positions of all vectors for each row, nearest first; at equal distance the earlier one first."""
    return np.argsort(squared_distances(rows, vectors.astype(np.float64)), axis=1, kind="stable")


def _vote(votes: Array, order: Integers, neighbours: int) -> Probabilities:
    """Return unnormalised log probabilities: votes of the nearest, plus one per class (Laplace's rule)."""
    return np.asarray(np.log(votes[order[:, :neighbours]].sum(axis=1, dtype=np.float64) + 1.0))


def fit_neighbours(part: TrainingPart) -> Arrays:
    """Store the training images, and choose the number of neighbours by grouped folds inside the training part.

    Raises
    ------
    InputError
        See `inner_folds`.
    """
    rows, arrays = _prepared(part)
    prior = arrays["intercepts"]
    votes = np.eye(part.classes, dtype=np.float32)[part.labels]

    def predict(neighbours: int, train: Integers, held: Integers) -> Probabilities:
        order = _nearest(rows[held], rows[train])
        return softmax(_vote(votes[train], order, neighbours) + prior)

    candidates = [count for count in _NEIGHBOURS if count <= len(rows)]
    best = best_of(candidates, part, predict)
    return arrays | {
        "vectors": rows.astype(np.float32),
        "votes": votes,
        "neighbours": np.array(best),
    }


def fit_prototypes(part: TrainingPart) -> Arrays:
    """Compute the mean of each class, and choose the temperature by grouped folds inside the training part.

    Raises
    ------
    InputError
        See `inner_folds`.

    References
    ----------
    Wang et al. 2019, SimpleShot, section 3: CL2N, features centred on the training set and normalised to length 1.
    """
    rows, arrays = _prepared(part)
    prior = arrays["intercepts"]

    def means(images: Integers) -> Floats:
        membership = np.eye(part.classes)[part.labels[images]]
        counts = membership.sum(axis=0)[:, None]
        return membership.T @ rows[images] / np.where(counts > 0, counts, 1.0)

    def predict(temperature: float, train: Integers, held: Integers) -> Probabilities:
        return softmax(prior - temperature * squared_distances(rows[held], means(train)))

    return arrays | {
        "prototypes": means(np.arange(len(rows))),
        "temperature": np.array(best_of(_TEMPERATURES, part, predict)),
    }


def _prepared(part: TrainingPart) -> tuple[Floats, Arrays]:
    """Return the `unit_rows` of a training part, and arrays of every model: intercepts exclude absent classes."""
    mean = part.features.mean(axis=1, dtype=np.float64).mean(axis=0).astype(np.float32)
    scale = np.ones_like(mean)
    prior = np.where(np.isin(np.arange(part.classes), part.labels), 0.0, ABSENT)
    arrays = {"mean": mean, "scale": scale, "intercepts": prior}
    return unit_rows(part.features, mean, scale), arrays


KNN = array_head(
    "knn",
    fit=fit_neighbours,
    model=NeighbourModel,
    shapes={"vectors": ("m", "d"), "votes": ("m", "k"), "neighbours": ()},
    method="votes of the nearest training images, whose number folds inside the training set chose",
    few="kept",
)
"""Nearest neighbours by the angle between centred features."""

PROTOTYPE = replace(
    array_head(
        "prototype",
        fit=fit_prototypes,
        model=PrototypeModel,
        shapes={"prototypes": ("k", "d"), "temperature": ()},
        method="nearest class means of centred and normalised features [@wang2019]",
    ),
    takes_equal=True,
)
"""SimpleShot: class means of centred features normalised to length 1."""


def fit_lda(part: TrainingPart) -> Arrays:
    """Fit a discriminant analysis with the covariance ``(1 - s) S + s tr(S) / d I`` of rows around their class means.

    Rows are the standardised mean features of images. The shrunk covariance is inverted only in the space of the rows,
    which contains all differences of means. So 360 rows of 2,336 features need a decomposition of 360 x 2,336 numbers,
    and not of 2,336 x 2,336. A class without rows gets the probability zero.

    References
    ----------
    Ledoit and Wolf 2004, Journal of Multivariate Analysis 88, for ``s``. The covariance has the form of scikit-learn's
    ``LinearDiscriminantAnalysis(shrinkage=s)``.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    mean, scale = standardisation(part.features)
    rows = (part.features.mean(axis=1, dtype=np.float64) - mean) / scale
    membership = np.eye(part.classes)[part.labels]
    counts = membership.sum(axis=0)
    present = counts > 0
    means = membership.T @ rows / np.where(present, counts, 1.0)[:, None]
    centred = rows - means[part.labels]
    shrinkage = float(ledoit_wolf_shrinkage(centred, assume_centered=True))
    target = float((centred**2).sum()) / len(rows) / rows.shape[1]  # tr(S) / d
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    ridge = shrinkage * target or 1.0  # 1 if the images of each class are all equal
    # inverse = I / ridge + axes.T (1 / variances - 1 / ridge) axes, also outside of the space of `axes`
    variances = (1 - shrinkage) * singular**2 / len(rows) + ridge
    weights = means / ridge + (means @ axes.T) * (1 / variances - 1 / ridge) @ axes
    with np.errstate(divide="ignore"):
        offsets = np.where(
            present, np.log(counts / len(rows)) - 0.5 * (weights * means).sum(axis=1), ABSENT
        )
    return {
        "mean": mean,
        "scale": scale,
        "coefficients": weights * present[:, None],
        "intercepts": offsets,
        "shrinkage": np.array(shrinkage),
    }


LDA = array_head(
    "lda",
    fit=fit_lda,
    model=LinearModel,
    shapes={"coefficients": ("k", "d"), "shrinkage": ()},
    method="linear discriminant analyses with a shrunk covariance [@ledoit2004]",
    few="was fitted on",
)
"""Linear discriminant analysis with Ledoit and Wolf's shrinkage."""
