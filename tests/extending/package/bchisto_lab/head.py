"""The head ``centroid``: an image belongs to the class whose mean descriptor is nearest."""

import json
from dataclasses import dataclass

import numpy as np
from bchisto.boost import FittedModel, HeadSpec
from bchisto.core import BundleError


@dataclass(frozen=True)
class Centroids:
    means: np.ndarray  # (classes, d)

    def predict_proba(self, features):
        """Return probabilities (images, classes) from descriptors (images, augmentations, d)."""
        rows = features.mean(axis=1, dtype=np.float64)
        near = -np.square(rows[:, None] - self.means).mean(axis=2)
        scores = np.exp(near - near.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)


def fit(part, params):
    """Yield a model for each set of parameters; inner folds are not needed."""
    rows = part.features.mean(axis=1, dtype=np.float64)
    means = [rows[part.labels == label].mean(axis=0).tolist() for label in range(part.classes)]
    for _ in params:
        yield FittedModel(json.dumps(means).encode())


def parse(data):
    """Read a model; nothing that stands in it is run."""
    try:
        means = np.array(json.loads(data), dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise BundleError("not a complete model of class means; train it again") from error
    if means.ndim != 2 or not np.isfinite(means).all():
        raise BundleError("a model of class means needs one finite row a class; train it again")
    return Centroids(means)


CENTROID = HeadSpec(name="centroid", suffix=".json", fit=fit, parse=parse)
