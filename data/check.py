"""Checks of a dataset: problems found while reading it, in image headers, in pixels, and between images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..core import ImageError, message_of
from ..core.jobs import Progress
from .dataset import Dataset, ImageRecord
from .findings import Finding, Findings
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
from .signs import sign_findings

_LOOKED = 100
"""Number of images, or up to twice as many, whose pixels are read if there is no other reason to read all."""


class DatasetSurvey(NamedTuple):
    """Results of a check of a dataset, see `survey_dataset`.

    Attributes
    ----------
    findings : tuple of Finding
        Findings of the reader, then those of the check.
    dataset : Dataset
        All images, with the headers of their files unless these cannot be read.
    broken : frozenset of str
        Images whose header or, if they are decoded, whose pixels cannot be read.
    repeated : tuple of (str, str)
        ID of an image that is left out, and the ID of the identical file that is used.
    copies : tuple of Copy, or None
        Near-duplicates; None if they were not searched for.
    """

    findings: tuple[Finding, ...]
    dataset: Dataset
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
    findings = Findings(dataset.findings)
    dataset, unreadable = _survey_headers(dataset, findings)
    sound = tuple(record for record in dataset.records if record.header)
    unique, comparisons = compare_contents(replace(dataset, records=sound))
    seen = Pixels()
    search = copies and len(sound) <= MOST_COMPARED
    step = 1 if decode or search else max(1, len(unique.dataset) // _LOOKED)
    pairs = find_copies(unique.dataset.records[::step], seen=seen, search=search)
    unreadable |= seen.failures
    records = {record.image_id: record for record in dataset.records}
    findings += [
        Finding("error", image, _without_path(message_of(error), records[image].path))
        for image, error in sorted(unreadable.items())
    ]
    findings += header_findings(record for record in sound if record.image_id not in unreadable)
    findings += sign_findings(unique.dataset)
    findings += comparisons
    owners = {image: (record.label, record.group) for image, record in records.items()}
    findings += pixel_findings(seen.pixels, seen.blank, owners, drawn=seen.drawn)
    if copies and pairs is None:
        text = f"near-duplicates are not searched for among more than {MOST_COMPARED:,} images"
        findings.note(str(dataset.root), text)
    findings += _near_duplicates(pairs or (), seen.pixels, records)
    return DatasetSurvey(tuple(findings), dataset, frozenset(unreadable), unique.repeated, pairs)


def _survey_headers(dataset: Dataset, findings: Findings) -> tuple[Dataset, dict[str, ImageError]]:
    """Return the dataset with headers, and why others cannot be read; warn of other sizes than the published."""
    layout = find_layout(dataset.name)
    published = None if layout is None else layout.size
    records = []
    unreadable = {}
    with Progress(total=len(dataset), label="checking images", unit="images") as progress:
        all_headers = zip(dataset.records, headers_of(dataset.records), strict=True)
        for done, (record, header) in enumerate(all_headers, start=1):
            if isinstance(header, ImageError):
                unreadable[record.image_id] = header
                records.append(record)
            else:
                records.append(record.scaled_by(header))
                size = (header.width, header.height)
                if published is not None and size != published:
                    text = "{}x{}, published images are {}x{}".format(*size, *published)
                    findings.warning(record.image_id, text)
            progress.update_to(done)
    return replace(dataset, records=tuple(records)), unreadable


def _without_path(message: str, path: Path) -> str:
    # `removeprefix` would make a plain text of a `Message`
    return message.removeprefix(f"{path}: ") if message.startswith(f"{path}: ") else message


def _near_duplicates(
    pairs: Iterable[Copy], pixels: Mapping[str, str], records: Mapping[str, ImageRecord]
) -> list[Finding]:
    # of images with the same pixels only the first, which `pixel_findings` names
    originals = {*{sha: image for image, sha in sorted(pixels.items(), reverse=True)}.values()}
    return [_alike(pair, records) for pair in pairs if {pair.first, pair.second} <= originals]


def _alike(pair: Copy, records: Mapping[str, ImageRecord]) -> Finding:
    """Return a finding on a near-duplicate: a note if folds by patient keep the pair together, else a warning."""
    first = records[pair.first]
    second = records[pair.second]
    how = f"(correlation {pair.correlation:.2f} over {pair.share:.0%} of the smaller)"
    message = f"seems to show the same pixels as {pair.first} {how}"
    kind = "seem to show the same pixels as other images"
    if first.label != second.label:
        label = f", under another label ({first.label} and {second.label})"
        return Finding("warning", pair.second, message + label, kind=kind + label)
    together = first.group is not None and first.group == second.group
    return Finding("note" if together else "warning", pair.second, message, kind=kind)
