"""What the manifest of a bundle must look like, whoever wrote it: checked before anything of it is used."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import BundleError, InputError
from ..evaluate import TWO_CLASS_RULES, positive_mask

_MOST_CLASSES = 1_000
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
        "members": (lambda found: _is_mapping(found, _is_hash), "members with a hash each"),
        "classes": (_are_classes, f"2 to {_MOST_CLASSES:,} different names"),
        "protocol": (_is_text, "a text"),
        "banners": (_are_texts, "texts"),
        "calibration": (_is_calibration, f"a temperature from {_TEMPERATURES[0]:g} to {_TEMPERATURES[1]:,.0f}"),
        "two_class": (lambda found: _is_view(found, manifest["classes"]), "positive classes with thresholds"),
        "training": (_are_images, "a number of images and hashes of them"),
        "unsure": (_is_rule, "a confidence with what lies on both sides of it"),
    }
    late = ("two_class", "training", "unsure")  # not in bundles of 0.1
    for name, (check, wanted) in checks.items():
        if name not in manifest and name not in late:
            raise BundleError(f"{path}: its manifest has no {name}; the bundle was altered")
        if (found := manifest.get(name)) is None and name in (*late, "calibration"):
            continue
        if not check(found):
            raise BundleError(f"{path}: its manifest does not hold {wanted} as {name}; the bundle was altered")


def _is_text(found: Any) -> bool:
    return isinstance(found, str)


def _are_texts(found: Any) -> bool:
    return isinstance(found, list) and all(map(_is_text, found))


def _is_hash(found: Any) -> bool:
    return isinstance(found, str) and _SHA256.fullmatch(found) is not None


def _is_mapping(found: Any, value: Check) -> bool:
    return isinstance(found, dict) and all(map(value, found.values()))


def _is_number(found: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    try:
        real = isinstance(found, (int, float)) and not isinstance(found, bool) and math.isfinite(found)
    except OverflowError:  # a whole number that no float holds
        return False
    return real and least <= found <= most


def _is_count(found: Any) -> bool:
    return isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 10**9


def _are_classes(found: Any) -> bool:
    different = _are_texts(found) and all(map(str.strip, found)) and len(set(found)) == len(found)
    return different and 2 <= len(found) <= _MOST_CLASSES


def _is_calibration(found: Any) -> bool:
    return isinstance(found, dict) and _is_number(found.get("temperature"), *_TEMPERATURES)


def _is_view(found: Any, classes: list[str]) -> bool:
    if not isinstance(found, dict) or not _are_texts(found.get("positive")) or not found["positive"]:
        return False
    try:
        positive_mask(classes, found["positive"])
    except InputError:
        return False
    thresholds, wanted = found.get("thresholds"), found.get("wanted")
    return (
        found.get("rule") in TWO_CLASS_RULES
        and isinstance(thresholds, list)
        and all(map(_is_number, thresholds))
        and isinstance(wanted, list)
        and all(isinstance(one, dict) and _is_number(one.get("sensitivity"), 0, 1) for one in wanted)
        and all(_is_number(one.get("threshold")) for one in wanted)
        and bool(thresholds or wanted)
    )


def _are_images(found: Any) -> bool:
    if not isinstance(found, dict) or not _is_count(found.get("images")):
        return False
    hashes = [found.get(name) for name in ("pixels_sha256", "files_sha256")]
    return all(isinstance(some, list) and all(map(_is_hash, some)) for some in hashes)


def _is_rule(found: Any) -> bool:
    if not isinstance(found, dict) or found.get("unit") not in ("group", "image"):
        return False
    shares = all(_is_number(found.get(name), 0, 1) for name in ("below", "share"))
    return (
        shares and isinstance(found.get("calibrated"), bool) and all(map(_is_side, map(found.get, ("sure", "unsure"))))
    )


def _is_side(found: Any) -> bool:
    if not isinstance(found, dict) or not all(_is_count(found.get(name)) for name in ("n", "right")):
        return False
    ends = found.get("interval")
    within = ends is None or (
        isinstance(ends, list) and len(ends) == 2 and all(_is_number(end, -0.01, 1.01) for end in ends)
    )
    return within and found["right"] <= found["n"] > 0
