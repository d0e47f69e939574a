"""Tables for people to read: as text for a terminal, as HTML, and as data frames for a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import islice
from typing import Any

from .errors import DependencyError

MOST_SHOWN = 20
"""Rows of a table that a notebook shows (bchisto's choice)."""


def aligned(rows: Sequence[Sequence[str]], *, right: bool = True) -> list[str]:
    """Return rows as lines of text with aligned columns: the first to the left, the others to the right or left.

    Examples
    --------
    >>> aligned([["", "f1"], ["model", "9"]])
    ['       f1', 'model   9']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    marks = ["<", *">" * (len(widths) - 1)] if right else "<" * len(widths)
    form = "  ".join(f"{{:{mark}{width}}}" for mark, width in zip(marks, widths, strict=True))
    return [form.format(*row).rstrip() for row in rows]


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
    """Return an HTML table of the first `MOST_SHOWN` rows, with all texts escaped.

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
    """Return lines of text as preformatted HTML, escaped."""
    return f"<pre>{escape(chr(10).join(lines))}</pre>"
