"""How figures are written for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...core import counted, listed, plural

NOTHING = "–"

Value = float | Sequence[float | None] | Sequence[float] | None


def percent(value: Value) -> str:
    """Write a share, or the two ends of an interval of one, in percent.

    Examples
    --------
    >>> percent(0.8125), percent([0.7, 0.92]), percent(None)
    ('81.2 %', '70.0 to 92.0 %', '–')
    """
    return _written(value, ".1f", times=100, unit=" %")


def span(value: Value) -> str:
    """Write the ends of an interval of a share in percent, without the sign."""
    return _written(value, ".1f", times=100)


def points(value: Value) -> str:
    """Write a difference of two shares, or the two ends of an interval of one, in percentage points with a sign."""
    return _written(value, "+.1f", times=100)


def change(value: Value) -> str:
    """Write a difference of two numbers, or the two ends of an interval of one, with a sign."""
    return _written(value, "+.3f")


def number(value: Value) -> str:
    """Write a number, or the two ends of an interval of one, with three decimals."""
    return _written(value, ".3f")


def cell(
    value: float | None, ends: Sequence[float | None] | None = None, unit: str = "percent", mark: str = "",
    between: str = "\n",
) -> str:  # fmt: skip
    """Write a figure with its interval in brackets, where it has one, on a line of its own.

    Parameters
    ----------
    value : float or None
    ends : (float, float), optional
    unit : {"percent", "number", "points", "change"}
        Of them ``points`` is a difference of shares, and ``change`` one of numbers.
    mark : str
        What stands after it, if there is a value.
    between : str
    """
    form = {"percent": percent, "number": number, "points": points, "change": change}[unit]
    return form(value) + (f"{between}({form(ends)})" if ends else "") + (mark if value is not None else "")


def p_value(p: float | None, *, sign: bool = True) -> str:
    """Write a p value with three decimals, the smallest as less than 0.001.

    Examples
    --------
    >>> p_value(0.0341), p_value(0.0341, sign=False), p_value(0.00004, sign=False)
    ('= 0.034', '0.034', '< 0.001')
    """
    if p is None:
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{'= ' * sign}{p:.3f}"


def sentence(text: str) -> str:
    """Begin a text with a capital and end it with a full stop.

    Examples
    --------
    >>> sentence("one fold"), sentence("Two folds.")
    ('One fold.', 'Two folds.')
    """
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."


def _written(value: Value, form: str, *, times: int = 1, unit: str = "") -> str:
    if value is None:
        return NOTHING
    ends = value if isinstance(value, Sequence) else [value]
    return " to ".join("∞" if end is None else format(times * end, form) for end in ends) + unit


FORMS: dict[str, Callable[..., Any]] = {
    "percent": percent, "span": span, "points": points, "number": number, "counted": counted, "listed": listed,
    "plural": plural, "sentence": sentence, "cell": cell, "p": lambda p, sign=True: p_value(p, sign=sign),
}  # fmt: skip
"""The filters of templates."""
