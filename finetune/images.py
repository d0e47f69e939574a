"""Decoded images, once for all folds: one memory-mapped file beside the run, whatever the sizes of the images."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from ..core import ImageError, TissueError
from ..data import ImageRecord, decode_record, decode_whole, pixels_sha256
from ..formats import DAMAGE, read_rows
from ..jobs import Progress, atomic_output, default_jobs, one_thread_of_opencv, write_rows
from ..stains import CHECKED, check_stains, make_normalizer, stain_notes
from .augment import Image
from .model import resolved
from .patches import PatchRule
from .regions import Region, cut_region
from .settings import FinetuneSettings

_log = logging.getLogger(__name__)

_PIXELS = ("image_id", "pixels_sha256")

_AHEAD = 64
"""Images that are decoded before any is written (ours)."""


@dataclass(frozen=True)
class Packed:
    """Pictures of any size, one after the other.

    Attributes
    ----------
    pixels : ndarray of uint8
        All pixels, flat.
    index : ndarray, shape (n, 3 + numbers)
        Offset, height and width of each picture, and what else is known of it.
    """

    pixels: Image
    index: npt.NDArray[Any]

    _kind: ClassVar[type] = np.int64
    _numbers: ClassVar[int] = 1

    def __len__(self) -> int:
        return len(self.index)

    def picture(self, position: int) -> Image:
        """Return a picture, uint8 of shape (height, width, 3)."""
        offset, height, width = (int(value) for value in self.index[position, :3])
        return self.pixels[offset : offset + height * width * 3].reshape(height, width, 3)

    @classmethod
    def pack(cls, pictures: Sequence[Image], known: Iterable[Sequence[float]]) -> Self:
        """Put pictures one after the other in memory, each with what is known of it."""
        offsets = np.cumsum([0, *(one.size for one in pictures)])[:-1].tolist()
        index = [(offset, *one.shape[:2], *of) for offset, one, of in zip(offsets, pictures, known, strict=True)]
        return cls(np.concatenate([one.ravel() for one in pictures]), np.array(index, dtype=cls._kind))

    @classmethod
    def index_of(cls, path: Path, *, pictures: int) -> npt.NDArray[Any]:
        """Return the index of a file of so many pictures; where it does not hold them, one of `DAMAGE` is raised."""
        index = np.load(path.with_suffix(".npy"), allow_pickle=False)
        fits = index.dtype == cls._kind and index.shape == (pictures, 3 + cls._numbers)
        if not fits or int((index[:, 1] * index[:, 2] * 3).sum()) != path.stat().st_size:
            raise ValueError("it is not of these images")
        return np.asarray(index)

    @classmethod
    @contextlib.contextmanager
    def writing(cls, path: Path) -> Iterator[Callable[..., None]]:
        """Write a file by a function of a picture and what is known of it; None stands for one that is not there."""
        rows: list[tuple[float, ...]] = []
        with atomic_output(path) as temporary, temporary.open("wb") as handle:

            def put(picture: Image | None, *known: float) -> None:
                if picture is None:
                    rows.append((handle.tell(), *[0] * (2 + cls._numbers)))
                else:
                    rows.append((handle.tell(), *picture.shape[:2], *known))
                    handle.write(picture.tobytes())

            yield put
        with atomic_output(path.with_suffix(".npy")) as temporary, temporary.open("wb") as handle:
            np.save(handle, np.array(rows, dtype=cls._kind).reshape(-1, 3 + cls._numbers), allow_pickle=False)


@dataclass(frozen=True)
class RegionBank(Packed):
    """Regions; their index is float64 and ends with the three numbers of `Region`."""

    _kind: ClassVar[type] = np.float64
    _numbers: ClassVar[int] = 3

    def __getitem__(self, position: int) -> Region:
        return Region(self.picture(position), *self.index[position, 3:].tolist())

    @classmethod
    def of(cls, regions: Sequence[Region]) -> RegionBank:
        """Make a bank in memory."""
        return cls.pack([one.pixels for one in regions], [one[1:] for one in regions])

    @classmethod
    def open(cls, path: Path, *, images: int) -> RegionBank | None:
        """Map a file of regions of so many images; None where there is none, or it does not hold them."""
        try:
            return cls(index=cls.index_of(path, pictures=images), pixels=np.memmap(path, dtype=np.uint8, mode="r"))
        except DAMAGE:
            return None


@dataclass(frozen=True)
class ImageBank(Packed):
    """Images; their index is int64 and ends with a key, which follows from the image's id and seeds what is random.

    Attributes
    ----------
    regions : RegionBank or None
        What surrounds each image, where the bank was prepared for turning them.
    """

    regions: RegionBank | None = None

    def shape(self, position: int) -> tuple[int, int]:
        """Return height and width."""
        return int(self.index[position, 1]), int(self.index[position, 2])

    def key(self, position: int) -> int:
        """Return the key of an image."""
        return int(self.index[position, 3])

    def counts(self, positions: npt.NDArray[np.int64], rule: PatchRule) -> npt.NDArray[np.int64]:
        """Return how many patches each of these images has."""
        return np.array([rule.number(*self.shape(position)) for position in positions], dtype=np.int64)

    def patch(self, position: int, place: tuple[int, int], *, rule: PatchRule, size: int) -> Image:
        """Return a patch at the size of a network, uint8 of shape (size, size, 3)."""
        import cv2

        image = self.picture(position)
        if rule.kind != "resize":
            top, left = place
            image = image[top : top + rule.side, left : left + rule.side]
        if image.shape[:2] == (size, size):
            return image
        how = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(image, (size, size), interpolation=how), dtype=np.uint8)

    @classmethod
    def of(cls, images: Sequence[Image], names: Sequence[str]) -> ImageBank:
        """Make a bank in memory; `names` seed what is random: image ids, or what stands for them."""
        return cls.pack(images, [(_key(name),) for name in names])

    @classmethod
    def open(cls, path: Path) -> ImageBank:
        """Map a file that `prepare_images` wrote."""
        index = np.load(path.with_suffix(".npy"), allow_pickle=False)
        regions = RegionBank.open(regions_of(path), images=len(index))
        return cls(np.memmap(path, dtype=np.uint8, mode="r"), index, regions)


def regions_of(images: Path) -> Path:
    """Return the file of regions beside a file of images."""
    return images.with_name(images.name.replace("images-", "regions-"))


def _key(image_id: str) -> int:
    """Return 56 bits of the hash of an id."""
    return int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:7], "big")


def make_reader(*, stain: str, rule: PatchRule, size: int) -> Callable[[ImageRecord], Image]:
    """Return a function that decodes an image and treats it as training does.

    Parameters
    ----------
    stain : str
        Of `bchisto.stains.STAIN_METHODS`; an image of too little tissue stays as it is, as in stage 1 by default.
    rule : PatchRule
    size : int
        Side to which a whole image is squeezed by area averaging, pixels; patches are cut at full resolution.

    Returns
    -------
    callable
        Record to uint8 RGB; raises `ImageError` for an image that cannot be decoded or is smaller than a patch.
    """
    treat = make_treatment(stain=stain, rule=rule, size=size)

    def read(record: ImageRecord) -> Image:
        return treat(record, decode_record(record))

    return read


def make_treatment(
    *, stain: str, rule: PatchRule, size: int, outcome: StainOutcome | None = None
) -> Callable[[ImageRecord, Image], Image]:
    """Return the part of `make_reader` that follows decoding: record and decoded image to treated image."""
    normalize = make_stain_treatment(stain, outcome)

    def treat(record: ImageRecord, image: Image) -> Image:
        import cv2

        if misfit := rule.misfit(record.path, height=image.shape[0], width=image.shape[1]):
            raise ImageError(misfit)
        image = normalize(image, record.image_id)
        if rule.kind == "resize":
            image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(image, dtype=np.uint8)

    return treat


@dataclass
class StainOutcome:
    """Ids of images with too little tissue, which stay as they are, and of those whose stains are in doubt."""

    skipped: dict[str, None] = field(default_factory=dict)
    doubtful: dict[str, None] = field(default_factory=dict)

    def warn(self, *, images: int | None, stain: str) -> None:
        """Log which these are, see `stain_notes`."""
        names = sorted(self.skipped), sorted(self.doubtful)
        for note in stain_notes(*names, images=images, stain=stain):
            _log.warning("%s", note)


def make_stain_treatment(stain: str, outcome: StainOutcome | None = None) -> Callable[[Image, str], Image]:
    """Return a function that treats an image of an id; one of too little tissue stays as it is."""
    normalizer: Any = make_normalizer(stain)

    def treat(image: Image, image_id: str) -> Image:
        try:
            normalised, estimate = normalizer.normalize_with_estimate(image)
        except TissueError:
            if outcome is not None:
                outcome.skipped[image_id] = None
            return image
        if outcome is not None and stain in CHECKED and check_stains(image, normalised, estimate).reasons:
            outcome.doubtful[image_id] = None
        return np.asarray(normalised, dtype=np.uint8)

    return treat


def prepare_images(
    records: Sequence[ImageRecord],
    settings: FinetuneSettings,
    *,
    digest: str,
    folder: Path,
    skip_errors: bool = False,
) -> tuple[Path, dict[str, str]]:
    """Decode and treat every image, or map what an earlier run left.

    Parameters
    ----------
    records : sequence of ImageRecord
    settings : FinetuneSettings
        Where images are turned within their files, what surrounds each is kept, too, in ``regions-<16 hex>.bin``, see
        `cut_region`.
    digest : str
        Identity of the dataset.
    folder : Path
    skip_errors : bool
        Leave an image that cannot be used as an empty place, and name it.

    Returns
    -------
    Path
        ``images-<16 hex>.bin`` in that folder, for `ImageBank.open`; the index lies beside it as ``.npy``.
    dict of str to str
        Image id to what is wrong with it.

    Raises
    ------
    ImageError
        An image cannot be used, and `skip_errors` is off.
    """
    stain, rule, turned, size = settings.stain, settings.rule, settings.turned, resolved(settings)["size"]
    treated = size if rule.kind == "resize" else f"patches of {rule.side}"
    key = hashlib.sha256(f"{digest}:{treated}:{stain}".encode()).hexdigest()[:16]
    path = folder / f"images-{key}.bin"
    outcome, plain = StainOutcome(), make_stain_treatment(stain)
    treat = make_treatment(stain=stain, rule=rule, size=size, outcome=outcome)

    def normalize(image: Image) -> Image:
        return plain(image, "")

    def attempt(record: ImageRecord) -> tuple[Image, str, Region | None] | ImageError:
        try:
            whole, box = decode_whole(record)
            image = np.ascontiguousarray(whole[box[1] : box[3], box[0] : box[2]])
            region = cut_region(whole, box, size=size, treat=normalize) if turned else None
            return treat(record, image), pixels_sha256(image), region
        except ImageError as error:
            return error

    kept = _read_index(path, images=len(records)) if path.is_file() and path.with_suffix(".npy").is_file() else None
    if turned and RegionBank.open(regions_of(path), images=len(records)) is None:
        kept = None
    if kept is not None:
        empty = np.flatnonzero(kept[:, 1] == 0).tolist()
        if not empty or skip_errors:
            found = {records[place].image_id: attempt(records[place]) for place in empty}
            return path, {image: str(error) for image, error in found.items()}
    pixels: dict[str, str] = {}
    failures: dict[str, str] = {}
    with (
        ImageBank.writing(path) as put,
        RegionBank.writing(regions_of(path)) if turned else contextlib.nullcontext() as put_region,
        one_thread_of_opencv(),
        ThreadPoolExecutor(default_jobs()) as pool,
        Progress(total=len(records), label="images", unit="images") as progress,
    ):
        for start in range(0, len(records), _AHEAD):
            some = records[start : start + _AHEAD]
            for record, result in zip(some, pool.map(attempt, some), strict=True):
                if isinstance(result, ImageError):
                    if not skip_errors:
                        raise result
                    failures[record.image_id] = str(result)
                    put(None)
                    region = None
                else:
                    image, pixels[record.image_id], region = result
                    put(image, _key(record.image_id))
                if put_region is not None:
                    put_region(*(region or (None,)))
            progress.update_to(start + len(some))
    outcome.warn(images=len(records), stain=stain)
    write_rows(path.with_suffix(".csv"), _PIXELS, pixels.items())
    return path, failures


def read_pixels(path: Path) -> dict[str, str]:
    """Return the hash of the decoded pixels of each image of a file of `prepare_images`; none where 0.1 wrote it."""
    return {row["image_id"]: row["pixels_sha256"] for row in read_rows(path.with_suffix(".csv"))}


def _read_index(path: Path, *, images: int) -> npt.NDArray[np.int64] | None:
    """Return the index of a file of images; None and a warning where either is damaged."""
    try:
        return ImageBank.index_of(path, pictures=images)
    except DAMAGE as error:
        reason = str(error) or type(error).__name__
    _log.warning("%s: not a whole file of decoded images (%s); decoded again", path, reason)
    return None
