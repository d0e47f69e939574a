"""The key of a thing that is made: the SHA-256 of all that changes it, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def key_of(kind: str, **content: Any) -> str:
    """Return the key of a thing.

    Settings go in as whole values in their plain form, never as a hand-picked list: what is left out of a key gives
    stale results. Weights, images and models go in by their hashes, so that where a file lies changes nothing.

    Parameters
    ----------
    kind : str
        What is made, and the version of the code that makes it: ``"model 1"``. A change of the code that changes
        results is another version.
    **content : JSON-ready values
        All that decides the thing.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    TypeError, ValueError
        Something is no JSON, or a number is not finite.

    Examples
    --------
    >>> key_of("row 1", pool=3, view=(0.5, 400)) == key_of("row 1", view=[0.5, 400.0], pool=3.0)
    True
    >>> key_of("row 1", pool=3) == key_of("row 2", pool=3)
    False
    """
    text = json.dumps([kind, _canonical(content)], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Return a value with its whole numbers as such: Python callers write 3 where the command line reads 3.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _canonical(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return value
