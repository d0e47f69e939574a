"""Findings about a dataset: those of its reader, and those of the image headers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from ..core import ImageError, InputError, message_of
from ..formats import ImageHeader, largest_sample, read_header
from ..jobs import default_jobs
from ..stains import TREATMENTS
from .dataset import Dataset, ImageRecord
from .findings import Finding
from .images import MOST_COMPARED, Copy, compare_contents, decode_record, find_copies
from .layouts import MAMMOGRAMS, find_layout

_FEW_BITS = 14
"""Bits of 16 with which a picture is far darker than it was: white is then at a quarter of the scale."""


@dataclass(frozen=True)
class DatasetSurvey:
    """What headers, contents and pictures of a dataset show.

    Attributes
    ----------
    findings : tuple of Finding
        Those of the reader first.
    headers : mapping of str to ImageHeader
        Image id to the header of its file, where that can be read.
    sizes : mapping of str to (int, int)
        Image id to width and height in pixels: of its box, where it is a part of its file.
    broken : frozenset of str
        Images whose header, or with `decode` whose pixels, cannot be read.
    repeated : tuple of (str, str)
        Image id of a file that is used once, and the id it repeats byte by byte.
    copies : tuple of Copy, or None
        Pairs that seem to show the same pixels; None where these were not looked for.
    """

    findings: tuple[Finding, ...]
    headers: Mapping[str, ImageHeader]
    sizes: Mapping[str, tuple[int, int]]
    broken: frozenset[str]
    repeated: tuple[tuple[str, str], ...]
    copies: tuple[Copy, ...] | None


def read_headers(records: Sequence[ImageRecord]) -> dict[str, ImageHeader]:
    """Return image id to header, of images whose header can be read."""

    def read(record: ImageRecord) -> ImageHeader | None:
        try:
            return read_header(record.path)
        except ImageError:
            return None

    with ThreadPoolExecutor(default_jobs()) as pool:
        headers = zip(records, pool.map(read, records), strict=True)
        return {record.image_id: header for record, header in headers if header is not None}


def survey_dataset(
    dataset: Dataset, *, decode: bool = False, copies: bool = True, on_image: Callable[[], None] | None = None
) -> DatasetSurvey:
    """Check a dataset against its layout, and keep what was seen of its images.

    Parameters
    ----------
    dataset : Dataset
        As read.
    decode : bool
        Also decode every image, which finds truncated files; otherwise only headers are read.
    on_image : callable, optional
        Called after each image, for a progress bar.
    copies : bool
        Look for pictures that show the same pixels, for which every image is decoded.

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

    def read(record: ImageRecord) -> ImageHeader | ImageError:
        try:
            return read_header(record.path)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(default_jobs()) as pool:  # map drops what waits when the loop is left
        for record, header in zip(dataset.records, pool.map(read, dataset.records), strict=True):
            try:
                if isinstance(header, ImageError):
                    raise header
                headers[record.image_id] = header
                sizes[record.image_id] = record.sides(header.width, header.height)
                if expected is not None and (header.width, header.height) != expected:
                    size = f"{header.width}x{header.height}, published images are {expected[0]}x{expected[1]}"
                    findings.append(Finding("warning", record.image_id, size))
                if header.pages > 1:
                    which = "the first" if header.page == 1 else f"page {header.page}"
                    more = f"{header.pages} pages, only {which} is used"
                    findings.append(Finding("warning", record.image_id, more))
                if decode:
                    decode_record(record)
            except ImageError as error:
                broken.add(record.image_id)
                findings.append(Finding("error", record.image_id, message_of(error)))
            if on_image is not None:
                on_image()
    sound = tuple(record for record in dataset.records if record.image_id not in broken)
    findings.extend(dark_pictures(sound, headers))
    unique, contradictions = compare_contents(replace(dataset, records=sound))
    findings += [
        Finding("warning", copy, f"the same image as {original}; used once", kind="the same as other images; used once")
        for copy, original in unique.repeated
    ]
    findings += contradictions
    pairs = find_copies(dataset.records) if copies else ()
    findings.extend(_copies(dataset, pairs))
    return DatasetSurvey(tuple(findings), headers, sizes, frozenset(broken), unique.repeated, pairs if copies else None)


def dark_pictures(
    records: Iterable[ImageRecord], headers: Mapping[str, ImageHeader], *, most: int | None = None
) -> list[Finding]:
    """Warn of pictures of 16 bits whose values leave the upper two unused, as those of cameras of 12 bits do.

    Parameters
    ----------
    records : iterable of ImageRecord
        Those whose grey levels are stretched are passed over, and those that cannot be decoded.
    headers : mapping of str to ImageHeader
        By image id.
    most : int, optional
        Of how many the pixels are read, taken evenly; by default of all.
    """
    bits: dict[str, int] = {}
    deep = [record for record in records if headers[record.image_id].deep and not record.stretch]
    deep = deep[:: -(-len(deep) // most) if most and deep else 1]

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


def _copies(dataset: Dataset, pairs: Sequence[Copy] | None) -> list[Finding]:
    """Name pairs that seem to show the same pixels; a note where folds that keep patients whole keep both together."""
    if pairs is None:
        message = f"near-duplicates are not searched for among more than {MOST_COMPARED:,} images"
        return [Finding("note", str(dataset.root), message)]
    records = {record.image_id: record for record in dataset.records}
    findings = []
    for copy in pairs:
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
    """Refuse stain work on images that have no stain.

    Parameters
    ----------
    dataset : Dataset
    stain : str
        Of `bchisto.stains.STAIN_METHODS`.
    colours : bool
        Whether stains are varied.
    off : str
        The option that leaves them, for the message.

    Raises
    ------
    InputError
        A layout without stains, such as mammograms, with a stain method or varied stains.
    """
    layout = find_layout(dataset.name)
    if layout is not None and not layout.stained and (colours or stain not in ("none", *TREATMENTS)):
        images = "grey mammograms" if dataset.name in MAMMOGRAMS else "images"
        raise InputError(
            "{}: {} holds {}, which have no stain; use {stain:none} (or a treatment: {}) and {}",
            dataset.root, dataset.name, images, ", ".join(TREATMENTS), off,
        )  # fmt: skip
