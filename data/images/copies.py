"""Search for near-duplicates: fingerprints yield candidates, which are confirmed by comparing aligned pixels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ...core import ImageError
from ...core.formats import read_header
from ...core.jobs import Progress, default_jobs
from ..dataset import ImageRecord
from .content import is_blank, pixels_sha256
from .decode import decode_record
from .fingerprint import CELLS, LEAST_SPREAD, Fingerprint, Grey, Scale, fingerprint, grey_levels

MOST_COMPARED = 20_000
"""Largest number of images among which near-duplicates are searched for. For 8,000 of BreakHis it takes minutes."""

_TABLES, _BITS, _NEIGHBOURS = 6, 16, 6
"""Number of hash tables, bits of a key, and number of subsequent points in a bucket with which a point is compared."""

_COMPONENTS = 24
"""Number of principal components from which hash keys are computed."""

_ALIKE_POINTS, _ALIKE_WHOLE = 0.25, 0.35
"""Largest distance between the descriptors of two similar points, or of two similar images. Descriptors have unit
length."""

_ROWS = 512
"""Number of images whose whole-image descriptors are compared with all others at once."""

_LEAST_POINTS = 3
"""Smallest number of points that must agree on one shift and orientation."""

_SAME_PIXELS = 0.9
"""Smallest correlation of the aligned grey levels of near-duplicates."""

_SURE = 0.98
"""From this correlation on, shifts by one pixel are not tried."""

_ASIDE, _DISTINCT = 3, 0.5
"""To be near-duplicates, two images may differ by at most this fraction of the difference between an image and itself
shifted by so many pixels. In `tools/benchmarks/duplicates.py` near-duplicates differ by 0.02 of it (99 %: 0.17), and
other images that correlate differ by more than 1.2 of it."""

_THUMB, _SQUEEZED = 32, 0.05
"""Side in pixels at which orientations are tried, and the largest logarithm of the ratio of two aspect ratios that
count as equal."""

_LEAST_SHARE = 0.2
"""Smallest share of the smaller image that the overlap must cover."""

_GRID, _LEAST_PARTS, _ALIKE_PARTS = 3, 5, 0.7
"""An overlap is divided into parts (so many per side), of which so many must have at least this correlation. Otherwise
a single strong object on a plain background would make any two images correlate that both have such an object."""

_SEED = 0
"""Seed of the random directions of hash keys."""


@dataclass(frozen=True)
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
    failures : dict of str to ImageError
        Image ID to the reason why it cannot be decoded.
    """

    pixels: dict[str, str] = field(default_factory=dict)
    blank: list[str] = field(default_factory=list)
    failures: dict[str, ImageError] = field(default_factory=dict)


def find_copies(
    records: Sequence[ImageRecord], *, seen: Pixels | None = None, search: bool = True
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
    seen, scale = seen or Pixels(), _scale(records)

    def describe(record: ImageRecord) -> Fingerprint | None:
        try:
            image = decode_record(record)
        except ImageError as error:
            seen.failures[record.image_id] = error
            return None
        seen.pixels[record.image_id] = pixels_sha256(image)
        if is_blank(image):
            seen.blank.append(record.image_id)
        return fingerprint(grey_levels(image, scale), scale) if search else None

    prints: list[Fingerprint | None] = []
    with (
        ThreadPoolExecutor(default_jobs()) as pool,
        Progress(total=len(records), label="searching for near-duplicates", unit="images") as progress,
    ):
        for image in pool.map(describe, records):
            prints.append(image)
            progress.update_to(len(prints))

    @lru_cache(maxsize=32)
    def pixels(index: int) -> Grey:
        import cv2

        return np.asarray(cv2.blur(grey_levels(decode_record(records[index]), scale), (3, 3)))

    copies: dict[tuple[int, int], Copy] = {}
    for left, right, aligned in _candidates(prints):
        if (left, right) in copies:
            continue
        if aligned is None:
            correlation, share = _compare_whole(pixels(left), pixels(right))
        else:
            correlation, share = _compare_aligned(pixels(left), pixels(right), *aligned)
        if correlation >= _SAME_PIXELS and share >= _LEAST_SHARE:
            first, second = sorted((records[left].image_id, records[right].image_id))
            copies[left, right] = Copy(first, second, correlation, share)
    return tuple(sorted(copies.values(), key=lambda copy: (copy.first, copy.second))) if search else None


def _scale(records: Sequence[ImageRecord]) -> Scale:
    def sides(record: ImageRecord) -> tuple[int, int] | None:
        try:
            header = read_header(record.path)
        except ImageError:
            return None
        return record.sides(header.width, header.height)

    with ThreadPoolExecutor(default_jobs()) as pool:
        known = [pair for pair in pool.map(sides, records) if pair is not None]
    if not known:
        return Scale(1, 4)
    reduction = -(-max(map(max, known)) // 1024)
    typical = int(np.median([min(pair) for pair in known])) // reduction
    return Scale(reduction, 4 if typical >= 128 else 2)


Alignment = tuple[int, int, int]
"""Orientation (0 to 7), shift in rows and shift in columns."""


def _candidates(prints: Sequence[Fingerprint | None]) -> Iterator[tuple[int, int, Alignment | None]]:
    """Yield pairs that are similar as a whole, then pairs whose points agree on an alignment."""
    known = [(index, item) for index, item in enumerate(prints) if item is not None]
    if len(known) < 2:
        return
    places = np.array([index for index, _ in known])
    whole = np.stack([item.whole for _, item in known]).astype(np.float32)
    for top in range(0, len(whole), _ROWS):  # compares all pairs, since hash keys would miss some
        block = np.argwhere(whole[top : top + _ROWS] @ whole.T >= 1 - _ALIKE_WHOLE**2 / 2)
        for left, right in block[block[:, 0] + top < block[:, 1]].tolist():
            yield int(places[top + left]), int(places[right]), None
    local = np.concatenate([item.local for _, item in known])
    owner = np.repeat(places, [len(item.points) for _, item in known])
    points = np.concatenate([item.points for _, item in known])
    shapes = {index: item.shape for index, item in known}
    pairs = _alike(local, owner)
    owners = owner[pairs]
    order = np.lexsort((owners[:, 1], owners[:, 0]))
    pairs, owners = pairs[order], owners[order]
    edges = np.flatnonzero((owners[1:] != owners[:-1]).any(axis=1)) + 1
    for start, stop in itertools.pairwise([0, *edges.tolist(), len(pairs)]):
        if stop - start >= _LEAST_POINTS:
            group = pairs[start:stop]
            left, right = owner[group[0]].tolist()
            aligned = _align(points[group[:, 0]], points[group[:, 1]], shapes[right])
            if aligned is not None:
                yield left, right, aligned


def _alike(vectors: npt.NDArray[np.floating], owner: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Find pairs of vectors of different owners within a distance of `_ALIKE_POINTS` by hash keys; shape (n, 2)."""
    if len(vectors) < 2:
        return np.empty((0, 2), np.int64)
    rng = np.random.default_rng(_SEED)
    sample = vectors[rng.permutation(len(vectors))[:20_000]].astype(np.float32)
    centre = sample.mean(axis=0)
    spread, axes = np.linalg.eigh(np.cov((sample - centre).T) + 1e-6 * np.eye(CELLS**2))
    basis = (axes[:, ::-1] / np.sqrt(spread[::-1]))[:, :_COMPONENTS].astype(np.float32)
    coordinates = (vectors.astype(np.float32) - centre) @ basis
    weights = 1 << np.arange(_BITS)
    pairs = [np.empty(0, np.int64)]
    for _ in range(_TABLES):
        projected = coordinates @ rng.standard_normal((_COMPONENTS, _BITS + 1)).astype(np.float32)
        keys = (projected[:, :_BITS] > 0) @ weights
        order = np.lexsort((projected[:, _BITS], keys))
        for step in range(1, _NEIGHBOURS + 1):
            left, right = order[:-step], order[step:]
            near = (keys[left] == keys[right]) & (owner[left] != owner[right])
            left, right = left[near], right[near]
            distance = np.square(vectors[left] - vectors[right], dtype=np.float32).sum(axis=1)
            left, right = left[distance <= _ALIKE_POINTS**2], right[distance <= _ALIKE_POINTS**2]
            pairs.append(np.minimum(left, right) * len(vectors) + np.maximum(left, right))
    return np.stack(np.divmod(np.unique(np.concatenate(pairs)), len(vectors)), axis=1)


def _turn(points: npt.NDArray[np.int32], shape: tuple[int, ...], orientation: int) -> npt.NDArray[np.int32]:
    """Return the positions of points after an image is mirrored (orientations 4 to 7) and turned, as in `_oriented`."""
    rows, columns = points[:, 0], points[:, 1]
    height, width = shape
    if orientation >= 4:
        columns = width - 1 - columns
    for _ in range(orientation % 4):
        rows, columns, height, width = width - 1 - columns, rows, width, height
    return np.stack([rows, columns], axis=1)


def _oriented(image: Grey, orientation: int) -> Grey:
    return np.rot90(image[:, ::-1] if orientation >= 4 else image, orientation % 4)


def _align(left: npt.NDArray[np.int32], right: npt.NDArray[np.int32], shape: tuple[int, ...]) -> Alignment | None:
    """Return the orientation of the second image and the shift on which most points agree; None if too few do."""
    best, most = None, _LEAST_POINTS - 1
    for orientation in range(8):
        shifts = left - _turn(right, shape, orientation)
        near = np.abs(shifts[:, None] - shifts[None]).max(axis=2) <= 2
        votes = near.sum(axis=1)
        leader = int(votes.argmax())
        agreeing = len(np.unique(left[near[leader]], axis=0))
        if agreeing > most:
            rows, columns = np.rint(np.median(shifts[near[leader]], axis=0)).astype(int).tolist()
            best, most = (orientation, rows, columns), agreeing
    return best


def _compare_aligned(left: Grey, right: Grey, orientation: int, rows: int, columns: int) -> tuple[float, float]:
    """Return the correlation of two images where they overlap, and the share of the smaller one in the overlap."""
    turned = _oriented(right, orientation)
    best = _overlap(left, turned, rows, columns)
    if best[0] < _SURE:  # reduced images may be shifted by half a pixel
        best = max(_overlap(left, turned, rows + r, columns + c) for r in (-1, 0, 1) for c in (-1, 0, 1))
    return best


def _overlap(first: Grey, second: Grey, rows: int, columns: int) -> tuple[float, float]:
    top, left = max(0, rows), max(0, columns)
    bottom, right = min(first.shape[0], rows + second.shape[0]), min(first.shape[1], columns + second.shape[1])
    if bottom <= top or right <= left:
        return 0.0, 0.0
    part = first[top:bottom, left:right]
    other = second[top - rows : bottom - rows, left - columns : right - columns]
    correlation = _same(part, other)
    if correlation >= _SAME_PIXELS and not _alike_throughout(part, other):
        correlation = 0.0
    return correlation, part.size / min(first.size, second.size)


def _alike_throughout(left: Grey, right: Grey) -> bool:
    """Whether enough parts of an overlap correlate by themselves, so that a few strong objects do not decide."""
    parts = (
        _correlate(*pair, spread=1.0)
        for rows in zip(*(np.array_split(image, _GRID) for image in (left, right)), strict=True)
        for pair in zip(*(np.array_split(row, _GRID, axis=1) for row in rows), strict=True)
    )
    return sum(correlation >= _ALIKE_PARTS for correlation in parts) >= _LEAST_PARTS


def _compare_whole(left: Grey, right: Grey) -> tuple[float, float]:
    """Return the correlation of two whole images, resized to one size, in the orientation that fits best."""
    import cv2

    def resized(image: Grey, shape: tuple[int, ...]) -> Grey:
        contiguous = np.ascontiguousarray(image)
        return np.asarray(cv2.resize(contiguous, shape[::-1], interpolation=cv2.INTER_AREA))

    small, thumb = resized(left, (_THUMB, _THUMB)), resized(right, (_THUMB, _THUMB))
    turned = _oriented(right, max(range(8), key=lambda orientation: _correlate(small, _oriented(thumb, orientation))))
    if abs(np.log(left.shape[1] / left.shape[0] * turned.shape[0] / turned.shape[1])) > _SQUEEZED:
        return 0.0, 0.0
    shape = left.shape if left.size <= turned.size else turned.shape
    return _same(resized(left, shape), resized(turned, shape)), 1.0


def _same(left: Grey, right: Grey) -> float:
    """Return the correlation of aligned grey levels; 0 if a shifted image correlates about as well with itself.

    Edges of tissue or of a slide, and other patterns along a line, match at many positions. The pixels of a
    near-duplicate match at only one.
    """
    step = _ASIDE
    if min(left.shape) <= 4 * step:
        return 0.0
    correlation = _correlate(left, right)
    if correlation < _SAME_PIXELS:
        return correlation
    middle = left[step:-step, step:-step]
    height, width = middle.shape
    shifted = max(
        _correlate(middle, left[step + r : step + r + height, step + c : step + c + width])
        for r, c in ((0, step), (step, 0), (step, step), (step, -step))
    )
    return correlation if 1 - correlation <= _DISTINCT * (1 - shifted) else 0.0


def _correlate(left: Grey, right: Grey, *, spread: float = LEAST_SPREAD) -> float:
    """Return the correlation of grey levels; 0 if an image is blank, judged by a standard deviation of `spread`."""
    first, second = left - left.mean(), right - right.mean()
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return 0.0 if norms < spread**2 * left.size else float((first * second).sum() / norms)
