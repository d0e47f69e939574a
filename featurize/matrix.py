"""The features of a run as arrays, for scikit-learn and pandas."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core import InputError, PathInput, converted, few
from ..core.formats import Array, Floats32, as_frame
from .store import open_store


class FeatureMatrix(NamedTuple):
    """The features of labelled images.

    Attributes
    ----------
    X : ndarray of float32, shape (images, d)
        The mean over the augmentations of each image.
    y : ndarray of str, shape (images,)
        Labels.
    groups : ndarray of str, shape (images,)
        Patients; of an image whose patient is unknown, its own name.
    names : ndarray of str, shape (images,)
        Ids of the images.
    """

    X: Floats32
    y: Array
    groups: Array
    names: Array

    def __repr__(self) -> str:
        images, features = self.X.shape
        classes, groups = len(set(self.y)), len(set(self.groups))
        return f"FeatureMatrix({images} x {features}, {classes} classes, {groups} groups)"

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame`: image_id, label, group, then a column for each feature.

        Raises
        ------
        DependencyError
            pandas is not installed.
        """
        columns = {"image_id": self.names, "label": self.y, "group": self.groups}
        columns |= {f"f{number}": values for number, values in enumerate(self.X.T)}
        return as_frame(columns)


def load_features(run: PathInput) -> FeatureMatrix:
    """Load the features of the labelled images of a run.

    Parameters
    ----------
    run : str or Path
        The folder of a run with one feature file, or a feature file.

    Raises
    ------
    InputError
        The folder has several feature files, or none; or no image has a label.
    StoreError
        See `open_store`.
    """
    path = converted(run, "run", Path)
    if path.is_dir():
        path = only_store(path)
    with open_store(path) as store:
        labels = np.array(store.labels)
        labelled = np.flatnonzero(labels != "")
        if not labelled.size:
            raise InputError(f"{path}: no image has a label; give them to bchisto featurize")
        names = np.array(store.image_ids)
        groups = np.where(np.array(store.groups) != "", store.groups, names)
        features = store.features(labelled.tolist()).mean(axis=1)
    return FeatureMatrix(features, labels[labelled], groups[labelled], names[labelled])


def only_store(run: Path) -> Path:
    """Return the feature file of a run.

    Raises
    ------
    InputError
        There are several, or there is none.
    """
    files = sorted(run.glob("features/*.h5")) or sorted(run.glob("*.h5"))
    if not files:
        raise InputError(f"{run}: no feature file in this folder; run bchisto featurize first")
    if len(files) > 1:
        raise InputError(f"{run}: several feature files: {few(map(str, files))}; give one of them")
    return files[0]
