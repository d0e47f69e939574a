"""Write the prediction report as one HTML file that contains its pictures, style and script."""

from __future__ import annotations

from pathlib import Path

from ..core import ImageError
from ..core.jobs import default_jobs, map_ahead_in_threads
from ..data import decode_record
from ..evaluate.report import render_page, thumbnail
from .sheet import NOT_A_DEVICE, Sheet, SheetRow

_PICTURE = 160
"""Longest side of a picture in pixels; about 6 kB."""

_MOST_PICTURES = 2000
"""Largest number of pictures; about 15 MB."""

_MOST_ROWS = 10_000
"""Largest number of rows; a browser still sorts as many without delay."""


def write_html(sheet: Sheet, path: Path) -> None:
    """Write the prediction report."""
    shown = sheet.rows[:_MOST_ROWS]
    pictures = list(map_ahead_in_threads(_picture, shown[:_MOST_PICTURES], threads=default_jobs()))
    render_page(
        path,
        "sheet.html",
        package=__package__,
        style="sheet.css",
        script="sheet.js",
        title=sheet.title,
        goal="images",
        banners=sheet.banners,
        sheet=sheet,
        rows=list(zip(shown, [*pictures, *[""] * (len(shown) - len(pictures))], strict=True)),
        left_out=len(sheet.rows) - len(shown),
        bare=len(shown) - len(pictures),
        note=NOT_A_DEVICE,
    )


def _picture(row: SheetRow) -> str:
    """Return the picture of an image as a data URL; empty if its file can no longer be read."""
    try:
        return thumbnail(decode_record(row.record), side=_PICTURE)
    except (ImageError, OSError):
        return ""
