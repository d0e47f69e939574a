"""Contexts: how much of a mammogram around an abnormality is its image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...core import ImageError, Message
from ...core.formats import decode_image, read_header
from ...core.jobs import Progress
from ..dataset import Box, ImageRecord
from ..findings import Findings
from ..layouts import LayoutReading

CONTEXTS = ("tight", "small", "large")
"""``tight``: the box of the outline. ``small``: 50 pixels more on each side. ``large``: a box of twice the size around
its centre. The last two are those of the published system ``ddsm-masses``."""

_PADDING = 50
"""Pixels that the small context adds on each side, as published."""


def show_context(records: Sequence[ImageRecord], context: str) -> LayoutReading:
    """Widen the box of each abnormality to its context, within its mammogram.

    Parameters
    ----------
    records : sequence of ImageRecord
        Records with a `box` (DDSM), or with `frame` and `mask` (CBIS-DDSM), from which the box is computed.
    context : {"small", "large"}

    Returns
    -------
    list of ImageRecord, list of Finding
        Records whose path is the mammogram and whose box is the context. Records without a mammogram or mask are left
        out, with a finding of level error.
    """
    contexts = []
    findings = Findings()
    with Progress(total=len(records), label="finding contexts", unit="outlines") as progress:
        for number, record in enumerate(records, start=1):
            try:
                path, (left, top, right, bottom) = _outline(record)
                header = read_header(path)
            except ImageError as error:
                findings.error(record.image_id, Message("has no context: {}", error))
            else:
                across = down = _PADDING
                if context == "large":
                    across = (right - left + 1) // 2
                    down = (bottom - top + 1) // 2
                right = min(header.width, right + across)
                bottom = min(header.height, bottom + down)
                widened = (max(0, left - across), max(0, top - down), right, bottom)
                contexts.append(replace(record, path=path, box=widened))
            progress.update_to(number)
    return contexts, findings


def _outline(record: ImageRecord) -> tuple[Path, Box]:
    """Return the mammogram of a record and the box of its outline."""
    if record.box is not None:
        return record.path, record.box
    if record.frame is None or record.mask is None:
        missing = "mammogram" if record.frame is None else "mask"
        raise ImageError(
            "its {} is missing", missing, remedies=["copy it", Message("use {context:tight}")]
        )
    mask = decode_image(record.mask)[:, :, 0] > 0
    if not mask.any():
        raise ImageError(
            "{}: an empty mask",
            record.mask,
            remedies=["copy it again", Message("use {context:tight}")],
        )
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    return record.frame, (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
