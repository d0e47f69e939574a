"""Tables for people: as CSV and LaTeX (booktabs), in columns for a terminal, in HTML and as frames for a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

from ..core import DependencyError
from ..jobs import atomic_output, write_rows

_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "\n": " ", "\r": " ", "[": "{[}", "*": "{*}", "±": "+-", "–": "--",
}  # fmt: skip
"""A bracket or star that begins a row would be read as an option of the line break before it."""

MOST_SHOWN = 20
"""Rows of a table that a notebook shows (ours)."""


def latex_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""Return a ``tabular`` with the first column left, the others right; needs ``\usepackage{booktabs}``.

    Examples
    --------
    >>> print(latex_table(["", "f1"], [["a_b", "90.0"]]))
    \begin{tabular}{lr}
    \toprule
     & f1 \\
    \midrule
    a\_b & 90.0 \\
    \bottomrule
    \end{tabular}
    """
    lines = [_row(header), r"\midrule", *map(_row, rows)]
    columns = "l" + "r" * (len(header) - 1)
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *lines, r"\bottomrule", r"\end{tabular}"])


def _row(cells: Sequence[str]) -> str:
    return " & ".join("".join(_ESCAPES.get(sign, sign) for sign in cell) for cell in cells) + r" \\"


def aligned(rows: Sequence[Sequence[str]], *, right: bool = True) -> list[str]:
    """Return rows as lines for a terminal, the first column left, the others right or left.

    Examples
    --------
    >>> aligned([["", "f1"], ["model", "9"]])
    ['       f1', 'model   9']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    marks = ["<", *">" * (len(widths) - 1)] if right else "<" * len(widths)
    form = "  ".join(f"{{:{mark}{width}}}" for mark, width in zip(marks, widths, strict=True))
    return [form.format(*row).rstrip() for row in rows]


def write_table(
    path: Path,
    header: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    shown: tuple[Sequence[str], Sequence[Sequence[str]]] | None = None,
) -> None:
    """Write a table as CSV, and as LaTeX beside it, both atomically.

    Parameters
    ----------
    path : Path
        The CSV file.
    header : sequence of str
    rows : sequence of sequence
        Cells in full precision.
    shown : (header, rows), optional
        The table as LaTeX shows it, where that is not the same.
    """
    write_rows(path, header, rows)
    with atomic_output(path.with_suffix(".tex")) as temporary:
        temporary.write_text(latex_table(*(shown or (header, rows))) + "\n", encoding="utf-8")


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
