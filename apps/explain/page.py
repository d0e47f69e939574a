"""Write the contact sheet as one HTML file that contains its pictures and style; each picture links to its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ...core import counted
from ...evaluate.report import render_page, thumbnail
from ...predict import NOT_A_DEVICE
from .explanation import Explanation

_PICTURE = 860
"""Longest side of a picture on the page, in pixels: its text stays readable, at about 60 kB."""

_MAX_PICTURES = 200
"""Largest number of pictures on the page; about 12 MB."""


@dataclass(frozen=True)
class Drawn:
    """A drawn explanation.

    Attributes
    ----------
    image : str
    title : str
        Method, class and prediction.
    file : Path
        The PNG file.
    alt : str
        Description of the drawing with its numbers, for screen readers.
    caution : str
        Limitations of the method.
    """

    image: str
    title: str
    file: Path
    alt: str
    caution: str

    @classmethod
    def of(cls, explanation: Explanation, file: Path) -> Drawn:
        """Describe an explanation and its drawing."""
        title = f"{explanation.title}, {explanation.mean}" if explanation.mean else explanation.title
        title = "; ".join([title, *explanation.notes, *filter(None, [explanation.contradiction])])
        alt = f"{explanation.image_id}: {title}."
        if explanation.values is not None:
            alt += f" {where_highest(explanation)}"
        return cls(explanation.image_id, title, file, alt, explanation.caution)


def where_highest(explanation: Explanation) -> str:
    """Describe a map in words: its range, and where it is highest. Empty without a map."""
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
    """Write the contact sheet as an HTML file."""
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
