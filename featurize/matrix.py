"""The features of a run as arrays, for scikit-learn and pandas."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core import InputError, MissingInputError, PathInput, converted, few
from ..core.formats import Array, Floats32, as_frame
from ..data import unknown_groups
from .store import open_store, refuse_history

_log = logging.getLogger(__name__)


class FeatureMatrix(NamedTuple):
    """The features of images. Their order is not that of a manifest, so join other columns by `names`.

    Attributes
    ----------
    X : ndarray of float32, shape (images, d)
        The mean over the augmentations of each image; those of several feature files stand side by side.
    y : ndarray of str, shape (images,)
        Labels; empty texts if no image has one.
    groups : ndarray of str, shape (images,)
        The patient of each image, or the name of the image if its patient is unknown.
    names : ndarray of str, shape (images,)
        Ids of the images.
    """

    X: Floats32
    y: Array
    groups: Array
    names: Array

    def __repr__(self) -> str:
        counts = f"{len({*self.y, ''}) - 1} classes, {len({*self.groups})} groups"
        return f"FeatureMatrix({len(self.X)} x {self.X.shape[1]}, {counts})"

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
    """Load the features of the labelled images of a run, or of all if none has a label; feature files side by side.

    Parameters
    ----------
    run : str or Path
        The folder of a run, or one of its feature files ``RUN/features/NAME.h5``, of one encoder and view. The columns
        of `FeatureMatrix.X` are in the order of their names.

    Raises
    ------
    InputError
        There is no such folder, it has no feature files, they are of different images, or some are not of the last
        call of `featurize`.
    StoreError
        See `open_store`.
    """
    blocks = []
    images = set()
    files = _stores_in(converted(run, "run", Path))
    refuse_history(files[0].parent, files, "load one file after the other")
    for path in files:
        with open_store(path) as store:
            images.add((*store.image_ids, *store.labels))
            labels = np.array(store.labels)
            rows = np.flatnonzero(labels != "")
            if not rows.size:  # new images
                rows = np.arange(len(labels))
            names = np.array(store.image_ids)
            store_groups = store.groups
            groups = np.where(np.array(store_groups) != "", store_groups, names)
            blocks.append(store.features(rows.tolist()).mean(axis=1))
    if len(images) > 1:
        raise InputError(f"{run}: feature files of different images; give one of them")
    if len(rows) < len(labels):
        _log.warning(
            "%s: %d of %d images have no label, and are left out",
            run,
            len(labels) - len(rows),
            len(labels),
        )
    if labels[rows].any():
        for text in unknown_groups([store_groups[row] or None for row in rows]):
            _log.warning("%s: %s", run, text)
    features = np.hstack(blocks)
    return FeatureMatrix(features, labels[rows], groups[rows], names[rows])


def _stores_in(run: Path) -> list[Path]:
    """Return the feature files of a run, or the one that is given; refuse a folder without any."""
    if run.is_file():
        return [run]
    files = sorted(run.glob("features/*.h5")) or sorted(run.glob("*.h5"))
    if not files:
        reason = "no feature file in this folder" if run.is_dir() else "no such run folder"
        raise MissingInputError(f"{run}: {reason}; run bchisto featurize first")
    return files


def only_store(run: Path) -> Path:
    """Return the feature file of a run.

    Raises
    ------
    InputError
        There are several, or there is none.
    """
    files = _stores_in(run)
    if len(files) > 1:
        raise InputError(f"{run}: several feature files: {few(map(str, files))}; give one of them")
    return files[0]
