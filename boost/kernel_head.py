"""A support-vector machine with an RBF kernel on standardised features."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..core import BundleError
from .array_heads import (
    ABSENT,
    StandardisedModel,
    held_out_loss,
    multinomial,
    softmax,
    squared_distances,
)
from .fitting import (
    Folds,
    array_head,
    check_held_out,
    inner_folds,
    out_of_fold,
    spaced_augmentations,
    standardisation,
)
from .head import TrainingPart
from .trees import Arrays, Features, Floats, Integers, Probabilities

_COSTS = (1.0, 10.0)
_WIDTHS = (0.25, 1.0, 4.0)
"""Costs and kernel widths that are tried. A width of 1 is scikit-learn's ``gamma="scale"``: for standardised features,
one divided by their number."""

_MOST_PREDICTED = 20_000
"""Rows that are predicted at a time. With 3,000 vectors the kernel then takes half a gigabyte."""


@dataclass(frozen=True)
class KernelModel(StandardisedModel):
    """A fitted support-vector machine.

    Attributes
    ----------
    arrays : dict of str to ndarray
        ``mean``, ``scale`` (d,); ``vectors`` (m, d), standardised; ``pairs`` (p, m) and ``offsets`` (p,), the decision
        function of each pair of classes; ``weights`` (classes, p) and ``intercepts`` (classes,), which turn decisions
        into probabilities; ``gamma``, ``cost`` ().
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        most_pairs = self.classes * (self.classes - 1) // 2
        if self.arrays["gamma"] < 0 or len(self.arrays["pairs"]) > most_pairs:
            raise BundleError(
                "the arrays of a model are of no support-vector machine; train it again"
            )

    @property
    def constant(self) -> bool:
        """Whether all images get the same probabilities: no decision has a weight, or none depends on a vector."""
        return not (self.arrays["weights"].any() and self.arrays["pairs"].any())

    def scores(self, features: Features) -> Probabilities:
        """Return the score of each class, shape (images, classes)."""
        return self._decisions(features) @ self.arrays["weights"].T + self.arrays["intercepts"]

    def _decisions(self, features: Features) -> Probabilities:
        """Return the decision of each pair of classes, averaged over augmentations, shape (images, pairs)."""
        a = self.arrays
        images, augmentations, d = features.shape
        step = max(1, _MOST_PREDICTED // augmentations)
        if images > step:
            parts = [
                self._decisions(features[start : start + step]) for start in range(0, images, step)
            ]
            return np.concatenate(parts)
        rows = ((features - a["mean"]) / a["scale"]).reshape(-1, d)
        kernel = np.exp(-float(a["gamma"]) * squared_distances(rows, a["vectors"]))
        decisions = kernel @ a["pairs"].T + a["offsets"]
        return np.asarray(decisions.reshape(images, augmentations, -1).mean(axis=1))


def _fit_pairs(kernel: Floats, labels: Integers, cost: float) -> tuple[Integers, Floats, Floats]:
    """Fit scikit-learn's support-vector machine on a kernel matrix.

    Returns the support rows (m,) and, for each pair of classes in ascending order, the coefficients (p, m) and offset
    (p,) of its decision. A positive decision means the first class of the pair. For two classes it means the second, as
    in scikit-learn.
    """
    from sklearn.svm import SVC

    machine = SVC(C=cost, kernel="precomputed", cache_size=500).fit(kernel, labels)
    count = len(machine.classes_)
    ends = np.concatenate([[0], np.cumsum(machine.n_support_)])
    pairs = []
    for i, j in combinations(range(count), 2):
        coefficients = np.zeros(len(machine.support_))
        coefficients[ends[i] : ends[i + 1]] = machine.dual_coef_[j - 1, ends[i] : ends[i + 1]]
        coefficients[ends[j] : ends[j + 1]] = machine.dual_coef_[i, ends[j] : ends[j + 1]]
        pairs.append(coefficients)
    return machine.support_.astype(np.int64), np.array(pairs), machine.intercept_.astype(np.float64)


def fit_probabilities(
    decisions: Probabilities, labels: Integers, *, classes: int
) -> tuple[Floats, Floats]:
    """Fit a multinomial logistic regression that turns decisions into probabilities.

    A decision that is lower for images of its class than for those of the other is left out: if one patient outweighs
    the others, folds inside the training set may be wrong more often than right, and the model would predict the
    opposite of what its decisions mean.

    Parameters
    ----------
    decisions : ndarray of float64, shape (images, pairs)
        Decisions of each pair of classes, see `_fit_pairs`.
    labels : ndarray of int, shape (images,)
    classes : int

    Returns
    -------
    ndarray of shape (classes, pairs), ndarray of shape (classes,)
        Weights and intercepts. If no decision is left, the probabilities are the shares of the classes.
    """
    present = np.unique(labels)
    pairs = np.array(list(combinations(present, 2)))
    if len(present) == 2:  # a positive decision is for the second class, as in scikit-learn
        pairs = pairs[:, ::-1]
    means = np.stack([decisions[labels == label].mean(axis=0) for label in present])
    numbers = np.arange(len(pairs))
    first, second = np.searchsorted(present, pairs.T)
    is_reliable = means[first, numbers] > means[second, numbers]
    weights = np.zeros((classes, len(pairs)))
    if is_reliable.any():
        weights[:, is_reliable], intercepts = multinomial(
            decisions[:, is_reliable], labels, C=1.0, classes=classes
        )
        return weights, intercepts
    shares = np.bincount(labels, minlength=classes) / len(labels)
    return weights, np.log(shares, out=np.full(classes, ABSENT), where=shares > 0.0)


def fit_svm(part: TrainingPart) -> Arrays:
    """Fit a support-vector machine, and choose its cost and width by grouped folds inside the training part.

    Probabilities come from a multinomial logistic regression on the held-out decisions for pairs of classes, see
    `fit_probabilities`.

    Raises
    ------
    InputError
        See `inner_folds` and `check_held_out`.

    References
    ----------
    Platt 1999 (probabilities from held-out decisions), extended to several classes.
    """
    labels = part.labels
    mean, scale = standardisation(part.features)
    standardised = (spaced_augmentations(part.features) - mean) / scale
    images, augmentations, d = standardised.shape
    rows = standardised.reshape(-1, d)
    distances = squared_distances(rows, rows)
    folds = inner_folds(labels, part.groups, seed=part.seed)
    check_held_out(folds, labels)
    numbers = np.arange(len(rows)).reshape(images, -1)
    trials = []
    for width in _WIDTHS:
        kernel = np.exp(-width / d * distances)
        for cost in _COSTS:
            decisions = _held_out_decisions(kernel, cost, labels, numbers, folds)
            held_out = ~np.isnan(decisions).any(axis=1)
            fitted = fit_probabilities(decisions[held_out], labels[held_out], classes=part.classes)
            loss = held_out_loss(softmax(decisions @ fitted[0].T + fitted[1]), labels)
            trials.append((loss, *fitted, width, cost))
    _, weights, intercepts, width, cost = min(trials, key=lambda trial: trial[0])
    support, pairs, offsets = _fit_pairs(
        np.exp(-width / d * distances), np.repeat(labels, augmentations), cost
    )
    return {
        "mean": mean,
        "scale": scale,
        "vectors": rows[support].astype(np.float32),
        "pairs": pairs,
        "offsets": offsets,
        "weights": weights,
        "intercepts": intercepts,
        "gamma": np.array(width / d),
        "cost": np.array(cost),
    }


def _held_out_decisions(
    kernel: Floats, cost: float, labels: Integers, rows: Integers, folds: Folds
) -> Probabilities:
    """Return the decisions of machines on images that folds hold out, averaged over augmentations; NaN for others.

    Parameters
    ----------
    kernel : ndarray of float64, shape (rows, rows)
    cost : float
    labels : ndarray of int, shape (images,)
    rows : ndarray of int, shape (images, augmentations)
        The row of each augmentation of an image.
    folds : sequence of (ndarray, ndarray)
    """
    images, augmentations = rows.shape

    def decide(train: Integers, held: Integers) -> Probabilities:
        training = rows[train].ravel()
        support, pairs, offsets = _fit_pairs(
            kernel[np.ix_(training, training)], np.repeat(labels[train], augmentations), cost
        )
        kernel_part = kernel[np.ix_(rows[held].ravel(), training[support])]
        decisions = kernel_part @ pairs.T + offsets
        return np.asarray(decisions.reshape(len(held), augmentations, -1).mean(axis=1))

    present = len(np.unique(labels))
    return out_of_fold(folds, images, present * (present - 1) // 2, decide)


SVM = array_head(
    "svm",
    fit=fit_svm,
    model=KernelModel,
    shapes={
        "vectors": ("m", "d"),
        "pairs": ("p", "m"),
        "offsets": ("p",),
        "weights": ("k", "p"),
        "gamma": (),
        "cost": (),
    },
    method="support-vector machines with an RBF kernel [@cortes1995], their cost and width chosen by folds inside the "
    "training set",
    few="was fitted on",
)
"""Scikit-learn's support-vector machine, with cost and width chosen by inner folds."""
