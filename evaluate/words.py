"""What is counted, called what it is, and the ways to what may be missing in metrics and in runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..core import counted, plural


def nested(content: Mapping[str, Any], *path: str) -> Any:
    """Return what stands in metrics under these keys, one within the other; None where there is nothing."""
    value: Any = content
    for key in path:
        value = (value or {}).get(key)
    return value


def joined_versions(records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the versions of each package, several of them side by side."""
    versions: dict[str, dict[str, None]] = {}
    for name, version in ((name, version) for record in records for name, version in record.items()):
        versions.setdefault(name, {})[str(version)] = None
    return {name: " and ".join(several) for name, several in versions.items()}


def name_of(metrics: Mapping[str, Any], what: str) -> str:
    """Return what a ``row``, an ``image`` or a ``group`` of a table is called: patch, image, patient, slide."""
    return str(metrics["names"][what])


def rows_of(metrics: Mapping[str, Any]) -> str:
    """Return what rows are called: what they are about, or predictions where several rows are about one image."""
    return plural("prediction" if (metrics.get("tested") or {"most": 1})["most"] > 1 else name_of(metrics, "row"))


def images_tested(metrics: Mapping[str, Any], part: Mapping[str, Any] | None = None) -> str:
    """Count what rows are about: each image once, however many folds test it.

    Parameters
    ----------
    metrics : mapping
        Of a table.
    part : mapping, optional
        Of a subgroup of it.

    Examples
    --------
    >>> names = {"row": "image"}
    >>> images_tested({"names": names, "n": 48, "tested": {"n": 24, "least": 2, "most": 2}})
    '48 predictions of 24 images, each tested 2 times'
    >>> images_tested({"names": names, "n": 40, "tested": {"n": 24, "least": 1, "most": 3}})
    '40 predictions of 24 images, tested 1 to 3 times'
    """
    of = part or metrics
    times = of.get("tested") or {"n": of["n"], "least": 1, "most": 1}
    images = counted(times["n"], name_of(metrics, "row"))
    if times["most"] == 1:
        return images
    each, often = ("each ", "") if times["least"] == times["most"] else ("", f"{times['least']} to ")
    return f"{counted(of['n'], 'prediction')} of {images}, {each}tested {often}{times['most']} times"


def called(metrics: Mapping[str, Any], text: str) -> str:
    """Return a text on images and groups with what they are called in a table."""
    return re.sub(
        r"\b(image|group)(s?)\b",
        lambda word: plural(name_of(metrics, word[1])) if word[2] else name_of(metrics, word[1]),
        text,
    )
