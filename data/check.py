"""Checks of a dataset: problems found while reading it, in headers, in pixels and between images, and signs of classes.

A sign is what tells the classes apart and is not the tissue: seen in a table of patients by class and value of a sign.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import mode
from typing import NamedTuple

import numpy as np

from ..core import ImageError, Message, Pairs, by_key, few, letters_of, message_of
from ..core.jobs import Progress
from .dataset import Dataset, ImageRecord, part_of
from .findings import LEAVE_OUT, Finding, Findings
from .images import (
    MOST_COMPARED,
    Contents,
    Copy,
    compare_contents,
    find_copies,
    header_findings,
    headers_of,
    pixel_findings,
)
from .layouts import find_layout
from .patients import SITES

_LOOKED = 100
"""Number of images whose pixels are read, or up to twice as many, unless all must be read."""

_LEAST = 3
"""Number of patients of each class from which a sign is a warning."""

_SURE = 0.01
"""A sign is a warning if its p, times the number of signs (Bonferroni), is at most this."""

_ORIGIN = re.compile(
    r"set|.*(scan|mikroskop|microscop|camera|kamera|device|vendor|manufacturer|hersteller|digiti[sz]er|stainer|batch|charge|"
    r"tss|objective|magnification|resolution|acquired).*|"
    r"(scan\w*|acquisition|aufnahme|image|imaging|export|stain(ing)?|slide|study|content)?(date|day|datum|datetime|year|fecha)"
)
"""Names of columns that describe the scanner or the date of an image, not the patient."""


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
    repeated: Pairs
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
    contents = Contents()
    search = copies and len(sound) <= MOST_COMPARED
    step = 1 if decode or search else max(1, len(unique.dataset) // _LOOKED)
    pairs = find_copies(unique.dataset.records[::step], seen=contents, search=search)
    unreadable |= contents.failures
    records = {record.image_id: record for record in dataset.records}
    for image, error in sorted(unreadable.items()):
        message = message_of(error)
        path = f"{records[image].path}: "
        if message.startswith(path):  # else `removeprefix` would make a plain text of a `Message`
            message = message.removeprefix(path)
        findings.error(image, message)
    findings += header_findings(record for record in sound if record.image_id not in unreadable)
    findings += sign_findings(unique.dataset)
    findings += comparisons
    owners = {image: (record.label, record.group) for image, record in records.items()}
    findings += pixel_findings(contents.sha256, contents.blank, owners, drawn=contents.drawn)
    if copies and pairs is None:
        text = f"near-duplicates are not searched for among more than {MOST_COMPARED:,} images"
        findings.note(str(dataset.root), text)
    findings += _near_duplicates(pairs or (), contents.sha256, records)
    return DatasetSurvey(tuple(findings), dataset, frozenset(unreadable), unique.repeated, pairs)


def _survey_headers(dataset: Dataset, findings: Findings) -> tuple[Dataset, dict[str, ImageError]]:
    """Return the dataset with headers, and the errors of unreadable ones; warn of sizes other than the published."""
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
                if published is not None and header.size != published:
                    text = "{}x{}, published images are {}x{}".format(*header.size, *published)
                    findings.warning(record.image_id, text)
            progress.update_to(done)
    return replace(dataset, records=tuple(records)), unreadable


def _near_duplicates(
    pairs: Iterable[Copy], pixels: Mapping[str, str], records: Mapping[str, ImageRecord]
) -> Findings:
    """Return a finding on each near-duplicate: a note if folds by patient keep the pair together, else a warning."""
    # only the first of images with the same pixels, since `pixel_findings` names the others
    originals = {*{sha: image for image, sha in sorted(pixels.items(), reverse=True)}.values()}
    findings = Findings()
    for pair in pairs:
        if not {pair.first, pair.second} <= originals:
            continue
        first = records[pair.first]
        second = records[pair.second]
        measure = f"(correlation {pair.correlation:.2f} over {pair.share:.0%} of the smaller)"
        message = f"seems to show the same pixels as {pair.first} {measure}"
        kind = "seem to show the same pixels as other images"
        add = findings.warning
        if first.label != second.label:
            suffix = f", under another label ({first.label} and {second.label})"
            message += suffix
            kind += suffix
        elif first.group is not None and first.group == second.group:
            add = findings.note
        add(pair.second, message, kind=kind)
    return findings


def sign_findings(dataset: Dataset) -> list[Finding]:
    """Return findings on signs: sizes, kinds of files, scales, sites, scanners and dates that tell the classes apart.

    A sign is a warning if patients of one value are of one class more often than by chance, and a note if there are too
    few patients. With unknown patients each image counts as one, and a warning needs a class of one value that no other
    class has.

    Parameters
    ----------
    dataset : Dataset
        Images without a header are ignored, see `ImageRecord.scaled_by`.
    """
    sound = [record for record in dataset.records if record.header]
    images = Counter(record.label for record in sound)
    records = [record for record in sound if record.label and images[record.label] >= _LEAST]
    signs = _signs(records)
    # signs that divide the images in the same way are one
    sign_groups = by_key(signs, lambda name: tuple(map(signs[name].index, signs[name]))).values()
    has_patients = all(record.group for record in records)
    findings = Findings(_thumbnails(sound))
    for names in sign_groups:
        values = signs[names[0]]
        is_sure = _chance(records, values) * len(sign_groups) <= _SURE
        is_complete = _is_complete(records, values)
        if is_sure and (has_patients or is_complete):
            findings.warning(str(dataset.root), _telling("tells", names, records, values))
        elif is_sure or is_complete:
            findings.note(str(dataset.root), _telling("may tell", names, records, values))
    return findings


def _thumbnails(records: Sequence[ImageRecord]) -> list[Finding]:
    """Warn of images much smaller than most, if most are of one size."""
    sizes = Counter(record.look.long for record in records)
    for side, count in sizes.most_common(1):
        small = [record.image_id for record in records if 3 * record.look.long <= side]
        if small and 2 * count >= len(records):
            text = "at most a third as large as most images, as thumbnails are"
            return [Finding("warning", few(small), Message(text, remedies=LEAVE_OUT))]
    return []


def _signs(records: Sequence[ImageRecord]) -> dict[str, list[str]]:
    """Return the values of the signs that are not the same in all images."""
    image_signs = [*map(_signs_of, records)]
    names = dict.fromkeys(itertools.chain(*image_signs))
    filled = {name: [signs.get(name) or "unknown" for signs in image_signs] for name in names}
    return {name: values for name, values in filled.items() if len({*values}) > 1}


def _signs_of(record: ImageRecord) -> Mapping[str, str]:
    """Return the signs of an image; an unknown one is empty or missing."""
    header = record.header
    assert header is not None
    signs = {
        "format": header.format,
        "codec": header.codec,
        "kind of pixels": header.mode,
        "scanner": header.scanner,
        "date": header.date,
    }
    if record.mpp is not None:
        signs["micrometres per pixel"] = f"{record.mpp:.3g}"
    if header.deep:
        signs["kind of pixels"] += " of 16 bits"
    if record.box is None and record.frame is None:  # else the lesion has this size
        signs["size"] = f"{header.width}x{header.height}"
        signs["shape"] = f"{header.width / header.height:.2f}"
    for column, cell in record.columns:
        is_origin = SITES.fullmatch(column) or _ORIGIN.fullmatch(letters_of(column))
        if is_origin and part_of(cell) is None:
            signs[f"column {column}"] = cell
    return signs


def _chance(records: Sequence[ImageRecord], values: Sequence[str]) -> float:
    """Return the p of a chi-squared test of patients by class and value; 1 if fewer than two classes have enough."""
    owners = by_key(
        zip(records, values, strict=True),
        lambda pair: (pair[0].label_text, pair[0].group or pair[0].image_id),
    )
    patients = Counter(label for label, _ in owners)
    units = [
        (label, mode(value for _, value in pairs))
        for (label, _), pairs in owners.items()
        if patients[label] >= _LEAST
    ]
    numbers = _places([value for _, value in units])
    counts = Counter((label, numbers[value]) for label, value in units)
    table = np.array(
        [
            [counts[label, number] for number in {*numbers.values()}]
            for label in dict.fromkeys(label for label, _ in units)
        ]
    )
    if min(table.shape) < 2:
        return 1.0
    from scipy.special import chdtrc

    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    # the mean of this sum over all orders of few patients is larger than its degrees of freedom, by n / (n - 1)
    chi2 = ((table - expected) ** 2 / expected).sum() * (1 - 1 / len(units))
    return float(chdtrc((table.shape[0] - 1) * (table.shape[1] - 1), chi2))


def _places(values: Sequence[str]) -> dict[str, int]:
    """Number the values in their order; rare neighbours share a number, as sizes that all differ would tell nothing."""
    counts = Counter(values)
    width = max(_LEAST, len(values) // 4)
    numbers: dict[str, int] = {}
    number = 0
    filled = 0
    for value in sorted(counts, key=_order):
        if filled and (filled >= width or counts[value] >= _LEAST):
            number += 1
            filled = 0
        numbers[value] = number
        filled += counts[value]
    return numbers


def _order(value: str) -> tuple[int, str]:
    """Return a key that orders numbers, sizes and dates, of which the year may be last."""
    value = re.sub(r"(\d+)[./](\d+)[./](\d{4})", r"\3-\2-\1", value)
    return len(value), value


def _is_complete(records: Iterable[ImageRecord], values: Iterable[str]) -> bool:
    """Whether all images of a class have one value that no other class has."""
    pairs = {*zip((record.label for record in records), values, strict=True)}
    labels = Counter(label for label, _ in pairs)
    owners = Counter(value for _, value in pairs)
    return any(labels[label] == owners[value] == 1 for label, value in pairs)


def _telling(
    verb: str, names: Sequence[str], records: Iterable[ImageRecord], values: Iterable[str]
) -> str:
    """Return the message on signs that divide the images alike, with the values of the first sign in each class."""
    values_of = by_key(zip(records, values, strict=True), lambda pair: pair[0].label)
    parts = [
        f"{label} {few(f'{value} ({n})' for value, n in Counter(value for _, value in pairs).most_common())}"
        for label, pairs in values_of.items()
    ]
    name, *others = names
    if others:
        name += f" (and the {' and the '.join(others)})"
    cure = "export the images of all classes in the same way"
    if name.startswith("column "):
        cure = "add images of each class with each of its values"
    return (
        f"the {name}, which is not the tissue, {verb} the classes apart: {'; '.join(parts)}; {cure}"
    )
