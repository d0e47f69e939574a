"""Differences between the settings of an existing result and those of a command."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_HASH = "_sha256"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the keys whose values differ, each with the old and the new value (``None`` if missing).

    Examples
    --------
    >>> differences({"crops": 20, "pool": 3}, {"crops": 10, "pool": 3})
    {'crops': (20, 10)}
    """
    keys = [*old, *(key for key in new if key not in old)]
    return {key: (old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)}


def describe_differences(
    old: Mapping[str, Any], new: Mapping[str, Any], *, texts: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return the differences as one line; a checksum is not printed, but described as "other images", for example.

    Parameters
    ----------
    old, new : mapping
    texts : mapping
        Key to the text that replaces the old and new value, if they differ.

    Examples
    --------
    >>> describe_differences({"batch_size": 4, "images_sha256": "5e43"}, {"batch_size": 3, "images_sha256": "3989"})
    'batch size 4 -> 3, other images'
    """
    return ", ".join(texts.get(key) or _difference(key, a, b) for key, (a, b) in differences(old, new).items())


def _difference(key: str, old: Any, new: Any) -> str:
    name = key.removesuffix(_HASH).replace("_", " ")
    return f"other {name}" if key.endswith(_HASH) else f"{name} {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "+".join(map(str, value)) or "none"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:12]}..."
