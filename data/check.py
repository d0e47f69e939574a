"""Checks of a dataset: problems found while reading it, in image headers, in pixels, and between images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from ..core import ImageError, InputError, message_of
from ..formats import ImageHeader, largest_sample, read_header
from ..jobs import default_jobs
from ..stains import TREATMENTS
from .dataset import Dataset, ImageRecord
from .findings import Finding
from .images import MOST_COMPARED, Copy, PixelSurvey, compare_contents, find_copies, pixel_findings
from .layouts import MAMMOGRAMS, find_layout

_FEW_BITS = 14
"""A 16-bit image whose values fit in so many bits looks far too dark: its white is a quarter of the full scale."""

_MOST_LOOKED = 100
"""Number of images whose pixels are read if neither all are decoded nor near-duplicates are searched for."""


@dataclass(frozen=True)
class DatasetSurvey:
    """Results of a check of a dataset, see `survey_dataset`.

    Attributes
    ----------
    findings : tuple of Finding
        Findings of the reader, then those of the check.
    headers : mapping of str to ImageHeader
        Image ID to the header of its file; unreadable headers are left out.
    sizes : mapping of str to (int, int)
        Image ID to width and height in pixels; those of its box if the image is a part of its file.
    broken : frozenset of str
        Images whose header cannot be read or, with `decode`, whose pixels cannot be read.
    repeated : tuple of (str, str)
        ID of an image that is left out, and the ID of the identical file that is used.
    copies : tuple of Copy, or None
        Near-duplicates; None if they were not searched for.
    """

    findings: tuple[Finding, ...]
    headers: Mapping[str, ImageHeader]
    sizes: Mapping[str, tuple[int, int]]
    broken: frozenset[str]
    repeated: tuple[tuple[str, str], ...]
    copies: tuple[Copy, ...] | None


def read_headers(records: Sequence[ImageRecord]) -> dict[str, ImageHeader]:
    """Return a dict from image ID to header; images with an unreadable header are left out."""
    headers = zip(records, _headers(records), strict=True)
    return {record.image_id: header for record, header in headers if isinstance(header, ImageHeader)}


def _headers(records: Sequence[ImageRecord]) -> Iterator[ImageHeader | ImageError]:
    """Yield the header of each image, or why it cannot be read; several files are read at a time."""

    def read(record: ImageRecord) -> ImageHeader | ImageError:
        try:
            return read_header(record.path)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(default_jobs()) as pool:  # cancels pending reads if the caller stops early
        yield from pool.map(read, records)


def survey_dataset(
    dataset: Dataset, *, decode: bool = False, copies: bool = True, on_image: Callable[[], None] | None = None
) -> DatasetSurvey:
    """Check the headers, sizes and contents of all images of a dataset.

    Parameters
    ----------
    dataset : Dataset
    decode : bool
        Also decode every image, which finds truncated files. Otherwise only headers are read.
    copies : bool
        Search for near-duplicates, which requires decoding every image.
    on_image : callable, optional
        Called after each image, for a progress bar.

    Returns
    -------
    DatasetSurvey
    """
    findings = list(dataset.findings)
    layout = find_layout(dataset.name)
    expected = None if layout is None else layout.size
    headers: dict[str, ImageHeader] = {}
    sizes: dict[str, tuple[int, int]] = {}
    broken: set[str] = set()

    for record, header in zip(dataset.records, _headers(dataset.records), strict=True):
        if isinstance(header, ImageError):
            broken.add(record.image_id)
            findings.append(Finding("error", record.image_id, message_of(header)))
        else:
            headers[record.image_id] = header
            sizes[record.image_id] = record.sides(header.width, header.height)
            if expected is not None and (header.width, header.height) != expected:
                size = f"{header.width}x{header.height}, published images are {expected[0]}x{expected[1]}"
                findings.append(Finding("warning", record.image_id, size))
        if on_image is not None:
            on_image()
    sound = tuple(record for record in dataset.records if record.image_id not in broken)
    unique, contradictions = compare_contents(replace(dataset, records=sound))
    seen, searched = PixelSurvey(), copies and len(sound) <= MOST_COMPARED
    looked = unique.dataset.records if decode or searched else _spread(unique.dataset.records, _MOST_LOOKED)
    pairs = find_copies(looked, seen=seen, search=searched)
    broken.update(seen.failures)
    findings += [Finding("error", image, message_of(error)) for image, error in seen.failures.items()]
    findings += header_findings((record for record in sound if record.image_id not in broken), headers)
    findings += [
        Finding("warning", copy, f"the same image as {original}; used once", kind="the same as other images; used once")
        for copy, original in unique.repeated
    ]
    findings += contradictions
    known = {record.image_id: (record.label, record.group) for record in dataset.records}
    findings += pixel_findings(seen.pixels, seen.blank, known)
    findings += _copies(dataset, pairs if copies else (), seen.pixels)
    return DatasetSurvey(tuple(findings), headers, sizes, frozenset(broken), unique.repeated, pairs)


def _spread(records: Sequence[ImageRecord], most: int) -> Sequence[ImageRecord]:
    """Return at most so many images, evenly sampled."""
    return records[:: max(1, -(-len(records) // most))]


def header_findings(
    records: Iterable[ImageRecord], headers: Mapping[str, ImageHeader], *, most: int | None = None
) -> list[Finding]:
    """Warn of what a person must know of files: the remarks of their headers, if these are known, and `dark_pictures`.

    The parameters are those of `dark_pictures`.
    """
    known = [record for record in records if record.image_id in headers]
    remarks = [
        Finding("warning", record.image_id, text) for record in known for text in headers[record.image_id].remarks
    ]
    return remarks + dark_pictures(known, headers, most=most)


def dark_pictures(
    records: Iterable[ImageRecord], headers: Mapping[str, ImageHeader], *, most: int | None = None
) -> list[Finding]:
    """Warn of 16-bit images whose values use at most 14 bits, as those of 12-bit cameras do.

    Parameters
    ----------
    records : iterable of ImageRecord
        Images whose grey levels are stretched, or that cannot be decoded, are ignored.
    headers : mapping of str to ImageHeader
        Image ID to header.
    most : int, optional
        Largest number of images whose pixels are read, evenly sampled; by default all.
    """
    bits: dict[str, int] = {}
    deep = [record for record in records if headers[record.image_id].deep and not record.stretch]
    deep = list(_spread(deep, most or len(deep) or 1))

    def largest(record: ImageRecord) -> int:
        try:
            return largest_sample(record.path)
        except ImageError:
            return 0

    with ThreadPoolExecutor(default_jobs()) as pool:
        for record, value in zip(deep, pool.map(largest, deep), strict=True):
            if 0 < value < 2**_FEW_BITS:
                bits[record.image_id] = value.bit_length()
    if not bits:
        return []
    most = max(bits.values())
    message = (
        f"its values use {most} of 16 bits, so that it is read as nearly black; multiply them by {2 ** (16 - most)}, "
        "or save it as 8-bit RGB"
    )
    return [Finding("warning", image, message) for image in bits]


def _copies(dataset: Dataset, pairs: Sequence[Copy] | None, pixels: Mapping[str, str]) -> list[Finding]:
    """Return a finding for each near-duplicate: a note if folds by patient keep the pair together, else a warning."""
    if pairs is None:
        message = f"near-duplicates are not searched for among more than {MOST_COMPARED:,} images"
        return [Finding("note", str(dataset.root), message)]
    records = {record.image_id: record for record in dataset.records}
    findings = []
    for copy in (pair for pair in pairs if pixels[pair.first] != pixels[pair.second]):
        first, second = records[copy.first], records[copy.second]
        label = f", under another label ({first.label} and {second.label})" if first.label != second.label else ""
        together = first.group is not None and first.group == second.group and not label
        message = (
            f"seems to show the same pixels as {copy.first} (correlation {copy.correlation:.2f} over "
            f"{copy.share:.0%} of the smaller){label}"
        )
        kind = f"seem to show the same pixels as other images{label}"
        findings.append(Finding("note" if together else "warning", copy.second, message, kind=kind))
    return findings


def check_stain(dataset: Dataset, *, stain: str, colours: bool, off: str) -> None:
    """Refuse stain normalisation or augmentation of images that have no stain.

    Parameters
    ----------
    dataset : Dataset
    stain : str
        One of `bchisto.stains.STAIN_METHODS`.
    colours : bool
        Whether stain colours are varied.
    off : str
        The option that turns this variation off, for the message.

    Raises
    ------
    InputError
        The images have no stain, such as mammograms, but stains are to be normalised or varied.
    """
    layout = find_layout(dataset.name)
    if layout is not None and not layout.stained and (colours or stain not in ("none", *TREATMENTS)):
        images = "grey mammograms" if dataset.name in MAMMOGRAMS else "images"
        raise InputError(
            "{}: {} holds {}, which have no stain; use {stain:none} (or a treatment: {}) and {}",
            dataset.root, dataset.name, images, ", ".join(TREATMENTS), off,
        )  # fmt: skip
