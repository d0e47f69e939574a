"""What is refused before any work: dataset errors, unreadable headers, images smaller than a crop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ..data import Dataset, read_header, scaled_side
from ..errors import ImageError, InputError
from ..jobs import default_jobs
from .settings import View

__all__ = ["check_headers", "report_findings"]

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


def check_headers(
    dataset: Dataset, *, views: Sequence[View], skip_errors: bool
) -> tuple[Dataset, tuple[tuple[str, str], ...]]:
    """Read every header before the first unit of work.

    Parameters
    ----------
    dataset : Dataset
    views : sequence of View
        Every crop must fit into every image.
    skip_errors : bool
        Leave out images that cannot work, instead of refusing them.

    Returns
    -------
    Dataset, tuple of (image_id, message)
        The images that can work, and those left out.

    Raises
    ------
    InputError
        An image that cannot work, or none that can.
    """

    def problem(path: Path) -> str | None:
        try:
            header = read_header(path)
        except ImageError as error:
            return str(error)
        for view in views:
            width, height = scaled_side(header.width, view.scale), scaled_side(header.height, view.scale)
            if min(width, height) < view.crop:
                return (
                    f"{path}: {width}x{height} at scale {view.scale} is smaller than the crop of {view.crop}; "
                    "use a smaller --view"
                )
        return None

    with ThreadPoolExecutor(default_jobs()) as pool:
        problems = list(pool.map(problem, [record.path for record in dataset.records]))
    refused = tuple(
        (record.image_id, text) for record, text in zip(dataset.records, problems, strict=True) if text is not None
    )
    if refused and not skip_errors:
        more = f" ({len(refused) - 1} more like it; --skip-errors leaves them out)" if len(refused) > 1 else ""
        raise InputError(refused[0][1] + more)
    for _, text in refused:
        _log.warning("left out: %s", text)
    bad = dict(refused)
    kept = tuple(record for record in dataset.records if record.image_id not in bad)
    if not kept:
        raise InputError(f"{dataset.root}: none of the {len(dataset)} images can be used; first: {refused[0][1]}")
    return replace(dataset, records=kept), refused
