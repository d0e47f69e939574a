"""Compare new images with the training images by their features: the distance, and the nearest of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core import BundleError
from ..core.models import pack_arrays, unpack_arrays
from ..featurize import open_store
from .trees import Arrays, Features, Floats, Integers

AXES = 64
"""Number of principal components that are kept; they take 128 bytes per feature. 8 detect outliers as well."""

_FOLDS = 5
"""Number of parts of the training images; each is left out once."""


def left_out_distances(rows: Floats, units: Integers) -> Floats:
    """Return the distance of each row to a distribution fitted without it, in folds that keep units together.

    Parameters
    ----------
    rows : ndarray of float64, shape (images, d)
    units : ndarray of int, shape (images,)
        Number of the unit of each image, such as its patient, from 0; at least two units.

    Returns
    -------
    ndarray of float64, shape (images,)
    """
    from sklearn.model_selection import GroupKFold

    distances = np.empty(len(rows))
    for train, held in GroupKFold(min(_FOLDS, int(units.max()) + 1)).split(rows, groups=units):
        distances[held] = placed(rows[held], fit_gaussian(rows[train]))[0]
    return distances


def fit_gaussian(rows: Floats) -> Arrays:
    """Fit a covariance to standardised rows, shrunk by Ledoit and Wolf's estimate, and keep its largest components.

    This uses only the inner products of rows, because there are fewer rows than features. The variance along all
    directions beyond `AXES` is their mean.

    Parameters
    ----------
    rows : ndarray of float64, shape (images, d)

    Returns
    -------
    dict of str to ndarray
        ``mean``, ``scale``, ``axes``, ``variances``, ``rest`` of `parse_reference`.

    References
    ----------
    Ledoit and Wolf 2004, Journal of Multivariate Analysis 88, as in scikit-learn's ``ledoit_wolf_shrinkage``.
    """
    images, d = rows.shape
    deviation = rows.std(axis=0)
    mean = rows.mean(axis=0).astype(np.float32)
    scale = np.where(deviation > 0, deviation, 1.0).astype(np.float32)
    centred = (rows - mean) / scale
    # The products of rows have those eigenvalues of the covariance S that are not zero, hence its tr(S) and tr(S S),
    # from which the shrinkage follows. scikit-learn's `ledoit_wolf_shrinkage` multiplies out d x d numbers for it: ten
    # times as long for 1,000 rows of 2,048 features, and equal only up to the last bits.
    products = centred @ centred.T
    target = float(np.trace(products)) / images / d or 1.0  # 1 if all images are equal
    squared = float((products**2).sum()) / images**2
    error = (float((np.diag(products) ** 2).sum()) / images - squared) / images / d
    excess = squared / d - target**2
    shrinkage = min(error, excess) / excess if excess > 0 else 1.0
    values, vectors = np.linalg.eigh(products)
    largest = np.flatnonzero(values > 1e-9 * max(values[-1], 1e-300))[::-1][: min(AXES, d)]
    axis_variances = values[largest] / images
    other_variance = max(target * d - float(axis_variances.sum()), 0.0) / max(d - len(largest), 1)
    axes = (centred.T @ vectors[:, largest] / np.sqrt(values[largest])).astype(np.float16)
    variances = (1 - shrinkage) * axis_variances + shrinkage * target
    rest = np.array((1 - shrinkage) * other_variance + shrinkage * target or target)
    return {"mean": mean, "scale": scale, "axes": axes, "variances": variances, "rest": rest}


def placed(rows: Floats, fitted: Arrays) -> tuple[Floats, Floats]:
    """Return the distances of rows from a fitted distribution, and their coordinates.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, d)
    fitted : dict of str to ndarray
        Result of `fit_gaussian`.

    Returns
    -------
    ndarray of shape (n,), ndarray of shape (n, q)
        Mahalanobis distance of each row from the mean, and the row scaled to length 1, along the principal axes.
    """
    centred = (rows - fitted["mean"]) / fitted["scale"]
    scores = centred @ fitted["axes"].astype(np.float64)
    squared = (centred**2).sum(axis=1)
    orthogonal = np.clip(squared - (scores**2).sum(axis=1), 0, None)
    distances = np.sqrt((scores**2 / fitted["variances"]).sum(axis=1) + orthogonal / fitted["rest"])
    return distances, scores / np.sqrt(np.where(squared > 0, squared, 1.0))[:, None]


REFERENCE_MEMBER = "training-images.npz"

TRAINING_NAMES = "training-images.csv"
"""Name of the file next to a model file that lists its training images."""

NEAREST = 3
"""Number of nearest training images that are reported."""

NOT_COMPARED = np.empty(0)
"""Result of a comparison if the model file contains no reference of its training images."""

MARKED = 99.0
"""Percentile of the distance from which an image is marked."""

MEANING = f"further from the training images than {MARKED:g} % of those that were left out"
"""Explanation of the mark, for reports."""

_MOST_IMAGES = 1000
"""Maximum number of training images in a model file, 164 bytes each. If there are more, they are drawn at random."""

_LEAST_IMAGES = 20
"""Minimum number of training images; with fewer a percentile means nothing."""

_SHAPES = {
    "mean": ("d",),
    "scale": ("d",),
    "axes": ("d", "q"),
    "variances": ("q",),
    "rest": (),
    "vectors": ("m", "q"),
    "classes": ("m",),
    "hashes": ("m", 32),
    "left_out": ("r",),
}


def parse_reference(data: bytes, *, classes: int) -> Arrays:
    """Read the summary of the training images that `fit_reference` returned, for this number of classes.

    Returns
    -------
    dict of str to ndarray
        ``mean``, ``scale`` (d,) of the features of all feature files; ``axes`` (d, q), the principal axes, with the
        variance ``variances`` (q,) along them and ``rest`` () along all others. For each training image: ``vectors``
        (m, q), its features scaled to length 1, along the axes; ``classes`` (m,); and ``hashes`` (m, 32), the bytes of
        its `TrainingImage.sha256`. ``left_out`` (r,), ascending: the distances of training images that were left out of
        the fit.

    Raises
    ------
    BundleError
        It is damaged, or does not fit.
    """
    arrays = unpack_arrays(data, _SHAPES)
    numbers = arrays["classes"]
    are_classes = len(numbers) >= NEAREST and ((numbers >= 0) & (numbers < classes)).all()
    positive = all((arrays[name] > 0).all() for name in ("variances", "scale", "rest"))
    if not are_classes or not positive or not arrays["left_out"].size:
        raise BundleError(
            "what a model file holds of its training images does not fit; it was altered"
        )
    return arrays


class Compared(NamedTuple):
    """How images compare with the training images.

    Attributes
    ----------
    percentiles : ndarray of float64, shape (n,)
        The percentage of left-out training images with a smaller distance.
    nearest : ndarray of int, shape (n, `NEAREST`)
        Positions of the nearest training images.
    distances : ndarray of float64, shape (n, `NEAREST`)
        Their cosine distances.
    """

    percentiles: Floats
    nearest: Integers
    distances: Floats

    @classmethod
    def of(cls, rows: Sequence[Floats]) -> Compared:
        """Split rows of `compare` into percentiles, positions and distances."""
        columns = np.array(rows).reshape(-1, 1 + 2 * NEAREST)
        percentiles, nearest, distances = np.split(columns, [1, 1 + NEAREST], axis=1)
        return cls(percentiles[:, 0], nearest.astype(np.int64), distances)


def compare(reference: Arrays, features: Iterable[Features]) -> Floats:
    """Compare images with the training images.

    Parameters
    ----------
    reference : dict of str to ndarray
        Result of `parse_reference`.
    features : iterable of ndarray of float32, shape (images, augmentations, d)
        Features of each feature file, in the order of training.

    Returns
    -------
    ndarray of float64, shape (images, 1 + 2 * `NEAREST`)
        Percentile, positions and distances, for `Compared`.

    Raises
    ------
    BundleError
        The number of features is wrong.
    """
    rows = np.hstack([block.mean(axis=1, dtype=np.float64) for block in features])
    if rows.shape[1] != len(reference["mean"]):
        raise BundleError(
            "the training images have features of another length than the models; it was altered"
        )
    distances, vectors = placed(rows, reference)
    cosine = np.clip(1 - vectors @ reference["vectors"].astype(np.float64).T, 0, 2)
    order = np.argsort(cosine, axis=1, kind="stable")[:, :NEAREST]
    left_out = reference["left_out"]
    percentiles = 100 * np.searchsorted(left_out, distances) / len(left_out)
    return np.hstack([percentiles[:, None], order, np.take_along_axis(cosine, order, axis=1)])


def nearest_names(
    reference: Arrays, compared: Compared, *, classes: Sequence[str], names: Mapping[str, str]
) -> list[str]:
    """Return for each image one line with its nearest training images, their classes and distances.

    Parameters
    ----------
    reference : dict of str to ndarray
        Result of `parse_reference`.
    compared : Compared
    classes : sequence of str
    names : mapping
        `TrainingImage.sha256` to the name of the image. Other images appear as the first 12 digits of their SHA-256.
    """
    hashes = [row.astype(np.int8).tobytes().hex() for row in reference["hashes"]]
    labels = [classes[number] for number in reference["classes"].astype(int)]
    images = [
        f"{names.get(sha256, sha256[:12])} ({label}"
        for sha256, label in zip(hashes, labels, strict=True)
    ]
    lines = []
    for numbers, distances in zip(compared.nearest, compared.distances, strict=True):
        nearest = zip(numbers, distances, strict=True)
        lines.append("; ".join(f"{images[index]}, {distance:.2f})" for index, distance in nearest))
    return lines


class TrainingImage(NamedTuple):
    """An image that trained a model.

    Attributes
    ----------
    image_id : str
    position : int
        Position in each feature file.
    label : int
        Class number.
    sha256 : str
        SHA-256 of its pixels; if these are not known, of its file, or of the rows of an imported embedding.
    unit : str
        Its patient or slide, or else itself.
    """

    image_id: str
    position: int
    label: int
    sha256: str
    unit: str


def fit_reference(
    stores: Iterable[Path], images: Sequence[TrainingImage], *, seed: int
) -> bytes | None:
    """Summarise the training images, so that new images can be compared with them.

    Parameters
    ----------
    stores : iterable of Path
        Feature files of the same images.
    images : sequence of TrainingImage
    seed : int
        Seed for drawing images if there are too many.

    Returns
    -------
    bytes or None
        The member of the model file, for `parse_reference`. None for fewer than 20 images, or a single patient.
    """
    order = np.random.default_rng(seed).permutation(len(images))
    sample = [images[number] for number in sorted(order[:_MOST_IMAGES])]
    if len(sample) < _LEAST_IMAGES or len({image.unit for image in sample}) < 2:
        return None
    _, units = np.unique([image.unit for image in sample], return_inverse=True)
    blocks = []
    for path in stores:
        with open_store(path) as store:
            # only one image is in memory at a time
            features = (store.features([image.position])[0] for image in sample)
            blocks.append([rows.mean(axis=0, dtype=np.float64) for rows in features])
    rows = np.hstack(blocks)
    arrays = fit_gaussian(rows)
    arrays["vectors"] = placed(rows, arrays)[1].astype(np.float16)
    arrays["classes"] = np.array([image.label for image in sample], np.int32)
    arrays["hashes"] = np.array(
        [np.frombuffer(bytes.fromhex(image.sha256), np.int8) for image in sample]
    )
    arrays["left_out"] = np.sort(left_out_distances(rows, units)).astype(np.float32)
    return pack_arrays(arrays)
