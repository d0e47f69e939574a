"""Texts for people: counted nouns, lists in a sentence, cells of tables, tables for a terminal, HTML and notebooks.

A text that begins like a formula, and is not a number, gets an apostrophe in front, as spreadsheets mark text. So does
a text that begins with apostrophes and then like a formula. Reading removes one apostrophe, which restores the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import islice
from typing import Any

from .errors import DependencyError


def counted(number: int, name: str) -> str:
    """Return a number with its noun, in the singular or plural.

    Examples
    --------
    >>> counted(1, "patch"), counted(2564, "patch")
    ('1 patch', '2,564 patches')
    """
    return f"{number:,} {name if number == 1 else plural(name)}"


def plural(name: str) -> str:
    """Return the plural of an English noun."""
    return f"{name}es" if name.endswith(("ch", "ss")) else f"{name}s"


def listed(items: Sequence[str]) -> str:
    """Join words with commas and "and".

    Examples
    --------
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


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
