"""Cells of CSV tables, escaped so that a spreadsheet does not run them as formulas.

A text that begins like a formula, and is not a number, gets an apostrophe in front, as spreadsheets mark text. So does
a text that begins with apostrophes and then like a formula. Reading removes one apostrophe, which restores the text.
"""

from __future__ import annotations

from typing import Any

_MARK = "'"
_FORMULA = frozenset("=+-@\t\r\n＝＋－＠")
"""Characters that begin a formula; spreadsheets treat full-width characters like the usual ones."""


def neutral(cell: Any) -> Any:
    """Return a cell as it is written to a table; numbers, also as text, are not changed.

    Examples
    --------
    >>> neutral("=1+1"), neutral("'=1+1"), neutral("-1.5"), neutral("benign"), neutral(-2)
    ("'=1+1", "''=1+1", '-1.5', 'benign', -2)
    """
    return _MARK + cell if isinstance(cell, str) and _is_formula(cell) else cell


def unneutral(cell: str) -> str:
    """Return the value of a cell that was read from a table, whichever program wrote it.

    Examples
    --------
    >>> unneutral("'=1+1"), unneutral("''=1+1"), unneutral("=1+1"), unneutral("'benign'")
    ('=1+1', "'=1+1", '=1+1', "'benign'")
    """
    return cell[1:] if cell[:1] == _MARK and _is_formula(cell) else cell


def _is_formula(cell: str) -> bool:
    """Return whether a cell, without leading apostrophes, begins like a formula and is not a number."""
    text = cell.lstrip(_MARK)
    if text[:1] not in _FORMULA:
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False
