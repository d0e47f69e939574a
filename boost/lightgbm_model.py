"""One LightGBM model: features to text, text to probabilities. No other format is read or written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import BundleError, DependencyError

__all__ = [
    "BinnedRows",
    "contributions",
    "count_splits",
    "fit_text",
    "import_lightgbm",
    "is_model_text",
    "parse_model",
    "predict_proba",
]

_LAST_LINE = "pandas_categorical:"


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
            f"LightGBM cannot be loaded ({error}); install the system's OpenMP library "
            "(Debian: apt-get install libgomp1)"
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

    def __init__(
        self, features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], *, params: Mapping[str, Any]
    ) -> None:
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
            LightGBM's text format.
        """
        return str(import_lightgbm().train(dict(params), self._data, num_boost_round=rounds).model_to_string())


def fit_text(
    features: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    *,
    params: Mapping[str, Any],
    rounds: int,
) -> str:
    """Train one model and return its text, see `BinnedRows`."""
    return BinnedRows(features, labels, params=params).fit_text(params=params, rounds=rounds)


def is_model_text(text: str) -> bool:
    """Whether a text is a whole LightGBM model."""
    return text.startswith("tree\n") and text.rstrip().rpartition("\n")[2].startswith(_LAST_LINE)


def count_splits(text: str) -> int:
    """Return the number of splits in all trees of a model's text."""
    return sum(int(leaves) - 1 for leaves in re.findall(r"^num_leaves=(\d+)$", text, flags=re.MULTILINE))


def parse_model(text: str) -> Any:
    """Return the `lightgbm.Booster` of a model's text; parsing costs more than predicting an image.

    Raises
    ------
    BundleError
        Not a whole LightGBM model.
    """
    if not is_model_text(text):
        raise BundleError("not a whole LightGBM text model; train it again")
    return import_lightgbm().Booster(model_str=text)


def predict_proba(model: Any, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Predict images: the mean over augmentations of the class probabilities.

    Parameters
    ----------
    model : lightgbm.Booster
        Of `parse_model`.
    features : ndarray of float32, shape (images, augmentations, d)

    Returns
    -------
    ndarray of float64, shape (images, classes)

    Raises
    ------
    BundleError
        The model takes another number of features.
    """
    return _mean_over_augmentations(model, features)


def contributions(model: Any, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return what each feature adds to the raw scores of images: the mean over augmentations of LightGBM's TreeSHAP.

    Parameters
    ----------
    model : lightgbm.Booster
        Of `parse_model`.
    features : ndarray of float32, shape (images, augmentations, d)

    Returns
    -------
    ndarray of float64, shape (images, classes, d + 1)
        The last column is what a class has before any feature is known; a row sums to its raw score.

    Raises
    ------
    BundleError
        The model takes another number of features.

    References
    ----------
    Lundberg et al. 2020, "From local explanations to global understanding with explainable AI for trees".
    """
    flat = _mean_over_augmentations(model, features, pred_contrib=True)
    return flat.reshape(len(features), -1, features.shape[2] + 1)


def _mean_over_augmentations(model: Any, features: npt.NDArray[np.float32], **options: Any) -> npt.NDArray[np.float64]:
    images, augmentations, dim = features.shape
    if model.num_feature() != dim:
        raise BundleError(f"the model takes {model.num_feature()} features, these descriptors have {dim}")
    flat = model.predict(features.reshape(images * augmentations, dim), num_threads=1, **options)
    mean: npt.NDArray[np.float64] = flat.reshape(images, augmentations, -1).mean(axis=1)
    return mean
