"""Tables for people: as CSV for a spreadsheet, as LaTeX (booktabs) beside it, and in columns for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..jobs import atomic_output, write_rows

_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "\n": " ", "\r": " ", "[": "{[}", "*": "{*}", "±": "+-", "–": "--",
}  # fmt: skip
"""A bracket or star that begins a row would be read as an option of the line break before it."""


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
