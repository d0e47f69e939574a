"""What is refused before any work: unreadable headers, images smaller than a crop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from ..data import ImageRecord, read_header, scaled_side
from ..errors import ImageError, InputError
from ..jobs import default_jobs

_log = logging.getLogger(__name__)


class Needs(Protocol):
    """What an image must be large enough for, at a scale: a `View`, or patches."""

    @property
    def scale(self) -> float:
        """Return the scale at which it looks at the image."""
        ...

    def misfit(self, path: Path, *, width: int, height: int) -> str | None:
        """Say what is wrong with an image of this size after scaling."""


def check_headers(
    records: Sequence[ImageRecord], *, needs: Sequence[Needs], skip_errors: bool
) -> tuple[tuple[ImageRecord, ...], tuple[tuple[str, str], ...]]:
    """Read every header before the first unit of work.

    Parameters
    ----------
    records : sequence of ImageRecord
    needs : sequence of Needs
        Every crop must fit into every image; anything with a `scale` and a `misfit` will do.
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
        for need in needs:
            width, height = scaled_side(right - left, need.scale), scaled_side(bottom - top, need.scale)
            if (message := need.misfit(path, width=width, height=height)) is not None:
                return message
        return None

    with ThreadPoolExecutor(default_jobs()) as pool:
        problems = list(pool.map(problem, records))
    refused = tuple((record.image_id, text) for record, text in zip(records, problems, strict=True) if text is not None)
    if refused and not skip_errors:
        more = f" ({len(refused) - 1} more like it; `skip_errors` leaves them out)" if len(refused) > 1 else ""
        raise InputError(refused[0][1] + more)
    for _, text in refused:
        _log.warning("left out: %s", text)
    bad = dict(refused)
    kept = tuple(record for record in records if record.image_id not in bad)
    if refused and not kept:
        raise InputError(f"none of the {len(records)} images can be used; first: {refused[0][1]}")
    return kept, refused
