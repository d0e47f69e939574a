"""What is counted, called what it is, and figures with their intervals, for terminals and reports."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_NAMES = {"row": "prediction", "image": "image", "group": "group"}
"""What rows, images and groups are called in metrics of 0.1, which do not say."""


NO_POSITIVES = "no positive images, so no threshold"
"""Why a wanted sensitivity has no operating point."""


def name_of(metrics: Mapping[str, Any], what: str) -> str:
    """Return what a ``row``, an ``image`` or a ``group`` of a table is called: patch, image, patient, slide."""
    return str((metrics.get("names") or _NAMES).get(what, what))


def p_value(p: float, *, sign: bool = True) -> str:
    """Write a p value with three decimals, the smallest as less than 0.001.

    Examples
    --------
    >>> p_value(0.0341), p_value(0.0341, sign=False), p_value(0.00004, sign=False)
    ('= 0.034', '0.034', '< 0.001')
    """
    return "< 0.001" if p < 0.001 else f"{'= ' * sign}{p:.3f}"


def predicted(metrics: Mapping[str, Any]) -> str:
    """Return what a row is called: what it is about, or a prediction where several rows are about one image."""
    return "prediction" if (metrics.get("tested") or {"most": 1})["most"] > 1 else name_of(metrics, "row")


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
    '24 images, each tested 2 times (48 predictions)'
    >>> images_tested({"names": names, "n": 40, "tested": {"n": 24, "least": 1, "most": 3}})
    '24 images, tested 1 to 3 times (40 predictions)'
    """
    of = part or metrics
    times = of.get("tested") or {"n": of["n"], "least": 1, "most": 1}
    said = counted(times["n"], name_of(metrics, "row"))
    if times["most"] == 1:
        return said
    each, often = ("each ", "") if times["least"] == times["most"] else ("", f"{times['least']} to ")
    return f"{said}, {each}tested {often}{times['most']} times ({counted(of['n'], 'prediction')})"


def plural(name: str) -> str:
    """Return the plural of such a name."""
    return f"{name}es" if name.endswith(("ch", "ss")) else f"{name}s"


def called(metrics: Mapping[str, Any], text: str) -> str:
    """Return a text on images and groups with what they are called in a table."""
    return re.sub(
        r"\b(image|group)(s?)\b",
        lambda found: plural(name_of(metrics, found[1])) if found[2] else name_of(metrics, found[1]),
        text,
    )


def counted(number: int, name: str) -> str:
    """Write a count with what is counted.

    Examples
    --------
    >>> counted(1, "patch"), counted(2564, "patch")
    ('1 patch', '2,564 patches')
    """
    return f"{number:,} {name if number == 1 else plural(name)}"


def listed(items: Sequence[str]) -> str:
    """Join words as a sentence does.

    Examples
    --------
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


def named_test(pair: Mapping[str, Any], unit: str) -> str:
    """Say by which test two tables were compared, and that its p is not the exact one where variances were raised.

    Parameters
    ----------
    pair : mapping
        Of `compare_tables`.
    unit : str
        What its ``unit`` is called.

    Examples
    --------
    >>> named_test({"test": "sign_flip", "units": 12, "variance_factor": 1.5}, "patient")
    'sign flips of 12 patients, variance times 1.5'
    """
    said = f"sign flips of {counted(pair['units'], unit)}" if pair.get("test") == "sign_flip" else "McNemar"
    factor = pair.get("variance_factor", 1.0)
    return said if factor == 1.0 else f"{said}, variance times {factor:g}"


def within(ends: Sequence[float] | None, *, times: int = 100, form: str = ".1f") -> str:
    """Write the ends of an interval in brackets behind its figure; nothing where there is none.

    Examples
    --------
    >>> within([0.708, 0.917])
    ' (70.8 to 91.7)'
    """
    return "" if ends is None else f" ({' to '.join(format(times * end, form) for end in ends)})"


def interval_source(metrics: Mapping[str, Any], name: str = "accuracy") -> str:
    """Say how an interval was made, and over how many of what; empty where there is none."""
    intervals = metrics.get("intervals") or {}
    if not intervals:
        return ""
    method = (intervals.get("methods") or {}).get(name, "bootstrap")
    return f"over {counted(intervals['units'], name_of(metrics, intervals['unit']))}: {called(metrics, method)}"


def interval_note(metrics: Mapping[str, Any]) -> str:
    """Say which rows name no group though others do; empty where there are none."""
    missing = (metrics.get("intervals") or {}).get("ungrouped")
    if not missing:
        return ""
    image, group = (name_of(metrics, what) for what in ("image", "group"))
    verb = "names" if missing == 1 else "name"
    return f"{counted(missing, name_of(metrics, 'row'))} {verb} no {group}: each {image} of these is a unit of its own"
