"""How far new images are from those that trained, by their descriptors, and which of these are nearest."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import BundleError
from ..crossval import pack_arrays, unpack_arrays
from ..featurize import open_store
from .arrays import Features
from .gaussian import fit_gaussian, left_out_distances, placed

REFERENCE_MEMBER = "training-images.npz"

THUMBNAILS_MEMBER = "training-thumbnails.npz"

THUMBNAIL = 64
"""Side of the small picture of a training image, pixels: 12 kB each."""

TRAINING_NAMES = "training-images.csv"
"""File beside a model file with the names of its training images."""

NEAREST = 3
"""Training images that are named."""

NOT_COMPARED = np.empty(0)
"""Of an image if the model file does not know what its training images look like."""

MARKED = 99.0
"""Percentile from which an image is marked."""

_MOST_IMAGES = 1000
"""Training images that a model file keeps, drawn if there are more: 164 bytes each."""

_LEAST_IMAGES = 20
"""Below so many a percentile says nothing."""

_READ_AT_ONCE = 64

_SHAPES: dict[str, tuple[str | int, ...]] = {
    "mean": ("d",), "scale": ("d",), "sizes": ("s",), "axes": ("d", "q"), "variances": ("q",), "rest": (),
    "vectors": ("m", "q"), "classes": ("m",), "hashes": ("m", 32), "left_out": ("r",), "units": (),
}  # fmt: skip

Values = npt.NDArray[np.float64]
Thumbnails = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class TrainingReference:
    """What training images look like.

    Attributes
    ----------
    stores : tuple of str
        Whose descriptors are compared: side by side, each number standardised.
    arrays : dict of str to ndarray
        ``mean``, ``scale`` (d,); ``sizes`` (stores,), the length of each store's descriptors; ``axes`` (d, q), the
        principal ones, ``variances`` (q,) along them and ``rest`` () elsewhere. Of each training image ``vectors``
        (m, q), its descriptor of length 1 along the axes, ``classes`` (m,), and ``hashes`` (m, 32), the bytes of the
        SHA-256 of its pixels. ``left_out`` (r,), ascending: the distances of images that were left out; ``units`` (),
        how many patients or slides these are of, or images if no patients or slides are known.
    thumbnails : ndarray of uint8, shape (m, 64, 64, 3), optional
        Small pictures of the training images, if they were asked for at training.
    """

    stores: tuple[str, ...]
    arrays: dict[str, npt.NDArray[Any]]
    thumbnails: Thumbnails | None = None

    def __post_init__(self) -> None:
        a = self.arrays
        sizes = int(a["sizes"].sum()) == len(a["mean"]) and len(a["sizes"]) == len(self.stores)
        spread = float(a["rest"]) > 0 and all((a[name] > 0).all() for name in ("variances", "scale"))
        left_out = len(a["left_out"]) > 0 and (np.diff(a["left_out"]) >= 0).all()
        if not (sizes and spread and left_out and len(a["vectors"]) >= NEAREST):
            raise BundleError("what a model file holds of its training images does not fit; it was altered")

    @classmethod
    def parse(cls, members: Mapping[str, bytes], *, stores: Sequence[str]) -> TrainingReference:
        """Read what `fit_reference` made.

        Raises
        ------
        BundleError
            Damaged, or not of these stores.
        """
        thumbnails = None
        arrays = unpack_arrays(members[REFERENCE_MEMBER], _SHAPES)
        if (data := members.get(THUMBNAILS_MEMBER)) is not None:
            shape = (len(arrays["vectors"]), THUMBNAIL, THUMBNAIL, 3)
            pixels = unpack_arrays(data, {"thumbnails": shape}, largest=128)["thumbnails"]
            thumbnails = (pixels.astype(np.int16) + 128).astype(np.uint8)
        return cls(tuple(stores), arrays, thumbnails)

    def fits(self, classes: int) -> bool:
        """Whether its training images are of so many classes at most."""
        numbers = self.arrays["classes"]
        return bool((numbers >= 0).all() and (numbers < classes).all())

    def compare(self, features: Mapping[str, Features]) -> Values:
        """Compare images with the training images.

        Parameters
        ----------
        features : mapping
            Store name to descriptors, float32 of shape (images, augmentations, d).

        Returns
        -------
        ndarray of float64, shape (images, 1 + 2 * `NEAREST`)
            The Mahalanobis distance to the training images; the positions of the nearest; their cosine distances.

        Raises
        ------
        BundleError
            Descriptors of another length.
        """
        a = self.arrays
        means = [features[store].mean(axis=1, dtype=np.float64) for store in self.stores]
        if [rows.shape[1] for rows in means] != a["sizes"].astype(int).tolist():
            raise BundleError("the training images have features of another length than the models; it was altered")
        distances, vectors = placed(np.hstack(means), a)
        cosine = np.clip(1 - vectors @ a["vectors"].astype(np.float64).T, 0, 2)
        order = np.argsort(cosine, axis=1, kind="stable")[:, :NEAREST]
        return np.hstack([distances[:, None], order, np.take_along_axis(cosine, order, axis=1)])

    def percentiles(self, compared: Values) -> Values:
        """Return the share of left-out images, in percent, that were nearer to the training images than each of these.

        Parameters
        ----------
        compared : ndarray of float64, shape (images, 1 + 2 * `NEAREST`)

        Returns
        -------
        ndarray of float64, shape (images,)
        """
        left_out = self.arrays["left_out"]
        return np.asarray(100 * np.searchsorted(left_out, compared[:, 0]) / len(left_out))

    def names(self, compared: Values, *, classes: Sequence[str], known: Mapping[str, str]) -> list[str]:
        """Name the nearest training images of each image, with class and distance.

        Parameters
        ----------
        compared : ndarray of float64, shape (images, 1 + 2 * `NEAREST`)
        classes : sequence of str
        known : mapping
            SHA-256 of an image's pixels to its name; others go by the beginning of their hash.
        """
        hashes = [row.astype(np.int8).tobytes().hex() for row in self.arrays["hashes"]]
        labels = [classes[number] for number in self.arrays["classes"].astype(int).tolist()]
        named = [f"{known.get(name, name[:12])} ({label}" for name, label in zip(hashes, labels, strict=True)]
        places, far = compared[:, 1 : 1 + NEAREST].astype(int).tolist(), compared[:, 1 + NEAREST :].tolist()
        return [
            "; ".join(f"{named[place]}, {distance:.2f})" for place, distance in zip(*image, strict=True))
            for image in zip(places, far, strict=True)
        ]

    def pictures(self, compared: Values) -> list[tuple[npt.NDArray[np.uint8], ...]]:
        """Return small pictures of the nearest training images of each image; none if they were not kept."""
        places = compared[:, 1 : 1 + NEAREST].astype(int)
        return [() if self.thumbnails is None else tuple(self.thumbnails[image]) for image in places]

    @property
    def meaning(self) -> str:
        """What a mark means."""
        count, units = len(self.arrays["left_out"]), int(self.arrays["units"])
        whose = f" of {units} patients or slides" if units < count else ""
        return f"further from the training images than {MARKED:g} % of {count} images{whose} that were left out"


def fit_reference(
    stores: Mapping[str, Path],
    positions: Sequence[int],
    *,
    labels: Sequence[int],
    hashes: Sequence[str],
    units: Sequence[Hashable],
    seed: int,
    picture: Callable[[int], npt.NDArray[np.uint8]] | None = None,
) -> dict[str, bytes]:
    """Keep what is needed to tell how far new images are from training images.

    Parameters
    ----------
    stores : mapping
        Name to file, all of the same images.
    positions : sequence of int
        Of the training images in each store.
    labels : sequence of int
        The class of each.
    hashes : sequence of str
        SHA-256 of the pixels of each.
    units : sequence of hashable
        What each belongs to: its patient or slide, else itself.
    seed : int
        Draws the images that are kept.
    picture : callable, optional
        Returns the pixels of a training image by its number; small ones are then kept.

    Returns
    -------
    dict of str to bytes
        Members of the model file, for `TrainingReference.parse`; none of fewer than 20 images, or of one patient.
    """
    kept = list(range(len(positions)))
    if len(kept) > _MOST_IMAGES:
        kept = sorted(np.random.default_rng(seed).permutation(kept)[:_MOST_IMAGES].tolist())
    numbers = np.unique([str(units[i]) for i in kept], return_inverse=True)[1]
    if len(kept) < _LEAST_IMAGES or not numbers.any():
        return {}
    means = [_means(path, [positions[i] for i in kept]) for path in stores.values()]
    rows = np.hstack(means)
    fitted = fit_gaussian(rows)
    reference = pack_arrays(
        {
            **fitted,
            "sizes": np.array([some.shape[1] for some in means]),
            "vectors": placed(rows, fitted)[1].astype(np.float16),
            "classes": np.array([labels[i] for i in kept], np.int32),
            "hashes": np.array([np.frombuffer(bytes.fromhex(hashes[i]), np.int8) for i in kept]),
            "left_out": np.sort(left_out_distances(rows, numbers)).astype(np.float32),
            "units": np.array(numbers.max() + 1),
        }
    )
    if picture is None:
        return {REFERENCE_MEMBER: reference}
    small = np.stack([_thumbnail(picture(i)) for i in kept]).astype(np.int16) - 128
    return {REFERENCE_MEMBER: reference, THUMBNAILS_MEMBER: pack_arrays({"thumbnails": small.astype(np.int8)})}


def _thumbnail(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return an image in the middle of a white square."""
    from PIL import Image, ImageOps

    side = (THUMBNAIL, THUMBNAIL)
    return np.asarray(ImageOps.pad(Image.fromarray(image), side, Image.Resampling.BOX, color=(255, 255, 255)))


def _means(path: Path, positions: Sequence[int]) -> Values:
    """Return the mean descriptor of some images of a store."""

    def read() -> Iterator[Values]:
        with open_store(path) as store:
            for start in range(0, len(positions), _READ_AT_ONCE):
                features = store.features(positions[start : start + _READ_AT_ONCE])
                yield features.mean(axis=1, dtype=np.float64)

    return np.concatenate(list(read()))
