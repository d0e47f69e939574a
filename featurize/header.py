"""The attributes of a descriptor store: read, and refused where they are not what `featurize` writes."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, StoreError
from ..formats import checked_dataset
from .embeddings import IMPORTED, LONGEST_CARD, LONGEST_TEXT, settled_facts
from .settings import MODES

LISTS = ("layers", "classes", "color_range")

_TEXT, _TEXTS, _WHOLE, _NUMBER, _NUMBERS, _TRUTH = (
    "text", "a list of texts", "a whole number", "a finite number", "a list of finite numbers", "true or false"
)  # fmt: skip
_PYTHON: dict[str, tuple[type, ...]] = {
    _TEXT: (str,), _TEXTS: (str,), _WHOLE: (int,), _NUMBER: (int, float), _NUMBERS: (int, float), _TRUTH: (bool,)
}  # fmt: skip
_OF_EMBEDDINGS = (IMPORTED, "dim", "features_sha256")
_NOT_ALWAYS = {
    "geometry", "pad", "road", "selection", "failures", "runner", "card", "network", "first_augmentation",
    *_OF_EMBEDDINGS,
}  # fmt: skip
"""Attributes that 0.1 did not write, and those of encoders of your own, of parts, and of embeddings."""

_ATTRIBUTES = {
    name: (form, name not in _NOT_ALWAYS)
    for form, names in {
        _TEXT: "kind encoder weights weights_sha256 weights_file_sha256 stain stain_fallback mode engine precision "
        "dataset images_sha256 backend bchisto_version road selection failures pad imported features_sha256 runner "
        "card network",
        _TEXTS: "layers classes",
        _WHOLE: "schema_version crop crops augmentations batch_size seed geometry dim first_augmentation",
        _NUMBER: "scale pool",
        _NUMBERS: "color_range",
        _TRUTH: "synthetic",
    }.items()
    for name in names.split()
}
"""Attribute to what it is, and whether every store has it; others are not read."""

_JSON = ("selection", "failures", IMPORTED)
_LONGEST_JSON, _MOST_VALUES = 64 * 1024**2, 10_000
"""Bounds on the letters of what holds a text for each image that failed, and on the values of a list (ours)."""

_MOST_AUGMENTATIONS = 1_000_000
MOST_CROPS = 200_000
"""Bounds on rows and on crops of an image (ours): the published experiment takes 6,000 crops."""

_BOUNDS: dict[str, tuple[float, float]] = {
    "scale": (0.01, 16.0),
    "crop": (32, 8192),
    "crops": (1, MOST_CROPS),
    "batch_size": (1, 4096),
    "pool": (1.0, 1000.0),
    "color_range": (0.0, 100.0),
    "seed": (0, 2**63 - 1),
}
"""Bounds on what makes descriptors (ours), so that one image fits into memory."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def past_use(values: Mapping[str, Any]) -> str | None:
    """Return the first setting that is past all use, of a store or of a bundle; None where there is none.

    Examples
    --------
    >>> past_use({"scale": 0.5, "crop": 10**6}), past_use({"color_range": (0.7, 1.3)})
    ('crop', None)
    """
    for name, (least, most) in _BOUNDS.items():
        found = values.get(name, least)
        ends = found if isinstance(found, list | tuple) else [found]
        if not all(least <= end <= most for end in ends):
            return name
    return None


def read_header(file: Any) -> dict[str, Any]:
    """Return the attributes of an open store or part that we know, lists as lists."""
    header: dict[str, Any] = {}
    for key in file.attrs:
        if key in _ATTRIBUTES:
            value = file.attrs[key]
            header[key] = [_plain(one) for one in value] if key in LISTS else _plain(value)
    if "failures" in file:
        header["failures"] = checked_dataset(file, "failures", holds="text", shape=())[()].decode()
    return header


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def check_header(header: Mapping[str, Any]) -> None:
    """Refuse attributes that are missing, of another type, too long or out of range; the message names the attribute.

    Raises
    ------
    StoreError
    """
    imported = header.get("mode") == IMPORTED
    for name, (form, needed) in _ATTRIBUTES.items():
        if name not in header:
            if needed or (imported and name in _OF_EMBEDDINGS):
                raise StoreError(f"there is no attribute {name}")
            continue
        _check_form(name, header[name], form)
    if not 1 <= header["augmentations"] <= _MOST_AUGMENTATIONS:
        raise StoreError(f"the attribute augmentations is {header['augmentations']}")
    if len(set(header["classes"])) < len(header["classes"]):
        raise StoreError("the attribute classes names a class twice")
    if header["mode"] not in (*MODES, IMPORTED):
        raise StoreError(f"the attribute mode is not one of {', '.join((*MODES, IMPORTED))}")
    if len(header["color_range"]) != 2 or not 0 < header["color_range"][0] <= header["color_range"][1]:
        raise StoreError("the attribute color_range is not two positive factors, the lower one first")
    of_images = ("crop", "crops", "batch_size")
    wrong = past_use({name: value for name, value in header.items() if not (imported and name in of_images)})
    wrong = wrong or next((name for name in of_images if imported and header[name]), None)
    if wrong:
        raise StoreError(f"the attribute {wrong} is {header[wrong]}, past all use")
    failures = json.loads(header.get("failures", "[]"))
    if not isinstance(failures, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair) for pair in failures
    ):
        raise StoreError("the attribute failures is no list of images and messages")
    if not isinstance(json.loads(header.get("selection", "null")), dict | None):
        raise StoreError("the attribute selection holds no options")
    with contextlib.suppress(ValueError):  # a card that says nothing is none; one nested without end is refused
        json.loads(header.get("card", "{}"))
    if imported:
        _check_imported(header)


def _check_form(name: str, value: Any, form: str) -> None:
    values = value if form in (_TEXTS, _NUMBERS) and isinstance(value, list) else [value]
    kinds = _PYTHON[form]
    if name == "classes" and not values:  # no image has a label
        return
    fits = bool(values) and all(isinstance(v, kinds) and (bool in kinds or not isinstance(v, bool)) for v in values)
    if not fits or (form in (_NUMBER, _NUMBERS) and not np.isfinite(values).all()):
        raise StoreError(f"the attribute {name} is not {form}")
    longest = _LONGEST_JSON if name in _JSON else LONGEST_CARD if name == "card" else LONGEST_TEXT
    if len(values) > _MOST_VALUES or any(isinstance(v, str) and len(v) > longest for v in values):
        raise StoreError(f"the attribute {name} is too long")


def _check_imported(header: Mapping[str, Any]) -> None:
    """Check what a store says of the embeddings that it was made of."""
    if not _SHA256.fullmatch(header["features_sha256"]):
        raise StoreError("the attribute features_sha256 is no SHA-256")
    about = json.loads(header[IMPORTED])
    if not isinstance(about, dict) or not isinstance(about.get("facts"), dict):
        raise StoreError(f"the attribute {IMPORTED} says nothing of embeddings")
    for name in ("source", "pooled"):
        if not isinstance(about.get(name), str) or len(about[name]) > LONGEST_TEXT:
            raise StoreError(f"the attribute {IMPORTED} names no {name}")
    try:
        settled_facts(Path(IMPORTED), about["facts"])
    except InputError as error:
        raise StoreError("the attribute {}", error) from error
