"""A sheet as a page that loads nothing: pictures, style and script are within it."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path

from ..data import decode_record
from ..errors import ImageError
from ..evaluate import report_style, thumbnail
from ..jobs import atomic_output, default_jobs, map_ahead_in_threads
from .sheet import Sheet, Shown

__all__ = ["NOT_A_DEVICE", "write_html"]

NOT_A_DEVICE = (
    "For research: bchisto is not a medical device, and nothing on this page is a diagnosis. The page names images and "
    "shows them; pass it on only as you would the images."
)

_PICTURE = 160
"""Longest side of a picture, pixels (ours): some 6 kB."""

_MOST_PICTURES = 2000
"""Images that are shown (ours): some 15 MB of page."""

_MOST_ROWS = 10_000
"""Rows that a browser still sorts at once (ours)."""


def write_html(sheet: Sheet, path: Path) -> None:
    """Write the page."""
    from jinja2 import Environment, StrictUndefined

    folder = resources.files(__package__) / "templates"
    read = {name: (folder / f"sheet.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")}
    style, script = report_style() + read["css"], read["js"]
    shown = sheet.rows[:_MOST_ROWS]
    pictures = list(map_ahead_in_threads(_picture, shown[:_MOST_PICTURES], threads=default_jobs()))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(read["html"]).render(
        sheet=sheet,
        rows=list(zip(shown, [*pictures, *[""] * (len(shown) - len(pictures))], strict=True)),
        left_out=len(sheet.rows) - len(shown),
        bare=len(shown) - len(pictures),
        style=style,
        script=script,
        policy=f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(script)}",
        note=NOT_A_DEVICE,
    )
    with atomic_output(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _picture(row: Shown) -> str:
    """Return a picture as a data address; none where the file has gone or changed since it was predicted."""
    try:
        return thumbnail(decode_record(row.record), side=_PICTURE)
    except (ImageError, OSError):
        return ""


def _source(text: str) -> str:
    """Return what a content security policy calls an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
