"""Nouns in the number that is counted, and lists as a sentence has them."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, name: str) -> str:
    """Write a count with what is counted.

    Examples
    --------
    >>> counted(1, "patch"), counted(2564, "patch")
    ('1 patch', '2,564 patches')
    """
    return f"{number:,} {name if number == 1 else plural(name)}"


def plural(name: str) -> str:
    """Return the plural of such a name."""
    return f"{name}es" if name.endswith(("ch", "ss")) else f"{name}s"


def listed(items: Sequence[str]) -> str:
    """Join words as a sentence does.

    Examples
    --------
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))
