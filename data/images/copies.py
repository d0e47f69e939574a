"""Search for near-duplicates: images that share key points are aligned by these, and their pixels are compared.

Key points are those of SIFT. A fingerprint holds the strongest of an image, so that it can be kept. The nearest
descriptors of other images, as they are and mirrored, name candidates. An affine map on which their points agree lays
one over the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ...core import ImageError
from ...core.formats import Array
from ...core.jobs import Progress, in_threads
from ..dataset import ImageRecord
from .content import is_blank, is_drawn, pixels_sha256
from .decode import RgbImage, decode_record

MOST_COMPARED = 20_000
"""Largest number of images among which near-duplicates are searched for. For 8,000 of BreakHis it takes minutes."""

_LONGEST = 320
"""Longer side in pixels to which larger images are reduced."""

_SHORTEST = 100
"""Longer side in pixels to which smaller images are enlarged for key points, of which none lies at an edge."""

_MOST_POINTS = 192
"""Largest number of key points of an image, of which the strongest are used; at most the root of its pixels."""

_LEAST_CONTRAST = 0.01
"""Contrast of a key point (Lowe 2004, sec. 4); the 0.03 of the paper leaves a patch of 50 pixels few."""

_NEIGHBOURS = 8
_TREES = 4
"""How many of the nearest descriptors of all images name candidates, found by how many random trees."""

_ALIKE = 0.45
"""Largest distance between the descriptors, which have unit length, of two similar points."""

_LEAST_POINTS = 4
"""Smallest number of points that must agree on a map: three fix one."""

_LEAST_VOTES = 3
"""How many points of an image must be similar to those of another for a candidate."""

_TOLERANCE = 3.0
"""Largest distance in pixels of a point that agrees with a map."""

_MOST_SHEAR = 1.2
"""Largest ratio of the two scales of a map."""

_BLUR = 0.8
"""Standard deviation in pixels of what blurs images before they are compared."""

_SAME_PIXELS = 0.9
"""Smallest correlation of the aligned grey levels of near-duplicates."""

_LEAST_SHARE = 0.2
"""Smallest share of the smaller image that the overlap must cover."""

FINGERPRINT = (_MOST_POINTS, 2 + 128)
"""Shape of a fingerprint."""

Fingerprint = npt.NDArray[np.float16]
"""Key points of an image: column, row, and descriptor of each; descriptors that are wholly 0 are no points."""

Grey = npt.NDArray[np.uint8]
"""Grey levels of an image, shape (height, width)."""


def grey_levels(image: RgbImage) -> Grey:
    """Return the grey levels of an image, reduced so that images of all sizes can be compared."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    factor = _LONGEST / max(grey.shape)
    if factor < 1.0:
        size = [max(1, round(factor * side)) for side in grey.shape[::-1]]
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return np.asarray(grey)


def fingerprint(image: RgbImage) -> Fingerprint:
    """Compute the fingerprint of an image.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)

    Returns
    -------
    ndarray of float16, shape `FINGERPRINT`

    References
    ----------
    Lowe 2004; Arandjelović & Zisserman 2012 (the root of descriptors, whose length is then 1).
    """
    import cv2

    grey = grey_levels(image)
    enlarged = max(1.0, _SHORTEST / max(grey.shape))
    grey = cv2.resize(grey, None, fx=enlarged, fy=enlarged, interpolation=cv2.INTER_CUBIC)
    sift = cv2.SIFT.create(
        nfeatures=min(_MOST_POINTS, round(grey.size**0.5)),
        contrastThreshold=_LEAST_CONTRAST,
        enable_precise_upscale=True,
    )
    points, descriptors = sift.detectAndCompute(grey, None)
    result = np.zeros(FINGERPRINT, np.float16)
    for row, point, descriptor in zip(result, points, descriptors if points else (), strict=False):
        row[:2] = np.divide(point.pt, enlarged)
        row[2:] = np.sqrt(descriptor / descriptor.sum())
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
class Contents:
    """What the pixels of images show; filled by `find_copies`.

    Attributes
    ----------
    sha256 : dict of str to str
        Image ID to the SHA-256 of the decoded pixels, see `bchisto.data.pixels_sha256`.
    blank : list of str
        IDs of images without content, see `bchisto.data.is_blank`.
    drawn : list of str
        IDs of masks, label maps and charts.
    failures : dict of str to ImageError
        Image ID to the reason why it cannot be decoded.
    """

    sha256: dict[str, str] = field(default_factory=dict)
    blank: list[str] = field(default_factory=list)
    drawn: list[str] = field(default_factory=list)
    failures: dict[str, ImageError] = field(default_factory=dict)


def find_copies(
    records: Sequence[ImageRecord],
    *,
    seen: Contents | None = None,
    search: bool = True,
    known: Mapping[str, Fingerprint] | None = None,
) -> tuple[Copy, ...] | None:
    """Find near-duplicates, even if one image was converted, turned, mirrored, resized, sheared or cropped.

    Parameters
    ----------
    records : sequence of ImageRecord
        Images that cannot be decoded are ignored. So are images without key points, such as glass.
    seen : Contents, optional
        Is filled with what the pixels of all images show.
    search : bool
        Whether to search; if not, images are only decoded for `seen`.
    known : mapping, optional
        Image ID to fingerprint. Such an image is decoded only to be compared with candidates.

    Returns
    -------
    tuple of Copy, or None
        Sorted by IDs. None without a search, as for more than `MOST_COMPARED` images.

    Notes
    -----
    Overlapping fields of one slide are found, too, since they show the same pixels, and a field at another
    magnification. The time does not grow with the square of the number of images.

    References
    ----------
    Lowe 2004 (points); Muja & Lowe 2009 (nearest neighbours); Fischler & Bolles 1981 (RANSAC).
    """
    search = search and len(records) <= MOST_COMPARED
    if seen is None and not search:
        return None
    known = known or {}

    def describe(record: ImageRecord) -> Fingerprint | None:
        if record.image_id in known:
            return known[record.image_id]
        image = _decoded(record, seen)
        if image is None or not search:
            return None
        return fingerprint(image)

    prints = []
    with Progress(
        total=len(records), label="searching for near-duplicates", unit="images"
    ) as progress:
        for item in in_threads(describe, records):
            prints.append(np.zeros(FINGERPRINT, np.float16) if item is None else item)
            progress.update_to(len(prints))
    if not search:
        return None
    return tuple(sorted(_confirmed(records, prints)))


def _decoded(record: ImageRecord, seen: Contents | None) -> RgbImage | None:
    """Decode an image, and note what its pixels show; None if it cannot be decoded."""
    try:
        image = decode_record(record)
    except ImageError as error:
        if seen is not None:
            seen.failures[record.image_id] = error
        return None
    if seen is not None:
        seen.sha256[record.image_id] = pixels_sha256(image)
        if is_blank(image):
            seen.blank.append(record.image_id)
        elif is_drawn(image):
            seen.drawn.append(record.image_id)
    return image


def _confirmed(records: Sequence[ImageRecord], prints: Sequence[Fingerprint]) -> Iterator[Copy]:
    """Yield the candidates whose aligned pixels are alike."""

    @lru_cache(maxsize=64)
    def grey(index: int) -> Grey:
        return grey_levels(decode_record(records[index]))

    points = [item[item[:, 2:].any(axis=1)] for item in prints]
    for left, right in _candidates(points):
        placed = _placed(points[left].astype(np.float32), points[right].astype(np.float32))
        if placed is None:
            continue
        correlation, share = _compare(grey(left), grey(right), placed)
        if correlation >= _SAME_PIXELS:
            first, second = sorted((records[left].image_id, records[right].image_id))
            yield Copy(first, second, correlation, share)


def _candidates(points: Sequence[Fingerprint]) -> list[tuple[int, int]]:
    """Return the pairs of images with similar points, in order."""
    import cv2

    owner = np.repeat(np.arange(len(points)), [*map(len, points)])
    neighbours = min(_NEIGHBOURS, len(owner))
    if neighbours == 0:
        return []
    descriptors = np.concatenate([item[:, 2:] for item in points]).astype(np.float32)
    cv2.setRNGSeed(0)  # of the trees, which OpenCV draws by the generator of the thread
    index = cv2.flann.Index(descriptors, {"algorithm": 1, "trees": _TREES})
    pairs = set()
    for image, item in enumerate(points):
        own = item[:, 2:].astype(np.float32)
        for queries in (own, _mirrored(own)):
            if not len(queries):
                continue
            nearest, squares = index.knnSearch(queries, neighbours)
            others, votes = np.unique(owner[nearest[squares <= _ALIKE**2]], return_counts=True)
            for other in others[votes >= _LEAST_VOTES].tolist():
                pairs.add((min(image, other), max(image, other)))
    return sorted((left, right) for left, right in pairs if left < right)


def _mirrored(descriptors: Array) -> Array:
    """Return the descriptors of a mirrored image: 4 x 4 cells, of which each has the strength of eight directions."""
    cells = descriptors.reshape(-1, 4, 4, 8)
    return np.ascontiguousarray(cells[:, ::-1, :, -np.arange(8)].reshape(-1, 128))


def _placed(left: Array, right: Array) -> Array | None:
    """Return the affine map of the second image onto the first on which most points agree, shape (2, 3), or None."""
    import cv2

    best = None
    most = _LEAST_POINTS - 1
    for descriptors in (right[:, 2:], _mirrored(right[:, 2:])):
        alike = left[:, 2:] @ descriptors.T
        of_left = alike.argmax(axis=1)
        rows = np.arange(len(left))
        mutual = (alike.argmax(axis=0)[of_left] == rows) & (
            alike[rows, of_left] >= 1.0 - _ALIKE**2 / 2.0
        )
        if mutual.sum() <= most:
            continue
        matrix, agreeing = cv2.estimateAffine2D(
            right[of_left[mutual], :2], left[mutual, :2], ransacReprojThreshold=_TOLERANCE
        )
        # of points on a line there is none, or one of infinite numbers
        if matrix is not None and np.isfinite(matrix).all() and agreeing.sum() > most:
            best = matrix
            most = int(agreeing.sum())
    return best


def _compare(left: Grey, right: Grey, placed: Array) -> tuple[float, float]:
    """Return the correlation of two images where they overlap, and the share of the smaller one in the overlap."""
    import cv2

    larger, smaller = np.linalg.svd(placed[:, :2], compute_uv=False)
    if larger > _MOST_SHEAR * smaller:
        return 0.0, 0.0
    scale = (larger * smaller) ** 0.5
    if scale > 1.0:  # the pixels of the coarser image are compared
        return _compare(right, left, cv2.invertAffineTransform(placed))
    size = left.shape[::-1]
    blurred = cv2.GaussianBlur(right, (0, 0), _BLUR / scale)
    over = cv2.warpAffine(blurred, placed, size, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(np.ones_like(right), placed, size, flags=cv2.INTER_NEAREST) > 0
    share = inside.sum() / min(left.size, right.size * scale**2)
    if share < _LEAST_SHARE:
        return 0.0, float(share)
    levels = [cv2.GaussianBlur(left, (0, 0), _BLUR)[inside], over[inside]]
    with np.errstate(invalid="ignore", divide="ignore"):  # of a blank overlap there is none
        return float(np.corrcoef(levels)[0, 1]), min(float(share), 1.0)
