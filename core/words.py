"""Singular and plural of nouns, and lists of words in a sentence."""

from __future__ import annotations

from collections.abc import Sequence


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
