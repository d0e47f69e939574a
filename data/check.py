"""Checks of a dataset: problems found while reading it, in image headers, in pixels, and between images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..core import ImageError, message_of
from ..core.formats import ImageHeader
from .dataset import Dataset
from .findings import Finding
from .images import (
    MOST_COMPARED,
    Copy,
    Pixels,
    compare_contents,
    find_copies,
    header_findings,
    headers_of,
    pixel_findings,
)
from .layouts import find_layout

_LOOKED = 100
"""Number of images, or up to twice as many, whose pixels are read if there is no other reason to read all."""


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
        Images whose header or, if they are decoded, whose pixels cannot be read.
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


def survey_dataset(
    dataset: Dataset, *, decode: bool = False, copies: bool = True, on_image: Callable[[], None] | None = None
) -> DatasetSurvey:
    """Check the headers, sizes and contents of all images of a dataset.

    Parameters
    ----------
    dataset : Dataset
    decode : bool
        Decode every image, which finds truncated files. Without `copies` and `decode`, only headers are read, and the
        pixels of at most 200 images.
    copies : bool
        Search for near-duplicates, which decodes every image.
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

    for record, header in zip(dataset.records, headers_of(dataset.records), strict=True):
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
    seen, searched = Pixels(), copies and len(sound) <= MOST_COMPARED
    step = 1 if decode or searched else max(1, len(unique.dataset) // _LOOKED)
    pairs = find_copies(unique.dataset.records[::step], seen=seen, search=searched)
    broken.update(seen.failures)
    findings += [Finding("error", image, message_of(error)) for image, error in sorted(seen.failures.items())]
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


def _copies(dataset: Dataset, pairs: Sequence[Copy] | None, pixels: Mapping[str, str]) -> list[Finding]:
    """Return a finding for each near-duplicate: a note if folds by patient keep the pair together, else a warning."""
    if pairs is None:
        message = f"near-duplicates are not searched for among more than {MOST_COMPARED:,} images"
        return [Finding("note", str(dataset.root), message)]
    records = {record.image_id: record for record in dataset.records}
    findings = []
    # of images with the same pixels only the first, which `pixel_findings` names
    originals = {*{sha: image for image, sha in sorted(pixels.items(), reverse=True)}.values()}
    for copy in (pair for pair in pairs if {pair.first, pair.second} <= originals):
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
