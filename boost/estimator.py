"""bchisto's classifiers as a classifier of scikit-learn, which is loaded only for it."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from ..core import Entries, InputError, converted
from ..core.formats import Array
from .head import TrainingPart, TrainingTerms
from .heads import fit_head, get_head
from .settings import BoostSettings
from .trees import Probabilities


class HeadClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The models of one fold of `train` as a classifier of scikit-learn, for any features, such as embeddings.

    Parameters
    ----------
    head : str
        A classifier, see `list_heads`.
    seeds : int
        Number of models whose probabilities are averaged, of classifiers that have a seed.
    preset : str
        Settings of LightGBM, see `BoostSettings`.
    params : mapping, optional
        LightGBM parameters on top of the preset.
    seed : int
        Seed of the folds inside the training images, on which a classifier chooses its strength.

    Attributes
    ----------
    classes_ : ndarray, shape (classes,)
        Order of the probabilities.
    models_ : list of Classifier
        The fitted models; a logistic regression has its ``C`` as ``arrays["strength"]``.
    n_features_in_ : int
    feature_names_in_ : ndarray of str, shape (d,)
        Only if fitted on a data frame.
    """

    def __init__(
        self,
        head: str = "lightgbm",
        *,
        seeds: int = 5,
        preset: str = "published",
        params: Entries | None = None,
        seed: int = 0,
    ) -> None:
        self.head = head
        self.seeds = seeds
        self.preset = preset
        self.params = params
        self.seed = seed

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Fit the models.

        Parameters
        ----------
        X : array of float, shape (images, d)
        y : array, shape (images,)
            Labels.
        groups : array, shape (images,), optional
            Patients, which the inner folds keep whole; NaN or None if unknown. scikit-learn's functions pass them on
            after ``set_fit_request(groups=True)``.

        Raises
        ------
        InputError
            A setting is invalid, all images are of one class, or a classifier cannot be fitted on so few.
        """
        settings = BoostSettings(
            heads=self.head,
            seeds=self.seeds,
            preset=self.preset,
            params=self.params or {},
            seed=self.seed,
        )
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        patients: list[str | None] = [None] * len(X)
        if groups is not None:
            check_consistent_length(X, groups)
            patients = list(converted(groups, "groups", tuple[str | None, ...]))
        self.classes_, labels = np.unique(y, return_inverse=True)
        classes = len(self.classes_)
        if classes < 2:
            raise InputError(f"all images are of 1 class ({self.classes_[0]}); give two at least")
        spec = get_head(self.head)
        terms = TrainingTerms(settings.lightgbm.for_classes(classes), settings.seed, len(X))
        part = TrainingPart(
            features=X[:, np.newaxis],
            labels=labels,
            groups=patients,
            classes=classes,
            seed=settings.seed,
            rounds=terms.preset.rounds,
        )
        members = range(settings.seeds if spec.seeded else 1)
        params = [
            spec.params(terms, classes=classes, seed=member, fold_position=0) for member in members
        ]
        self.models_ = [
            spec.parse(model.data) for model in fit_head(self.head, part, params=params)
        ]
        return self

    def predict_proba(self, X: Any) -> Probabilities:
        """Return the mean probabilities of the models, float64 of shape (images, classes)."""
        check_is_fitted(self)
        rows = validate_data(self, X, reset=False, dtype=np.float32)[:, np.newaxis]
        members = [model.predict_proba(rows) for model in self.models_]
        return np.asarray(np.mean(members, axis=0))

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each image, shape (images,)."""
        positions = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[positions])
