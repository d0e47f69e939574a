"""One LightGBM model: LightGBM trains it; bchisto stores it as arrays and predicts from them."""

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
        The system's OpenMP library is missing, which LightGBM's package does not contain.
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
    """Training rows in LightGBM's bins, computed once and shared by models that differ only in seeds.

    Parameters
    ----------
    features : ndarray of float32, shape (images, augmentations, d)
        Features of training images only, because they determine the bins. Augmentations become separate rows. The bins
        take a quarter of the array's memory, and the array is not needed afterwards.
    labels : ndarray of int, shape (images,)
        Class numbers.
    params : mapping
        Parameters for `lightgbm.Dataset`.
    """

    def __init__(self, features: Features, labels: Places, *, params: Mapping[str, Any]) -> None:
        images, augmentations, dim = features.shape
        rows = features.reshape(images * augmentations, dim)
        repeated = np.repeat(labels, augmentations).astype(np.float32)
        self._data = import_lightgbm().Dataset(rows, repeated, params=dict(params)).construct()

    def fit_text(self, *, params: Mapping[str, Any], rounds: int) -> str:
        """Train a model and return its text, the same as without shared bins.

        Parameters
        ----------
        params : mapping
            Parameters for `lightgbm.train`. Those that affect the bins must equal those of the rows.
        rounds : int
            Number of boosting rounds.

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
    """A model of trees that was read from arrays, see `read_forest`.

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
        """Number of features."""
        return self.forest.features

    @property
    def constant(self) -> bool:
        """Whether no tree has a split, so that all images get the same probabilities."""
        return self.forest.splits == 0

    @property
    def base(self) -> Probabilities | None:
        """Probabilities before any feature is known, float64 of shape (classes,); None if row counts are missing."""
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
            The number of features is wrong.
        """
        images, augmentations, dim = features.shape
        if self.features != dim:
            raise BundleError(f"the model takes {self.features} features, this feature file has {dim}")
        shares = self.forest.predict_proba(features.reshape(images * augmentations, dim))
        return np.asarray(shares.reshape(images, augmentations, -1).mean(axis=1))


def parse_model(data: bytes) -> TreeModel:
    """Read a model from the bytes that `pack_text` returned.

    Raises
    ------
    BundleError
        The model is incomplete or inconsistent, see `read_forest`.
    """
    return TreeModel(read_forest(data))
