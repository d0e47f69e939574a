"""Cells of CSV tables: none that we write is run as a formula by a spreadsheet, and each reads back as it was.

A text that begins with a sign of a formula, and is no number, gets an apostrophe before it, with which spreadsheets
mark a text. So does one that begins with apostrophes and such a sign, so that reading, which takes one apostrophe away,
is never in doubt.
"""

from __future__ import annotations

from typing import Any

_MARK = "'"
_FORMULA = frozenset("=+-@\t\r\n＝＋－＠")
"""Signs with which a formula begins; spreadsheets take the wide ones for the narrow."""


def neutral(cell: Any) -> Any:
    """Return a cell as it is written; numbers stay as they are, also as text.

    Examples
    --------
    >>> neutral("=1+1"), neutral("'=1+1"), neutral("-1.5"), neutral("benign"), neutral(-2)
    ("'=1+1", "''=1+1", '-1.5', 'benign', -2)
    """
    return _MARK + cell if isinstance(cell, str) and _is_formula(cell) else cell


def unneutral(cell: str) -> str:
    """Return what a cell of a table means, ours or another program's.

    Examples
    --------
    >>> unneutral("'=1+1"), unneutral("''=1+1"), unneutral("=1+1"), unneutral("'benign'")
    ('=1+1', "'=1+1", '=1+1', "'benign'")
    """
    return cell[1:] if cell[:1] == _MARK and _is_formula(cell) else cell


def _is_formula(cell: str) -> bool:
    """Whether a cell, less apostrophes before it, begins like a formula and is no number."""
    text = cell.lstrip(_MARK)
    if text[:1] not in _FORMULA:
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False
