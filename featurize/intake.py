"""What is refused before any work: dataset errors, unreadable headers, images smaller than a crop."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ..data import MAMMOGRAMS, Dataset, ImageRecord, read_header, scaled_side
from ..errors import ImageError, InputError, MissingInputError
from ..jobs import default_jobs
from ..stains import TREATMENTS
from .settings import FeaturizeSettings, View

__all__ = ["check_headers", "check_stain", "only_listed", "report_findings"]

_log = logging.getLogger(__name__)


def report_findings(dataset: Dataset) -> None:
    """Refuse a dataset with errors, and log its warnings.

    Raises
    ------
    InputError
        See `Dataset.raise_errors`.
    """
    dataset.raise_errors()
    for finding in dataset.findings:
        log = _log.warning if finding.level == "warning" else _log.debug
        log("%s", finding)


def check_stain(dataset: Dataset, settings: FeaturizeSettings) -> None:
    """Refuse stain work on images that have no stain.

    Raises
    ------
    InputError
        Mammograms with a stain method or a colour range.
    """
    unstained = settings.stain in ("none", *TREATMENTS) and settings.color_range == (1.0, 1.0)
    if dataset.name in MAMMOGRAMS and not unstained:
        raise InputError(
            f"{dataset.root}: {dataset.name} holds grey mammograms, which have no stain; use --stain none (or a "
            f"treatment: {', '.join(TREATMENTS)}) and --color-range 1 1"
        )


def only_listed(dataset: Dataset, path: Path) -> Dataset:
    """Keep the images that a CSV lists in its column ``image_id``.

    Raises
    ------
    InputError
        No such file or column, or an image that is not here.
    """
    if not path.is_file():
        raise MissingInputError(f"--only {path}: no such file")
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            if "image_id" not in (reader.fieldnames or ()):
                raise InputError(f"--only {path}: the header must have a column image_id")
            wanted = {row["image_id"] for row in reader}
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--only {path}: not a UTF-8 CSV file ({error})") from error
    absent = sorted(wanted - {record.image_id for record in dataset.records})
    if absent or not wanted:
        first = f", first {absent[0]}" if absent else ""
        raise InputError(f"--only {path}: {len(absent)} of its {len(wanted)} images are not here{first}")
    return replace(dataset, records=tuple(record for record in dataset.records if record.image_id in wanted))


def check_headers(
    records: Sequence[ImageRecord], *, views: Sequence[View], skip_errors: bool
) -> tuple[tuple[ImageRecord, ...], tuple[tuple[str, str], ...]]:
    """Read every header before the first unit of work.

    Parameters
    ----------
    records : sequence of ImageRecord
    views : sequence of View
        Every crop must fit into every image.
    skip_errors : bool
        Leave out images that cannot work, instead of refusing them.

    Returns
    -------
    tuple of ImageRecord, tuple of (image_id, message)
        The images that can work, and those left out.

    Raises
    ------
    InputError
        An image that cannot work, or none that can.
    """

    def problem(record: ImageRecord) -> str | None:
        path = record.path
        try:
            header = read_header(path)
        except ImageError as error:
            return str(error)
        left, top, right, bottom = record.box or (0, 0, header.width, header.height)
        for view in views:
            width, height = scaled_side(right - left, view.scale), scaled_side(bottom - top, view.scale)
            if (message := view.misfit(path, width=width, height=height)) is not None:
                return message
        return None

    with ThreadPoolExecutor(default_jobs()) as pool:
        problems = list(pool.map(problem, records))
    refused = tuple((record.image_id, text) for record, text in zip(records, problems, strict=True) if text is not None)
    if refused and not skip_errors:
        more = f" ({len(refused) - 1} more like it; --skip-errors leaves them out)" if len(refused) > 1 else ""
        raise InputError(refused[0][1] + more)
    for _, text in refused:
        _log.warning("left out: %s", text)
    bad = dict(refused)
    kept = tuple(record for record in records if record.image_id not in bad)
    if refused and not kept:
        raise InputError(f"none of the {len(records)} images can be used; first: {refused[0][1]}")
    return kept, refused
