"""A sheet as files: a page that loads nothing, pictures, style and script within it; and an Excel workbook."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core import DependencyError, ImageError, how_to_install
from ..data import decode_record
from ..jobs import atomic_output, default_jobs, map_ahead_in_threads
from ..report import render_page, thumbnail
from .sheet import NOT_A_DEVICE, Sheet, SheetRow

_PICTURE = 160
"""Longest side of a picture, pixels: some 6 kB."""

_MOST_PICTURES = 2000
"""Images that are shown: some 15 MB of page."""

_MOST_ROWS = 10_000
"""Rows that a browser still sorts at once."""

_WIDTHS = (44, 16, 12, 10, 22)
"""Of the columns of the workbook."""


def write_html(sheet: Sheet, path: Path) -> None:
    """Write the page."""
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
    """Return a picture as a data address; none where the file has gone or changed since it was predicted."""
    try:
        return thumbnail(decode_record(row.record), side=_PICTURE)
    except (ImageError, OSError):
        return ""


def import_openpyxl() -> Any:
    """Import openpyxl.

    Raises
    ------
    DependencyError
        It is not installed.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise DependencyError("{xlsx}: openpyxl is missing: {}", how_to_install("excel")) from error
    return openpyxl


def write_xlsx(sheet: Sheet, path: Path) -> None:
    """Write the workbook: the rows, to sort and filter, and beside them what a reader must know.

    A text is a text in it, whatever it begins with.
    """
    openpyxl = import_openpyxl()
    book = openpyxl.Workbook()
    images = book.active
    images.title = "Images"
    _put(images, 1, ["Image", "Class", "Confidence", "Unsure", "Next", *map(str.capitalize, sheet.columns)])
    for number, row in enumerate(sheet.rows, start=2):
        unsure = "no rule" if row.unsure is None else "unsure" if row.unsure else ""
        _put(images, number, [row.image, row.predicted, row.confidence, unsure, row.next_class, *row.further])
        images.cell(number, 3).number_format = "0.0%"
    images.freeze_panes = "B2"
    images.auto_filter.ref = images.dimensions
    images.print_title_rows = "1:1"
    for letter, width in zip("ABCDE", _WIDTHS, strict=True):
        images.column_dimensions[letter].width = width
    for cell in images[1]:
        cell.font = openpyxl.styles.Font(bold=True)
    about = book.create_sheet("About")
    lines = (
        *(("Note", banner) for banner in sheet.banners),
        *(("", line) for line in (*sheet.paragraphs, NOT_A_DEVICE)),
        *sheet.facts,
        *((f"Not predicted: {image}", message) for image, message in sheet.failures),
    )
    for number, (name, text) in enumerate(lines, start=1):
        _put(about, number, [name, text])
        about.cell(number, 2).alignment = openpyxl.styles.Alignment(wrap_text=True, vertical="top")
    about.column_dimensions["A"].width, about.column_dimensions["B"].width = 28, 110
    with atomic_output(path) as temporary, temporary.open("wb") as handle:
        book.save(handle)


def _put(page: Any, number: int, values: Sequence[str | float]) -> None:
    """Write a row; what begins like a formula is marked as the text that it is."""
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    for column, value in enumerate(values, start=1):
        cell = page.cell(number, column)
        if isinstance(value, str):
            cell.value = ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", value)
            cell.data_type = "s"
            cell.quotePrefix = value.startswith(("=", "+", "-", "@"))
        else:
            cell.value = value
