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
"""Bounds (ours), far beyond those of the temperatures that are searched."""

_SHA256 = re.compile(r"[0-9a-f]{64}")

Check = Callable[[Any], bool]


def check_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Check what the manifest of either road says.

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
        "members": (_are_hashes, "members with a hash each"),
        "classes": (_are_classes, f"2 to {limits.MODEL_CLASSES:,} different names"),
        "protocol": (_is_text, "a text"),
        "banners": (_are_texts, "texts"),
        "calibration": (_is_calibration, f"a temperature from {_TEMPERATURES[0]:g} to {_TEMPERATURES[1]:,.0f}"),
        "two_class": (lambda found: _is_view(found, manifest["classes"]), "positive classes with thresholds"),
        "training": (_are_images, "a number of images and hashes of them"),
        "unsure": (_is_rule, "a confidence with what lies on both sides of it"),
    }
    unknown = ("calibration", "two_class", "training", "unsure")
    for name, (check, wanted) in checks.items():
        if name not in manifest:
            raise BundleError(f"{path}: its manifest has no {name}; the bundle was altered")
        if (found := manifest[name]) is None and name in unknown:
            continue
        if not check(found):
            raise BundleError(f"{path}: its manifest does not hold {wanted} as {name}; the bundle was altered")


def _is_text(found: Any) -> bool:
    return isinstance(found, str)


def _is_hash(found: Any) -> bool:
    return isinstance(found, str) and _SHA256.fullmatch(found) is not None


def _is_number(found: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    try:
        real = isinstance(found, (int, float)) and not isinstance(found, bool) and math.isfinite(found)
    except OverflowError:  # a whole number that no float holds
        return False
    return real and least <= found <= most


def _is_share(found: Any) -> bool:
    return _is_number(found, 0, 1)


def _is_count(found: Any) -> bool:
    return isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 10**9


def _are(found: Any, check: Check) -> bool:
    return isinstance(found, list) and all(map(check, found))


def _has(found: Any, **checks: Check) -> bool:
    """Whether it is a mapping whose values hold; one that is missing is None."""
    return isinstance(found, dict) and all(check(found.get(name)) for name, check in checks.items())


def _are_texts(found: Any) -> bool:
    return _are(found, _is_text)


def _are_hashes(found: Any) -> bool:
    return isinstance(found, dict) and all(map(_is_hash, found.values()))


def _is_name(found: Any) -> bool:
    """Whether a table can hold a name: text of UTF-8 without null characters."""
    return _is_text(found) and bool(found.strip()) and "\0" not in found and readable_name(found) == found


def _are_classes(found: Any) -> bool:
    different = _are(found, _is_name) and len(set(found)) == len(found)
    return different and 2 <= len(found) <= limits.MODEL_CLASSES


def _is_calibration(found: Any) -> bool:
    return _has(found, temperature=lambda value: _is_number(value, *_TEMPERATURES))


def _is_view(found: Any, classes: list[str]) -> bool:
    whole = _has(
        found,
        positive=lambda names: _are_texts(names) and len(names) > 0,
        rule=lambda rule: rule in TWO_CLASS_RULES,
        thresholds=lambda points: _are(points, _is_number),
        wanted=lambda points: _are(points, lambda one: _has(one, sensitivity=_is_share, threshold=_is_number)),
    )
    try:
        if whole:
            positive_mask(classes, found["positive"])
    except InputError:
        return False
    return whole and bool(found["thresholds"] or found["wanted"])


def _are_images(found: Any) -> bool:
    return _has(found, images=_is_count, sha256=lambda hashes: _are(hashes, _is_hash))


def _is_rule(found: Any) -> bool:
    return _has(
        found,
        unit=lambda unit: unit in ("group", "image"),
        below=_is_share,
        share=_is_share,
        calibrated=lambda flag: isinstance(flag, bool),
        sure=_is_side,
        unsure=_is_side,
    )


def _is_side(found: Any) -> bool:
    whole = _has(found, n=_is_count, right=_is_count, interval=_is_interval)
    return whole and found["right"] <= found["n"] > 0


def _is_interval(found: Any) -> bool:
    return found is None or (_are(found, lambda end: _is_number(end, -0.01, 1.01)) and len(found) == 2)
