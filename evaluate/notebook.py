"""Results in a notebook: as tables of HTML, and as frames of pandas where that is installed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import islice
from typing import Any

from ..errors import DependencyError

MOST_SHOWN = 20
"""Rows of a table that a notebook shows (ours)."""


def as_frame(columns: Mapping[str, Any]) -> Any:
    """Return columns as a `pandas.DataFrame`.

    Raises
    ------
    DependencyError
        pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise DependencyError("a frame needs pandas, which is not installed: pip install pandas") from error
    return pandas.DataFrame(dict(columns))


def html_table(caption: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table of HTML, its texts escaped; of many rows the first `MOST_SHOWN`.

    Examples
    --------
    >>> html_table("1 image", ["image"], [["<b>"]]).partition("<tbody>")[2]
    '<tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in islice(rows, MOST_SHOWN)
    )
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_lines(lines: Iterable[str]) -> str:
    """Return lines of a terminal as HTML, escaped."""
    return f"<pre>{escape(chr(10).join(lines))}</pre>"
