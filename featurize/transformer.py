"""Images to features as a transformer of scikit-learn, which is loaded only for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from ..core import InputError, Many, few
from ..core.formats import Floats32
from ..core.jobs import Ticker
from ..data import Image, ImageRecord, image_records
from .plan import ready_targets
from .settings import FeaturizeSettings
from .stream import describe_images


class ImageFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer of scikit-learn from images to features. It learns nothing, so no test image leaks through it.

    Random crops and colours follow from the pixels of an image, as in prediction, but in `featurize` from its name.
    With a grid of crops and without colours, features are the same in both. A process loads encoders once.

    Parameters
    ----------
    settings : FeaturizeSettings, optional
        The published settings by default.
    mpp : float, optional
        Micrometres per pixel of all images, if their files do not contain it.
    """

    def __init__(
        self, settings: FeaturizeSettings | None = None, *, mpp: float | None = None
    ) -> None:
        self.settings = settings
        self.mpp = mpp

    def fit(self, images: Any = None, labels: Any = None) -> Self:
        """Return the transformer as it is."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def transform(self, images: Many[Image]) -> Floats32:
        """Return the features of images, float32 of shape (n, d), in the order of `FeatureMatrix.X`.

        Parameters
        ----------
        images : sequence of path, ndarray or PIL.Image.Image
            Files, RGB arrays of uint8 with shape (height, width, 3), and pictures of Pillow; or an array of shape (n,
            height, width, 3); or a data frame with these in its only column, or in its column path.

        Raises
        ------
        MissingInputError, InputError
            There is no such file, or there are no images.
        ImageError
            An image cannot be decoded or used.
        WeightsError
            Weights of an encoder are missing.
        """
        if hasattr(images, "columns"):
            images = _column_of(images)
        settings, targets = ready_targets(FeaturizeSettings.of(self.settings))
        records, _ = image_records(images, _records_of)
        described: Any = describe_images(
            [replace(record, mpp=self.mpp) for record in records],
            settings=settings,
            targets=targets,
            ticker=Ticker(None),
            crop_seed="pixels",
        )
        return np.array(
            [
                np.hstack([item.features[name].mean(axis=0) for name in targets])
                for item in described
            ]
        )

    @property
    def _n_features_out(self) -> int:
        """Number of features, which `get_feature_names_out` numbers."""
        _, targets = ready_targets(FeaturizeSettings.of(self.settings))
        return sum(encoder.dim for encoder, _ in targets.values())


def _column_of(frame: Any) -> Any:
    """Return the only column of a data frame, as a `ColumnTransformer` gives it, or of several the column of paths."""
    columns = list(frame.columns)
    if len(columns) == 1:
        return frame[columns[0]]
    if "path" not in columns:
        text = "{images}: no column `path` in the data frame; there are {}"
        raise InputError(text, few(map(str, columns)))
    return frame["path"]


def _records_of(paths: list[Path]) -> list[ImageRecord]:
    return [ImageRecord(str(path), path, None) for path in paths]
