"""Checks of a dataset: problems found while reading it, in image headers, in pixels, and between images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from ..core import ImageError, message_of
from ..core.formats import ImageHeader
from ..core.jobs import Progress
from .dataset import Dataset, ImageRecord
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


class DatasetSurvey(NamedTuple):
    """Results of a check of a dataset, see `survey_dataset`.

    Attributes
    ----------
    findings : tuple of Finding
        Findings of the reader, then those of the check.
    headers : mapping of str to ImageHeader
        Image ID to the header of its file; unreadable headers are left out.
    broken : frozenset of str
        Images whose header or, if they are decoded, whose pixels cannot be read.
    repeated : tuple of (str, str)
        ID of an image that is left out, and the ID of the identical file that is used.
    copies : tuple of Copy, or None
        Near-duplicates; None if they were not searched for.
    """

    findings: tuple[Finding, ...]
    headers: Mapping[str, ImageHeader]
    broken: frozenset[str]
    repeated: tuple[tuple[str, str], ...]
    copies: tuple[Copy, ...] | None


def survey_dataset(dataset: Dataset, *, decode: bool = False, copies: bool = True) -> DatasetSurvey:
    """Check the headers, sizes and contents of all images of a dataset.

    Parameters
    ----------
    dataset : Dataset
    decode : bool
        Decode every image, which finds truncated files. Without `copies` and `decode`, only headers are read, and the
        pixels of at most 200 images.
    copies : bool
        Search for near-duplicates, which decodes every image.

    Returns
    -------
    DatasetSurvey
    """
    findings = list(dataset.findings)
    layout = find_layout(dataset.name)
    headers: dict[str, ImageHeader] = {}
    unreadable: dict[str, ImageError] = {}
    with Progress(total=len(dataset), label="checking images", unit="images") as progress:
        for done, (record, header) in enumerate(
            zip(dataset.records, headers_of(dataset.records), strict=True), start=1
        ):
            if isinstance(header, ImageError):
                unreadable[record.image_id] = header
            else:
                headers[record.image_id] = header
                size, published = (header.width, header.height), layout and layout.size
                if published and size != published:
                    text = "{}x{}, published images are {}x{}".format(*size, *published)
                    findings.append(Finding("warning", record.image_id, text))
            progress.update_to(done)
    sound = tuple(record for record in dataset.records if record.image_id in headers)
    unique, contradictions = compare_contents(replace(dataset, records=sound))
    seen, searched = Pixels(), copies and len(sound) <= MOST_COMPARED
    step = 1 if decode or searched else max(1, len(unique.dataset) // _LOOKED)
    pairs = find_copies(unique.dataset.records[::step], seen=seen, search=searched)
    unreadable |= seen.failures
    known = {record.image_id: record for record in dataset.records}
    for image, error in sorted(unreadable.items()):
        text, path = message_of(error), f"{known[image].path}: "
        findings.append(
            Finding("error", image, text.removeprefix(path) if text.startswith(path) else text)
        )
    findings += header_findings(
        (record for record in sound if record.image_id not in unreadable), headers
    )
    findings += [
        Finding(
            "warning",
            copy,
            f"the same image as {original}; used once",
            kind="the same as other images; used once",
        )
        for copy, original in unique.repeated
    ]
    findings += contradictions
    owners = {image: (record.label, record.group) for image, record in known.items()}
    findings += pixel_findings(seen.pixels, seen.blank, owners)
    if copies and pairs is None:
        text = f"near-duplicates are not searched for among more than {MOST_COMPARED:,} images"
        findings.append(Finding("note", str(dataset.root), text))
    # of images with the same pixels only the first, which `pixel_findings` names
    originals = {*{sha: image for image, sha in sorted(seen.pixels.items(), reverse=True)}.values()}
    findings += [
        _alike(pair, known) for pair in pairs or () if {pair.first, pair.second} <= originals
    ]
    return DatasetSurvey(tuple(findings), headers, frozenset(unreadable), unique.repeated, pairs)


def _alike(pair: Copy, known: Mapping[str, ImageRecord]) -> Finding:
    """Return a finding on a near-duplicate: a note if folds by patient keep the pair together, else a warning."""
    first, second = known[pair.first], known[pair.second]
    label = (
        f", under another label ({first.label} and {second.label})"
        if first.label != second.label
        else ""
    )
    together = first.group is not None and first.group == second.group and not label
    how = f"(correlation {pair.correlation:.2f} over {pair.share:.0%} of the smaller)"
    message = f"seems to show the same pixels as {pair.first} {how}{label}"
    kind = f"seem to show the same pixels as other images{label}"
    return Finding("note" if together else "warning", pair.second, message, kind=kind)
