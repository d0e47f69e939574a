"""Train LightGBM models and return their text; `tree_arrays` turns it into arrays, `trees` predicts from these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core import DependencyError
from .arrays import Features, Places


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
