"""Tables as LaTeX (booktabs)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..jobs import atomic_output

__all__ = ["latex_table", "write_latex"]

_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


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


def write_latex(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table as LaTeX, atomically."""
    with atomic_output(path) as temporary:
        temporary.write_text(latex_table(header, rows) + "\n", encoding="utf-8")
