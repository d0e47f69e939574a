"""Check the manifest of a model file, which may come from an untrusted source, before it is used."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import BundleError, readable_name
from ..formats import limits

_TEMPERATURES = (1e-3, 1e3)
"""Smallest and largest permitted temperature, far beyond the range in which temperatures are fitted."""

_SHA256 = re.compile(r"[0-9a-f]{64}")

_RULES = ("sum", "max")
"""How a model file may join the probabilities of several positive classes."""

_UNKNOWN = ("calibration", "two_class", "training", "unsure")
"""Entries that may be null, which means unknown."""


def check_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Check the manifest of a model file.

    Parameters
    ----------
    path : Path
        The model file, for messages.
    manifest : mapping

    Raises
    ------
    BundleError
        An entry is missing, of the wrong type, out of range, or contradicts another entry.
    """
    side = {"n": _is_count, "right": _is_count, "interval": _is_interval}
    forms: dict[str, tuple[Any, str]] = {
        "models": (("boosted", "cnn"), "boosted or cnn"),
        "members": (_are_hashed, "members with a hash each"),
        "classes": (_are_classes, f"2 to {limits.MODEL_CLASSES:,} different names"),
        "protocol": (_is_text, "a text"),
        "banners": ([_is_text], "texts"),
        "calibration": (
            {"temperature": lambda value: _is_number(value, *_TEMPERATURES)},
            f"a temperature from {_TEMPERATURES[0]:g} to {_TEMPERATURES[1]:,.0f}",
        ),
        "two_class": (lambda view: _is_view(view, manifest["classes"]), "positive classes with thresholds"),
        "training": ({"images": _is_count, "sha256": [_is_hash]}, "a number of images and hashes of them"),
        "unsure": (
            {
                "unit": ("group", "image"), "below": _is_share, "share": _is_share,
                "calibrated": lambda flag: isinstance(flag, bool),
                "sure": lambda counts: _fits(counts, side) and counts["right"] <= counts["n"] > 0,
                "unsure": lambda counts: _fits(counts, side) and counts["right"] <= counts["n"] > 0,
            },
            "a confidence with the counts on both sides of it",
        ),
    }  # fmt: skip
    for name, (form, expected) in forms.items():
        if name not in manifest:
            raise BundleError(f"{path}: its manifest has no {name}; the model file is corrupt")
        if not (_fits(manifest[name], form) or (manifest[name] is None and name in _UNKNOWN)):
            raise BundleError(f"{path}: its manifest does not hold {expected} as {name}; the model file is corrupt")


def _fits(value: Any, form: Any) -> bool:
    """Whether a value has a form. A form is a function, a tuple of choices, a list of one form, or a dict of forms."""
    if isinstance(form, dict):
        return isinstance(value, dict) and all(_fits(value.get(name), inner) for name, inner in form.items())
    if isinstance(form, list):
        return isinstance(value, list) and all(_fits(item, form[0]) for item in value)
    return bool(form(value)) if callable(form) else value in form


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _are_hashed(members: Any) -> bool:
    return isinstance(members, dict) and all(map(_is_hash, members.values()))


def _is_number(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    try:
        real = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False
    return real and least <= value <= most


def _is_share(value: Any) -> bool:
    return _is_number(value, 0, 1)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9


def _is_interval(value: Any) -> bool:
    return value is None or (_fits(value, [lambda end: _is_number(end, -0.01, 1.01)]) and len(value) == 2)


def _is_name(value: Any) -> bool:
    """Whether a value can be a name in a table: UTF-8 text that is not blank and has no null characters."""
    return _is_text(value) and bool(value.strip()) and "\0" not in value and readable_name(value) == value


def _are_classes(value: Any) -> bool:
    different = _fits(value, [_is_name]) and len(set(value)) == len(value)
    return different and 2 <= len(value) <= limits.MODEL_CLASSES


def _is_view(value: Any, classes: list[str]) -> bool:
    wanted = {"sensitivity": _is_share, "threshold": _is_number}
    form = {"positive": [_is_text], "rule": _RULES, "thresholds": [_is_number], "wanted": [wanted]}
    return (
        _fits(value, form)
        and set() < set(value["positive"]) < set(classes)
        and bool(value["thresholds"] or value["wanted"])
    )
