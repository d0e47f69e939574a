"""Decode all images once, for all folds, into a single memory-mapped file in the run folder."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..core import DAMAGE, ImageError, TissueError
from ..core.formats import Array, Integers, Pixels
from ..core.jobs import Progress, atomic_output, in_threads, one_thread_of_opencv
from ..data import (
    ImageRecord,
    decode_record,
    decode_whole,
    is_blank,
    pixel_findings,
    pixels_sha256,
    report_findings,
)
from ..stains import StainNotes, check_stains, get_stain, make_normalizer
from .model import resolved
from .samples import ImageRegion, PatchRule, cut_region
from .settings import FinetuneSettings

_log = logging.getLogger(__name__)

_INDEX = np.dtype(
    [
        ("offset", np.int64),
        ("height", np.int64),
        ("width", np.int64),
        ("key", np.int64),
        ("sha256", "S64"),
        ("region_height", np.int64),
        ("region_width", np.int64),
        ("across", float),
        ("down", float),
        ("side", float),
    ]
)
"""Index entry of an image.

Offset of its pixels, size, seed of its random draws, checksum of its decoded pixels, and its `ImageRegion`, whose
pixels follow. Sizes are 0 if there is no image or no region."""

_NOTHING = np.empty((0, 0, 3), np.uint8)

_NO_REGION = ImageRegion(_NOTHING, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class ImageBank:
    """Decoded images of any size in one array, each followed by its region if images are to be rotated.

    Attributes
    ----------
    pixels : ndarray of uint8
        All pixels, flat.
    index : ndarray, shape (n,)
        One entry per image: offset, size, seed, checksum and region.
    """

    pixels: Pixels
    index: Array

    def __len__(self) -> int:
        return len(self.index)

    def picture(self, position: int) -> Pixels:
        """Return an image, uint8 of shape (height, width, 3)."""
        return self._cut(int(self.index["offset"][position]), self.shape(position))

    def region(self, position: int) -> ImageRegion:
        """Return the region that surrounds an image."""
        row = self.index[position]
        height, width = self.shape(position)
        shape = (int(row["region_height"]), int(row["region_width"]))
        pixels = self._cut(int(row["offset"]) + height * width * 3, shape)
        return ImageRegion(pixels, float(row["across"]), float(row["down"]), float(row["side"]))

    def _cut(self, offset: int, shape: tuple[int, int]) -> Pixels:
        return self.pixels[offset : offset + shape[0] * shape[1] * 3].reshape(*shape, 3)

    def shape(self, position: int) -> tuple[int, int]:
        """Return height and width."""
        return int(self.index["height"][position]), int(self.index["width"][position])

    def key(self, position: int) -> int:
        """Return the key of an image, which is derived from its name and seeds its random draws."""
        return int(self.index["key"][position])

    def counts(self, positions: Integers, rule: PatchRule) -> Integers:
        """Return how many patches each of these images has."""
        return np.array(
            [rule.number(*self.shape(position)) for position in positions], dtype=np.int64
        )

    def patch(
        self, position: int, corner: tuple[int, int], *, rule: PatchRule, size: int
    ) -> Pixels:
        """Return a patch resized for a network, uint8 of shape (size, size, 3)."""
        import cv2

        image = self.picture(position)
        if rule.kind != "resize":
            top, left = corner
            image = image[top : top + rule.side, left : left + rule.side]
        if image.shape[:2] == (size, size):
            return image
        interpolation = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation))

    @classmethod
    def of(
        cls, images: Sequence[Pixels], names: Sequence[str], regions: Iterable[ImageRegion] = ()
    ) -> ImageBank:
        """Return a bank in memory. `names`, such as image ids, seed the random draws."""
        buffer = io.BytesIO()
        all_regions = [*regions] or [_NO_REGION] * len(images)
        rows = [_write(buffer, *row) for row in zip(images, names, all_regions, strict=True)]
        return cls(np.frombuffer(buffer.getbuffer(), np.uint8), np.array(rows, dtype=_INDEX))

    @classmethod
    def open(cls, path: Path) -> ImageBank:
        """Map a file of `prepare_images`. If it is incomplete, an error in `DAMAGE` is raised."""
        index = np.load(path.with_suffix(".npy"), allow_pickle=False)
        if index.dtype != _INDEX or index.ndim != 1:
            raise ValueError("its index is not one of images")
        pixels = index["height"] * index["width"] + index["region_height"] * index["region_width"]
        if int(pixels.sum()) * 3 != path.stat().st_size:
            raise ValueError("it is not of these images")
        return cls(np.memmap(path, dtype=np.uint8, mode="r"), index)


def _write(
    handle: IO[bytes],
    image: Pixels,
    name: str,
    region: ImageRegion = _NO_REGION,
    sha256: str = "",
) -> tuple[Any, ...]:
    """Write an image and its region, and return its index entry."""
    offset = handle.tell()
    # seven bytes, since the index holds signed 64-bit numbers
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
    pixels, *square = region
    for part in (image, pixels):
        handle.write(np.ascontiguousarray(part).data)
    return (offset, *image.shape[:2], key, sha256, *pixels.shape[:2], *square)


@dataclass
class StainTreatment:
    """How training prepares images: their stains and size, and a list of the images whose stains are doubtful.

    Attributes
    ----------
    method : str
        One of `bchisto.stains.list_stains`.
    rule : PatchRule
    size : int
        Side to which a whole image is resized by area averaging, in pixels. Patches are cut at full resolution.
    blank : dict of str to None
        Ids of images that show nothing.
    """

    method: str
    rule: PatchRule
    size: int
    blank: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._normalizer: Any = make_normalizer(self.method)
        self._notes = StainNotes(self.method)

    def __call__(self, image: Pixels, image_id: str = "") -> Pixels:
        """Return the treated image, or the image itself if it has too little tissue."""
        if is_blank(image):
            self.blank[image_id] = None
        try:
            normalised, estimate = self._normalizer.normalize_with_estimate(image)
        except TissueError:
            self._notes.skipped[image_id] = None
            return image
        if get_stain(self.method).checked:
            self._notes.add(image_id, check_stains(image, normalised, estimate))
        return np.asarray(normalised, dtype=np.uint8)

    def warn(self, images: int | None, notes: dict[str, list[str]] | None = None) -> None:
        """Log warnings on images without content, and those of `bchisto.stains.StainNotes`."""
        report_findings(pixel_findings({}, self.blank, {}))
        self._notes.warn(images, notes)

    def read(self, record: ImageRecord) -> Pixels:
        """Decode an image, and return it as `treat` does."""
        return self.treat(record, decode_record(record))

    def treat(self, record: ImageRecord, image: Pixels) -> Pixels:
        """Return a decoded image as training sees it, uint8 RGB.

        Raises
        ------
        ImageError
            It is smaller than a patch.
        """
        import cv2

        misfit = self.rule.misfit(record, height=image.shape[0], width=image.shape[1])
        if misfit:
            raise ImageError(misfit)
        image = self(image, record.image_id)
        if self.rule.kind == "resize":
            image = cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(image, dtype=np.uint8)


def prepare_images(
    records: Sequence[ImageRecord],
    settings: FinetuneSettings,
    *,
    digest: str,
    folder: Path,
    skip_errors: bool = False,
) -> tuple[Path, dict[str, str], dict[str, str]]:
    """Decode and preprocess every image, or reuse the file of an earlier run.

    Parameters
    ----------
    records : sequence of ImageRecord
    settings : FinetuneSettings
        If images are rotated within their files, the region around each is stored, too; see `cut_region`.
    digest : str
        Checksum that identifies the dataset.
    folder : Path
        Folder of the file.
    skip_errors : bool
        Store an empty entry for an image that cannot be used, instead of raising an error.

    Returns
    -------
    path : Path
        ``images-<16 hex>.bin`` in that folder, for `ImageBank.open`. The index is next to it as ``.npy``.
    pixels : dict of str to str
        Image id to the SHA-256 of its decoded pixels.
    failures : dict of str to str
        Image id to the reason why the image cannot be used.

    Raises
    ------
    ImageError
        An image cannot be used and `skip_errors` is False.
    """
    size = resolved(settings)["size"]
    path = folder / f"images-{_bank_key(digest, settings)}.bin"
    treatment = StainTreatment(settings.stain, settings.rule, size)
    # treats the surroundings, whose problems are not reported
    region_treatment = StainTreatment(settings.stain, settings.rule, size)

    def prepare(record: ImageRecord) -> tuple[Pixels, str, ImageRegion, str] | ImageError:
        try:
            picture, box = decode_whole(record)
            left, top, right, bottom = box
            image = np.ascontiguousarray(picture[top:bottom, left:right])
            region = _NO_REGION
            if settings.turned:
                region = cut_region(picture, box, size=size, treat=region_treatment)
            return treatment.treat(record, image), record.image_id, region, pixels_sha256(image)
        except ImageError as error:
            return error

    bank = _whole_bank(path)
    if bank is not None and (skip_errors or bank.index["height"].all()):
        empty = np.flatnonzero(bank.index["height"] == 0).tolist()
        failed_records = [records[position] for position in empty]
        reasons = {record.image_id: str(prepare(record)) for record in failed_records}
        return path, _hashes(records, bank.index), reasons
    rows = []
    failures = {}
    with (
        atomic_output(path) as temporary,
        temporary.open("wb") as handle,
        one_thread_of_opencv(),
        Progress(total=len(records), label="decoding images", unit="images") as progress,
    ):
        for record, prepared in zip(records, in_threads(prepare, records), strict=True):
            if isinstance(prepared, ImageError):
                if not skip_errors:
                    raise prepared.skippable()
                failures[record.image_id] = str(prepared)
                rows.append(_write(handle, _NOTHING, record.image_id))
            else:
                rows.append(_write(handle, *prepared))
            progress.update_to(len(rows))
    index = np.array(rows, dtype=_INDEX)
    with atomic_output(path.with_suffix(".npy")) as temporary, temporary.open("wb") as handle:
        np.save(handle, index, allow_pickle=False)
    treatment.warn(len(records))
    return path, _hashes(records, index), failures


def _bank_key(digest: str, settings: FinetuneSettings) -> str:
    """Return the key of everything that determines the pixels of a bank."""
    rule = settings.rule
    form = resolved(settings)["size"] if rule.kind == "resize" else f"patches of {rule.side}"
    # the number changes whenever the content of the file would
    text = f"{digest}:{form}:{settings.stain}:{settings.turned}:2"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _hashes(records: Sequence[ImageRecord], index: Array) -> dict[str, str]:
    hashes = zip(records, index["sha256"].tolist(), strict=True)
    return {record.image_id: sha256.decode() for record, sha256 in hashes if sha256}


def _whole_bank(path: Path) -> ImageBank | None:
    """Return the images of an earlier run, or None if there are none or, with a warning, if the file is damaged."""
    if not (path.is_file() and path.with_suffix(".npy").is_file()):
        return None
    try:
        return ImageBank.open(path)
    except DAMAGE as error:
        reason = str(error) or type(error).__name__
        _log.warning("%s: not a whole file of decoded images (%s); decoded again", path, reason)
        return None
