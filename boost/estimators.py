"""Heads as classifiers of scikit-learn, over descriptors: for pipelines, searches and cross-validation of one's own.

Importing this module imports scikit-learn; the room gives the name without it (`bchisto.boost.HeadClassifier`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ..core import InputError, Message, NothingLearntWarning
from ..evaluate import is_constant, nothing_learnt
from .arrays import Features, Places
from .blend import blend_weights
from .head import TrainingPart, TrainingTerms
from .heads import STACK, fit_head, members_of, parse_head
from .learning import leaf_facts, learning_banner
from .settings import BoostSettings


class HeadClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A head of `list_heads`, fitted on descriptors.

    Parameters
    ----------
    head : str
        ``lightgbm``, ``logistic``, ``svm``, ``stack``, or a head of another package.
    seeds : int
        Models whose mean predicts, of heads that have a seed.
    preset : str
        Of `PRESETS`.
    params : mapping, optional
        LightGBM parameters on top of the preset.
    seed : int
        Moves the folds inside the training part, by which ``logistic``, ``svm`` and ``stack`` choose.

    Attributes
    ----------
    classes_ : ndarray, shape (classes,)
    n_features_in_ : int
    weights_ : dict of str to float
        What each member counts; 1 for a head alone.
    models_ : tuple of (str, bytes)
        Head and model as they stand in a bundle.

    Notes
    -----
    Rows are images. `bchisto.boost.train` takes augmentations of an image as rows of their own and averages their
    predictions; of a store, pass ``store.features().mean(axis=1)``, or train with it.
    """

    def __init__(
        self,
        head: str = "lightgbm",
        *,
        seeds: int = 1,
        preset: str = "published",
        params: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.head = head
        self.seeds = seeds
        self.preset = preset
        self.params = params
        self.seed = seed

    def fit(self, X: Any, y: Any, groups: Sequence[Any] | None = None) -> HeadClassifier:
        """Fit the models.

        Parameters
        ----------
        X : array of shape (images, d)
            Taken as float32.
        y : array of shape (images,)
            Classes, two at least.
        groups : sequence, optional
            Patients or slides, which the folds inside keep whole; None where unknown.

        Raises
        ------
        InputError
            No such head, preset or parameter, or a class with too few images for the folds inside.

        Warns
        -----
        NothingLearntWarning
            Models give all images the same probabilities: of ``lightgbm`` because fewer than twice ``min_data_in_leaf``
            (20) images train.
        """
        X, y = validate_data(self, X, y, dtype=np.float32, ensure_min_samples=2)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"all images are of one class, {self.classes_[0]}; a head needs at least two classes")
        if groups is not None and len(groups) != len(labels):
            raise InputError(f"groups: {len(groups)} for {len(labels)} images; give one for each")
        settings = BoostSettings((self.head,), seeds=self.seeds, preset=self.preset, params=self.params or {})
        preset = settings.lightgbm
        stacked = self.head == STACK
        part = TrainingPart(
            features=np.ascontiguousarray(X[:, np.newaxis, :]),
            labels=labels.astype(np.int64),
            groups=[None] * len(labels)
            if groups is None
            else [None if group is None else str(group) for group in groups],
            classes=len(self.classes_),
            seed=self.seed,
            rounds=preset.rounds,
            inner=stacked,
        )
        terms = TrainingTerms(preset, self.seed, len(labels))
        models: list[tuple[str, bytes]] = []
        held: list[npt.NDArray[np.float64]] = []
        for spec in members_of(self.head):
            count = self.seeds if spec.seeded and not stacked else 1
            params = [spec.params(terms, classes=part.classes, seed=seed, fold_position=0) for seed in range(count)]
            for model in fit_head(spec.name, part, params=params):
                models.append((spec.name, model.data))
                if model.held_out is not None:
                    held.append(model.held_out)
        self.models_ = tuple(models)
        self._warn(part.features, labels, params=preset.params)
        shares = blend_weights(np.array(held), part.labels).tolist() if stacked else [1.0]
        self.weights_ = dict(zip([spec.name for spec in members_of(self.head)], shares, strict=True))
        return self

    def _warn(self, features: Features, labels: Places, *, params: Mapping[str, Any]) -> None:
        """Warn of models that give all images of training the same probabilities."""
        idle = [name for name, data in self.models_ if is_constant(parse_head(name, data).predict_proba(features))]
        if not idle:
            return
        text = nothing_learnt(f"{len(idle)} of {len(self.models_)} models")
        if trees := idle.count("lightgbm"):
            count = sum(name == "lightgbm" for name, _ in self.models_)
            facts = {"models": count, "without_split": trees, **leaf_facts(labels.tolist(), params=params)}
            text = learning_banner(facts, cure=Message(" by {params}"))
        warnings.warn(text, NothingLearntWarning, stacklevel=3)

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Return probabilities, float64 of shape (images, classes)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        # the same numbers, but products of float64, whose rounding does not show which images were predicted together
        rows: Any = np.ascontiguousarray(X[:, np.newaxis, :], dtype=np.float64)
        total = np.zeros((len(rows), len(self.classes_)))
        for name, data in self.models_:
            times = sum(other == name for other, _ in self.models_)
            total += self.weights_[name] / times * parse_head(name, data).predict_proba(rows)
        return total

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the likeliest class of each image."""
        check_is_fitted(self)
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])
