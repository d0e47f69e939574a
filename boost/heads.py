"""Classifiers on descriptors, by name: how a model is fitted, kept and read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import BundleError
from .inner import inner_folds, out_of_fold
from .kernel_head import fit_svm, parse_svm
from .lightgbm_head import BinnedRows, fit_text, parse_model, predict_proba
from .linear_head import fit_logistic, parse_logistic

__all__ = ["BASE_HEADS", "HEADS", "SEEDED", "STACK", "SUFFIXES", "Classifier", "Fit", "fit_head", "parse_head"]

STACK = "stack"
"""The blend of all base heads over all stores."""

Features = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]


class Classifier(Protocol):
    """A fitted model."""

    def predict_proba(self, features: Features) -> Probabilities:
        """Return probabilities of images, float64 of shape (images, classes), from (images, augmentations, d)."""
        ...


@dataclass(frozen=True)
class _Booster:
    model: Any

    def predict_proba(self, features: Features) -> Probabilities:
        return predict_proba(self.model, features)


@dataclass(frozen=True)
class Fit:
    """What a model is fitted on.

    Attributes
    ----------
    features : ndarray of float32, shape (images, augmentations, d)
    labels : ndarray of int, shape (images,)
    groups : sequence of str or None
    classes : int
    seed : int
        Of the inner folds.
    rounds : int
        Of LightGBM.
    inner : bool
        Whether predictions of held-out training images are wanted.
    """

    features: Features
    labels: npt.NDArray[np.int64]
    groups: Sequence[str | None]
    classes: int
    seed: int
    rounds: int
    inner: bool = False


Fitted = Iterator[tuple[bytes, Probabilities | None]]
"""Per set of parameters the model, and probabilities of held-out training images where there are any."""


@dataclass(frozen=True)
class _Head:
    suffix: str
    fit: Callable[[Fit, Sequence[Mapping[str, Any]]], Fitted]
    parse: Callable[[bytes], Classifier]


def _fit_lightgbm(task: Fit, params: Sequence[Mapping[str, Any]]) -> Fitted:
    binned = BinnedRows(task.features, task.labels, params=params[0])
    for one in params:
        text = binned.fit_text(params=one, rounds=task.rounds).encode("utf-8")
        yield text, _held_out(task, one) if task.inner else None


def _held_out(task: Fit, params: Mapping[str, Any]) -> Probabilities:
    def held_out(train: npt.NDArray[np.int64], held: npt.NDArray[np.int64]) -> Probabilities:
        inner = fit_text(task.features[train], task.labels[train], params=params, rounds=task.rounds)
        return predict_proba(parse_model(inner), task.features[held])

    folds = inner_folds(task.labels, task.groups, seed=task.seed)
    return out_of_fold(folds, len(task.labels), task.classes, held_out)


def _parse_lightgbm(data: bytes) -> Classifier:
    try:
        return _Booster(parse_model(data.decode("utf-8")))
    except UnicodeDecodeError as error:
        raise BundleError("not a whole LightGBM text model; train it again") from error


def _unseeded(fit: Callable[..., tuple[bytes, Probabilities]]) -> Callable[[Fit, Sequence[Mapping[str, Any]]], Fitted]:
    def fitted(task: Fit, params: Sequence[Mapping[str, Any]]) -> Fitted:
        for _ in params:
            yield fit(task.features, task.labels, task.groups, classes=task.classes, seed=task.seed)

    return fitted


_HEADS = {
    "lightgbm": _Head(".txt", _fit_lightgbm, _parse_lightgbm),
    "logistic": _Head(".npz", _unseeded(fit_logistic), parse_logistic),
    "svm": _Head(".npz", _unseeded(fit_svm), parse_svm),
}

BASE_HEADS = tuple(_HEADS)
"""Heads that are one classifier."""

HEADS = (*BASE_HEADS, STACK)
"""What ``--head`` takes."""

SUFFIXES = {name: head.suffix for name, head in _HEADS.items()}
"""Suffix of the file that holds a model."""

SEEDED = frozenset({"lightgbm"})
"""Heads that differ from seed to seed; the others are fitted once per fold."""


def fit_head(name: str, task: Fit, *, params: Sequence[Mapping[str, Any]]) -> Fitted:
    """Fit a base head on one thread, once per set of parameters.

    Parameters
    ----------
    name : str
        Of `BASE_HEADS`.
    task : Fit
    params : sequence of mapping
        For LightGBM; they differ in seeds only and share the bins. Heads without a seed get one.

    Yields
    ------
    bytes, ndarray or None
        The model, and probabilities of held-out training images where they were asked for or come anyway.

    Raises
    ------
    InputError
        See `inner_folds`.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield from _HEADS[name].fit(task, params)


def parse_head(name: str, data: bytes) -> Classifier:
    """Read a model.

    Raises
    ------
    BundleError
        An unknown head, or a model that is not whole.
    """
    if name not in _HEADS:
        raise BundleError(f"a model of the head {name!r}, which this version does not know; update bchisto")
    return _HEADS[name].parse(data)
