"""What the manifest of a bundle must look like, whoever wrote it: checked before anything of it is used."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..core import BundleError, InputError, readable_name
from ..evaluate import TWO_CLASS_RULES, positive_mask
from ..formats import limits

_TEMPERATURES = (1e-3, 1e3)
"""Bounds far beyond those of the temperatures that are searched."""

_SHA256 = re.compile(r"[0-9a-f]{64}")

Check = Callable[[Any], bool]


def check_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Check what the manifest of a bundle says.

    Parameters
    ----------
    path : Path
        The bundle.
    manifest : mapping

    Raises
    ------
    BundleError
        Something is missing, of another kind, out of range, or does not fit the rest.
    """
    checks: dict[str, tuple[Check, str]] = {
        "models": (lambda kind: kind in ("boosted", "cnn"), "boosted or cnn"),
        "members": (_are_hashes, "members with a hash each"),
        "classes": (_are_classes, f"2 to {limits.MODEL_CLASSES:,} different names"),
        "protocol": (_is_text, "a text"),
        "banners": (_are_texts, "texts"),
        "calibration": (_is_calibration, f"a temperature from {_TEMPERATURES[0]:g} to {_TEMPERATURES[1]:,.0f}"),
        "two_class": (lambda value: _is_view(value, manifest["classes"]), "positive classes with thresholds"),
        "training": (_are_images, "a number of images and hashes of them"),
        "unsure": (_is_rule, "a confidence with what lies on both sides of it"),
    }
    unknown = ("calibration", "two_class", "training", "unsure")
    for name, (check, wanted) in checks.items():
        if name not in manifest:
            raise BundleError(f"{path}: its manifest has no {name}; the bundle was altered")
        if (value := manifest[name]) is None and name in unknown:
            continue
        if not check(value):
            raise BundleError(f"{path}: its manifest does not hold {wanted} as {name}; the bundle was altered")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _is_number(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    try:
        real = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False
    return real and least <= value <= most


def _is_share(value: Any) -> bool:
    return _is_number(value, 0, 1)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9


def _are(value: Any, check: Check) -> bool:
    return isinstance(value, list) and all(map(check, value))


def _has(value: Any, **checks: Check) -> bool:
    """Whether it is a mapping whose values hold; one that is missing is None."""
    return isinstance(value, dict) and all(check(value.get(name)) for name, check in checks.items())


def _are_texts(value: Any) -> bool:
    return _are(value, _is_text)


def _are_hashes(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_hash, value.values()))


def _is_name(value: Any) -> bool:
    """Whether a table can hold a name: text of UTF-8 without null characters."""
    return _is_text(value) and bool(value.strip()) and "\0" not in value and readable_name(value) == value


def _are_classes(value: Any) -> bool:
    different = _are(value, _is_name) and len(set(value)) == len(value)
    return different and 2 <= len(value) <= limits.MODEL_CLASSES


def _is_calibration(value: Any) -> bool:
    return _has(value, temperature=lambda value: _is_number(value, *_TEMPERATURES))


def _is_view(value: Any, classes: list[str]) -> bool:
    whole = _has(
        value,
        positive=lambda names: _are_texts(names) and len(names) > 0,
        rule=lambda rule: rule in TWO_CLASS_RULES,
        thresholds=lambda points: _are(points, _is_number),
        wanted=lambda points: _are(points, lambda point: _has(point, sensitivity=_is_share, threshold=_is_number)),
    )
    try:
        if whole:
            positive_mask(classes, value["positive"])
    except InputError:
        return False
    return whole and bool(value["thresholds"] or value["wanted"])


def _are_images(value: Any) -> bool:
    return _has(value, images=_is_count, sha256=lambda hashes: _are(hashes, _is_hash))


def _is_rule(value: Any) -> bool:
    return _has(
        value,
        unit=lambda unit: unit in ("group", "image"),
        below=_is_share,
        share=_is_share,
        calibrated=lambda flag: isinstance(flag, bool),
        sure=_is_side,
        unsure=_is_side,
    )


def _is_side(value: Any) -> bool:
    whole = _has(value, n=_is_count, right=_is_count, interval=_is_interval)
    return whole and value["right"] <= value["n"] > 0


def _is_interval(value: Any) -> bool:
    return value is None or (_are(value, lambda end: _is_number(end, -0.01, 1.01)) and len(value) == 2)
