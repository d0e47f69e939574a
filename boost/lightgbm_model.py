"""One LightGBM model: trained by LightGBM, kept as arrays, predicting from these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core import BundleError, DependencyError
from .arrays import Features, Places, Probabilities
from .tree_arrays import read_forest
from .trees import Forest


def import_lightgbm() -> Any:
    """Import LightGBM.

    Raises
    ------
    DependencyError
        The system's OpenMP library, which LightGBM's package does not bring, is missing.
    """
    try:
        import lightgbm
    except OSError as error:
        raise DependencyError(
            "LightGBM cannot be loaded ({}); install the system's OpenMP library (Debian: apt-get install libgomp1)",
            error,
        ) from error
    return lightgbm


class BinnedRows:
    """Training rows in LightGBM's bins, made once and shared by models that differ in seeds only.

    Parameters
    ----------
    features : ndarray of float32, shape (images, augmentations, d)
        Augmentations are rows of their own. Only training images: bins are made from these rows alone. The array is
        not needed afterwards; the bins take a quarter of it.
    labels : ndarray of int, shape (images,)
        Class positions.
    params : mapping
        For `lightgbm.Dataset`.
    """

    def __init__(self, features: Features, labels: Places, *, params: Mapping[str, Any]) -> None:
        images, augmentations, dim = features.shape
        rows = features.reshape(images * augmentations, dim)
        repeated = np.repeat(labels, augmentations).astype(np.float32)
        self._data = import_lightgbm().Dataset(rows, repeated, params=dict(params)).construct()

    def fit_text(self, *, params: Mapping[str, Any], rounds: int) -> str:
        """Train a model and return its text, equal to that of a model with bins of its own.

        Parameters
        ----------
        params : mapping
            For `lightgbm.train`; those that make the bins must be those of the rows.
        rounds : int
            Boosting rounds.

        Returns
        -------
        str
            LightGBM's text format, for `pack_text`.
        """
        return str(import_lightgbm().train(dict(params), self._data, num_boost_round=rounds).model_to_string())


def fit_text(features: Features, labels: Places, *, params: Mapping[str, Any], rounds: int) -> str:
    """Train one model and return its text, see `BinnedRows`."""
    return BinnedRows(features, labels, params=params).fit_text(params=params, rounds=rounds)


class TreeModel:
    """A model that was read from its arrays, see `read_forest`.

    Attributes
    ----------
    forest : Forest
    """

    def __init__(self, forest: Forest) -> None:
        self.forest = forest

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.forest.classes

    @property
    def features(self) -> int:
        """Length of a descriptor."""
        return self.forest.features

    @property
    def constant(self) -> bool:
        """Whether no tree has a split, so that all images get the same probabilities."""
        return self.forest.splits == 0

    @property
    def base(self) -> Probabilities | None:
        """Probabilities before any feature is known, float64 of shape (classes,); None without counts of rows."""
        from scipy import special

        base = np.asarray(special.softmax(self.forest.base))
        return None if np.isnan(base).any() else base

    def predict_proba(self, features: Features) -> Probabilities:
        """Predict images: the mean over augmentations of the class probabilities.

        Parameters
        ----------
        features : ndarray of float32, shape (images, augmentations, d)

        Returns
        -------
        ndarray of float64, shape (images, classes)

        Raises
        ------
        BundleError
            The model takes another number of features.
        """
        images, augmentations, dim = features.shape
        if self.features != dim:
            raise BundleError(f"the model takes {self.features} features, this feature file has {dim}")
        shares = self.forest.predict_proba(features.reshape(images * augmentations, dim))
        return np.asarray(shares.reshape(images, augmentations, -1).mean(axis=1))


def parse_model(data: bytes) -> TreeModel:
    """Read the arrays of `pack_text`.

    Raises
    ------
    BundleError
        Not a whole model, or one in which something does not fit: see `read_forest`.
    """
    return TreeModel(read_forest(data))
