"""Findings about a dataset: those of its reader, and those of the image headers."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import ImageError, InputError
from ..stains import TREATMENTS
from .dataset import Dataset
from .findings import Finding
from .images import MOST_COMPARED, decode_record, find_copies, read_header, unique_images
from .layouts import MAMMOGRAMS, find_layout

__all__ = ["check_dataset", "check_stain"]


def check_dataset(
    dataset: Dataset, *, decode: bool = False, on_image: Callable[[], None] | None = None
) -> list[Finding]:
    """Check a dataset against its layout.

    Parameters
    ----------
    dataset : Dataset
        As read.
    decode : bool
        Also decode every image, which finds truncated files; otherwise only headers are read.
    on_image : callable, optional
        Called after each image, for a progress bar.

    Returns
    -------
    list of Finding
        Those of the reader first.
    """
    findings = list(dataset.findings)
    layout = find_layout(dataset.name)
    expected = None if layout is None else layout.size
    readable = True
    for record in dataset.records:
        try:
            header = read_header(record.path)
            if expected is not None and (header.width, header.height) != expected:
                size = f"{header.width}x{header.height}, published images are {expected[0]}x{expected[1]}"
                findings.append(Finding("warning", record.image_id, size))
            if header.pages > 1:
                findings.append(Finding("warning", record.image_id, f"{header.pages} pages, only the first is used"))
            if decode:
                decode_record(record)
        except ImageError as error:
            readable = False
            findings.append(Finding("error", record.image_id, str(error)))
        if on_image is not None:
            on_image()
    if readable:
        findings.extend(_repeated(dataset))
    findings.extend(_copies(dataset))
    return findings


def _repeated(dataset: Dataset) -> list[Finding]:
    try:
        unique = unique_images(dataset)
    except InputError as error:
        return [Finding("error", str(dataset.root), str(error))]
    return [Finding("warning", copy, f"the same image as {original}; used once") for copy, original in unique.repeated]


def _copies(dataset: Dataset) -> list[Finding]:
    """Name pairs that seem to show the same pixels; a note where folds that keep patients whole keep both together."""
    found = find_copies(dataset.records)
    if found is None:
        message = f"copies are not looked for among more than {MOST_COMPARED:,} images"
        return [Finding("note", str(dataset.root), message)]
    records = {record.image_id: record for record in dataset.records}
    findings = []
    for copy in found:
        first, second = records[copy.first], records[copy.second]
        label = f", under another label ({first.label} and {second.label})" if first.label != second.label else ""
        together = first.group is not None and first.group == second.group and not label
        message = (
            f"seems to show the same pixels as {copy.first} (correlation {copy.correlation:.2f} over "
            f"{copy.share:.0%} of the smaller){label}"
        )
        findings.append(Finding("note" if together else "warning", copy.second, message))
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
            f'{dataset.root}: {dataset.name} holds {images}, which have no stain; use `stain="none"` (or a '
            f"treatment: {', '.join(TREATMENTS)}) and {off}"
        )
