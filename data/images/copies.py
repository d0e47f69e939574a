"""Search for near-duplicates: fingerprints yield candidates, which are confirmed by comparing aligned pixels.

A fingerprint contains descriptors of points, which are extrema of a difference of Gaussians. A descriptor has the means
of 8 x 8 cells around the point. Cells that turning or mirroring exchanges are sorted, so that all eight orientations
have the same descriptor. One more descriptor describes the image as a whole. Images with similar descriptors are
candidates, whose pixels are then compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...core import ImageError
from ...core.formats import Array, Integers, read_header
from ...core.jobs import Progress, in_threads
from ..dataset import ImageRecord
from .aligned import (
    LEAST_POINTS,
    LEAST_SPREAD,
    SAME_PIXELS,
    Alignment,
    Grey,
    align,
    compare_aligned,
    compare_whole,
)
from .content import is_blank, is_drawn, pixels_sha256
from .decode import RgbImage, decode_record

_CELLS = 8
"""Number of cells per side of a descriptor."""

_SIGMAS = (0.4, 0.64)
"""Standard deviations of the two Gaussians, in cells. Their ratio is that of Lowe 2004, sec. 3."""

_MOST_POINTS = 96
"""Largest number of points of an image; the strongest are used."""

# cells of one orbit have the same distances, larger and smaller, from the middle row and column
_REACH = np.abs(np.arange(1 - _CELLS, _CELLS, 2))
_PLACES = (np.maximum.outer(_REACH, _REACH) * 2 * _CELLS + np.minimum.outer(_REACH, _REACH)).ravel()
_ORBITS = tuple(np.flatnonzero(value == _PLACES) for value in np.unique(_PLACES))
"""Groups of cells of a descriptor that the eight orientations of a square exchange with each other."""

MOST_COMPARED = 20_000
"""Largest number of images among which near-duplicates are searched for. For 8,000 of BreakHis it takes minutes."""

_TABLES = 6
"""Number of hash tables."""

_BITS = 16
"""Bits of a key."""

_NEIGHBOURS = 6
"""Number of subsequent points in a bucket with which a point is compared."""

_COMPONENTS = 24
"""Number of principal components from which hash keys are computed."""

FINGERPRINT = (2 + _MOST_POINTS, 2 + _CELLS**2)
"""Shape of a fingerprint."""

Fingerprint = npt.NDArray[np.float16]
"""The fingerprint of an image, in which numbers and descriptors share one array, so that it can be kept.

The first row has reduction, cell, height, width (both 0 without tissue) and number of points; the second, two zeros
and the descriptor of the whole; each further row, a point and its descriptor. Descriptors have unit length. Float16 is
exact up to 2,048.
"""

_ALIKE_POINTS = 0.25
"""Largest distance between the descriptors, which have unit length, of two similar points."""

_ALIKE_WHOLE = 0.35
"""Largest distance between the descriptors of two similar images."""

_ROWS = 512
"""Number of images whose whole-image descriptors are compared with all others at once."""

_LEAST_SHARE = 0.2
"""Smallest share of the smaller image that the overlap must cover."""

_SEED = 0
"""Seed of the random directions of hash keys."""


class Scale(NamedTuple):
    """The scale at which all images of a dataset are compared. It is the same for all, so that crops can be found.

    Attributes
    ----------
    reduction : int
        Factor by which the sides of images are reduced.
    cell : int
        Side of a cell of a descriptor in pixels after the reduction; an even number.
    """

    reduction: int
    cell: int


def grey_levels(image: RgbImage, scale: Scale) -> Grey:
    """Return the reduced grey levels of an image, float32 of shape (height, width)."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    step = scale.reduction
    if step == 1 or min(grey.shape) < step:
        return np.asarray(grey, np.float32)
    height = grey.shape[0] // step
    width = grey.shape[1] // step
    cropped = grey[: height * step, : width * step].astype(np.float32)
    return np.asarray(cv2.resize(cropped, (width, height), interpolation=cv2.INTER_AREA))


def fingerprint(image: RgbImage, scale: Scale | None = None) -> Fingerprint:
    """Compute the fingerprint of an image.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
    scale : Scale, optional
        By default that of a dataset whose images all have the size of this one.

    Returns
    -------
    ndarray of float16, shape `FINGERPRINT`
    """
    import cv2

    scale = scale or _scale([image.shape[:2]])
    grey = grey_levels(image, scale)
    result = np.zeros(FINGERPRINT, np.float16)
    result[0, :2] = scale
    if grey.std() < LEAST_SPREAD:
        return result
    narrow, wide = (cv2.GaussianBlur(grey, (0, 0), sigma * scale.cell) for sigma in _SIGMAS)
    strength = cv2.absdiff(narrow, wide)
    side = scale.cell + 1
    margin = scale.cell * _CELLS // 2  # descriptors are completely inside the image
    peaks = (strength == cv2.dilate(strength, np.ones((side, side), np.uint8))) & (strength > 1.0)
    inside = peaks[margin:-margin, margin:-margin]
    points = (np.argwhere(inside) + margin).astype(np.int32)
    points = points[np.argsort(-strength[points[:, 0], points[:, 1]], kind="stable")[:_MOST_POINTS]]
    reach = np.arange(1 - _CELLS, _CELLS, 2) * scale.cell // 2
    means = cv2.blur(grey, (side, side))
    cells = means[
        points[:, :1, None] + reach[None, :, None], points[:, 1:, None] + reach[None, None, :]
    ]
    flat = cells.reshape(-1, _CELLS**2)
    has_tissue = flat.std(axis=1) >= LEAST_SPREAD
    whole = cv2.resize(grey, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA).reshape(1, -1)
    # make descriptors of unit length, and independent of orientation
    centred = np.concatenate([flat[has_tissue], whole])
    centred -= centred.mean(axis=1, keepdims=True)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    cells = np.concatenate([np.sort(centred[:, orbit], axis=1) for orbit in _ORBITS], axis=1)
    count = len(cells) - 1
    result[0, 2:5] = *np.minimum(grey.shape, 2048), count
    result[1, 2:] = cells[-1]
    result[2 : 2 + count, :2] = points[has_tissue]
    result[2 : 2 + count, 2:] = cells[:-1]
    return result


@dataclass(frozen=True, order=True)
class Copy:
    """A pair of near-duplicates: two images that seem to show the same pixels.

    Attributes
    ----------
    first, second : str
        Image IDs, sorted.
    correlation : float
        Correlation of the grey levels where the images overlap.
    share : float
        Share of the smaller image that is in the overlap, 0 to 1.
    """

    first: str
    second: str
    correlation: float
    share: float


@dataclass(frozen=True)
class Pixels:
    """What the pixels of images show; filled by `find_copies`.

    Attributes
    ----------
    pixels : dict of str to str
        Image ID to the SHA-256 of the decoded pixels, see `bchisto.data.pixels_sha256`.
    blank : list of str
        IDs of images without content, see `bchisto.data.is_blank`.
    drawn : list of str
        IDs of masks, label maps and charts.
    failures : dict of str to ImageError
        Image ID to the reason why it cannot be decoded.
    """

    pixels: dict[str, str] = field(default_factory=dict)
    blank: list[str] = field(default_factory=list)
    drawn: list[str] = field(default_factory=list)
    failures: dict[str, ImageError] = field(default_factory=dict)


def find_copies(
    records: Sequence[ImageRecord],
    *,
    seen: Pixels | None = None,
    search: bool = True,
    known: Mapping[str, Fingerprint] | None = None,
) -> tuple[Copy, ...] | None:
    """Find near-duplicates, even if one image was converted, turned, mirrored or cropped.

    Parameters
    ----------
    records : sequence of ImageRecord
        Images that cannot be decoded are ignored. So are images without tissue, which would all resemble each other.
    seen : Pixels, optional
        Is filled with what the pixels of all images show.
    search : bool
        Whether to search; if not, images are only decoded for `seen`.
    known : mapping, optional
        Image ID to fingerprint. If it has the scale of these images, the image is decoded only to be compared with
        candidates.

    Returns
    -------
    tuple of Copy, or None
        Sorted by IDs. None without a search, as for more than `MOST_COMPARED` images.

    Notes
    -----
    Overlapping fields of one slide are found, too, since they show the same pixels. Crops are found only if they were
    not resized; whole images are also found if they were. The time grows with the number of images, not with its
    square.

    References
    ----------
    Points: Lowe 2004, sec. 3. Keys: Charikar 2002 (signs of random projections).
    """
    search = search and len(records) <= MOST_COMPARED
    if seen is None and not search:
        return None
    known = known or {}
    scale = _scale([*filter(None, in_threads(_sides, records))])

    def describe(record: ImageRecord) -> Fingerprint | None:
        stored = known.get(record.image_id)
        if stored is not None and tuple(stored[0, :2]) == scale:
            return stored
        image = _decoded(record, seen)
        if image is None or not search:
            return None
        return fingerprint(image, scale)

    prints = []
    with Progress(
        total=len(records), label="searching for near-duplicates", unit="images"
    ) as progress:
        for item in in_threads(describe, records):
            prints.append(item)
            progress.update_to(len(prints))
    if not search:
        return None
    return tuple(sorted(_confirmed(records, prints, scale)))


def _sides(record: ImageRecord) -> tuple[int, ...]:
    with suppress(ImageError):  # an unreadable image is reported when its pixels are read
        return record.sides(read_header(record.path))
    return ()


def _decoded(record: ImageRecord, seen: Pixels | None) -> RgbImage | None:
    """Decode an image, and note what its pixels show; None if it cannot be decoded."""
    try:
        image = decode_record(record)
    except ImageError as error:
        if seen is not None:
            seen.failures[record.image_id] = error
        return None
    if seen is not None:
        seen.pixels[record.image_id] = pixels_sha256(image)
        if is_blank(image):
            seen.blank.append(record.image_id)
        elif is_drawn(image):
            seen.drawn.append(record.image_id)
    return image


def _confirmed(
    records: Sequence[ImageRecord], prints: Sequence[Fingerprint | None], scale: Scale
) -> Iterable[Copy]:
    """Return the candidates whose aligned pixels are alike."""

    @lru_cache(maxsize=32)
    def pixels(index: int) -> Grey:
        import cv2

        return np.asarray(cv2.blur(grey_levels(decode_record(records[index]), scale), (3, 3)))

    copies = {}
    for left, right, aligned in _candidates(prints):
        if (left, right) in copies:
            continue
        if aligned is None:
            correlation, share = compare_whole(pixels(left), pixels(right))
        else:
            correlation, share = compare_aligned(pixels(left), pixels(right), *aligned)
        if correlation >= SAME_PIXELS and share >= _LEAST_SHARE:
            first, second = sorted((records[left].image_id, records[right].image_id))
            copies[left, right] = Copy(first, second, correlation, share)
    return copies.values()


def _scale(sides: Sequence[tuple[int, ...]]) -> Scale:
    """Return the scale at which images with these sides are compared."""
    if not sides:
        return Scale(1, 4)
    reduction = -(-max(map(max, sides)) // 1024)
    typical = int(np.median(list(map(min, sides)))) // reduction
    return Scale(reduction, 4 if typical >= 128 else 2)


def _candidates(
    prints: Sequence[Fingerprint | None],
) -> Iterator[tuple[int, int, Alignment | None]]:
    """Yield pairs that are similar as a whole, then pairs whose points agree on an alignment."""
    described = {
        index: item for index, item in enumerate(prints) if item is not None and item[0, 2] > 0
    }
    if len(described) < 2:
        return
    indices = np.array([*described])
    whole = np.stack([item[1, 2:] for item in described.values()]).astype(np.float32)
    for top in range(0, len(whole), _ROWS):  # compares all pairs, since hash keys would miss some
        block = np.argwhere(whole[top : top + _ROWS] @ whole.T >= 1 - _ALIKE_WHOLE**2 / 2)
        for left, right in block[block[:, 0] + top < block[:, 1]].tolist():
            yield int(indices[top + left]), int(indices[right]), None
    rows = [item[2 : 2 + int(item[0, 4])] for item in described.values()]
    owner = np.repeat(indices, [*map(len, rows)])
    points = np.concatenate(rows)[:, :2].astype(np.int32)
    pairs = _alike(np.concatenate(rows)[:, 2:], owner)
    owners = owner[pairs]
    order = np.lexsort((owners[:, 1], owners[:, 0]))
    pairs = pairs[order]
    owners = owners[order]
    edges = np.flatnonzero((owners[1:] != owners[:-1]).any(axis=1)) + 1
    for start, stop in itertools.pairwise([0, *edges.tolist(), len(pairs)]):
        if stop - start >= LEAST_POINTS:
            group = pairs[start:stop]
            left, right = owner[group[0]].tolist()
            height, width = described[right][0, 2:4].astype(int).tolist()
            aligned = align(points[group[:, 0]], points[group[:, 1]], (height, width))
            if aligned is not None:
                yield left, right, aligned


def _alike(vectors: Array, owner: Integers) -> Integers:
    """Find pairs of vectors of different owners within a distance of `_ALIKE_POINTS` by hash keys; shape (n, 2)."""
    count = len(vectors)
    if count < 2:
        return np.empty((0, 2), np.int64)
    rng = np.random.default_rng(_SEED)
    # the largest principal components, each of variance 1, fitted on a sample
    sample = vectors[rng.permutation(count)[:20_000]].astype(np.float32)
    centre = sample.mean(axis=0)
    spread, axes = np.linalg.eigh(np.cov((sample - centre).T) + 1e-6 * np.eye(_CELLS**2))
    basis = (axes[:, ::-1] / np.sqrt(spread[::-1]))[:, :_COMPONENTS].astype(np.float32)
    coordinates = (vectors.astype(np.float32) - centre) @ basis
    codes = [np.empty(0, np.int64)]  # a pair is one number, so that equal ones are found
    for _ in range(_TABLES):
        projected = coordinates @ rng.standard_normal((_COMPONENTS, _BITS + 1)).astype(np.float32)
        # the signs of the first projections are the key of a bucket; the last projection orders its points
        keys = (projected[:, :_BITS] > 0) @ (1 << np.arange(_BITS))
        order = np.lexsort((projected[:, _BITS], keys))
        for step in range(1, _NEIGHBOURS + 1):
            pairs = np.stack([order[:-step], order[step:]])
            are_near = np.equal(*keys[pairs]) & np.not_equal(*owner[pairs])
            left, right = pairs[:, are_near]
            distance = np.square(vectors[left] - vectors[right], dtype=np.float32).sum(axis=1)
            is_alike = distance <= _ALIKE_POINTS**2
            codes.append((np.minimum(left, right) * count + np.maximum(left, right))[is_alike])
    return np.stack(np.divmod(np.unique(np.concatenate(codes)), count), axis=1)
