"""The contact sheet as a page that loads nothing: pictures and style are within it, and each links to its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ..core import counted
from ..predict import NOT_A_DEVICE
from ..report import render_page, thumbnail
from .explanation import Explanation

_PICTURE = 860
"""Width of a picture on the page, pixels: its margin can be read, at some 60 kB."""

_MAX_PICTURES = 200
"""Pictures on the page: some 12 MB."""


@dataclass(frozen=True)
class Drawn:
    """An explanation with its drawing.

    Attributes
    ----------
    image : str
    title : str
        The class asked for, the prediction.
    file : Path
    alt : str
        What the drawing says, with its numbers.
    caution : str
        What it is not.
    """

    image: str
    title: str
    file: Path
    alt: str
    caution: str

    @classmethod
    def of(cls, explanation: Explanation, file: Path) -> Drawn:
        """Return an explanation in words."""
        title = f"{explanation.title}, {explanation.mean}" if explanation.mean else explanation.title
        title = "; ".join([title, *explanation.notes, *filter(None, [explanation.contradiction])])
        alt = f"{explanation.image_id}: {title}."
        if explanation.values is not None:
            alt += f" {where_highest(explanation)}"
        return cls(explanation.image_id, title, file, alt, explanation.caution)


def where_highest(explanation: Explanation) -> str:
    """Return a map in words: its ends, and where it is highest; nothing without a map."""
    values = explanation.values
    if values is None:
        return ""
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    across, down = column / values.shape[1], row / values.shape[0]
    return (
        f"{explanation.unit} from {values.min():.3g} to {values.max():.3g}, highest {100 * across:.0f} % from the left "
        f"and {100 * down:.0f} % from the top."
    )


def write_page(
    path: Path,
    *,
    title: str,
    drawn: Sequence[Drawn],
    banners: Sequence[str],
    failures: Sequence[tuple[str, str]],
    facts: Sequence[tuple[str, str]],
) -> None:
    """Write the page."""
    from PIL import Image

    rows = []
    for explained in drawn[:_MAX_PICTURES]:
        with Image.open(explained.file) as picture:
            source = thumbnail(np.asarray(picture.convert("RGB")), side=_PICTURE)
        link = quote(explained.file.relative_to(path.parent).as_posix())
        rows.append(
            {"source": source, "link": link, "alt": explained.alt, "image": explained.image, "title": explained.title}
        )
    render_page(
        path,
        "sheet.html",
        package=__package__,
        style="sheet.css",
        script="",
        title=title,
        goal="pictures",
        banners=banners,
        summary=counted(len(drawn), "picture"),
        rows=rows,
        left_out=len(drawn) - len(rows),
        caution=drawn[0].caution,
        failures=failures,
        facts=facts,
        note=NOT_A_DEVICE,
    )
