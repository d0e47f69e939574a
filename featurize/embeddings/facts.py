"""Facts about embeddings, such as which network made them, of what and how, and the forms in which files state them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ...core import Content, Entries, InputError, readable_name
from ...core.formats import fits, is_text, limits

UNKNOWN = "unknown"
"""Name of an encoder or weights that a file does not name."""

IMPORTED = "imported"
"""Mode of a feature file that was made from embeddings, and the attribute that describes their origin."""


def is_name(value: Any, longest: int = limits.ID_LETTERS) -> bool:
    """Return whether a value is text that tables and HDF5 can hold."""
    return is_text(value, longest) and "\0" not in value and readable_name(value) == value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**31


KIND_FACTS = {
    "encoder": is_name,
    "layers": [is_name],
    "weights_sha256": is_name,
    "scale": _is_number,
    "unit": is_name,
    "crop": _is_number,
    "pool": _is_number,
    "color_range": [_is_number],
    "stain": is_name,
    "mode": is_name,
    "pad": is_name,
}
"""Facts, and their forms, that must be equal if embeddings are to be of one kind. Unknown facts are not compared."""

FACTS = {
    **KIND_FACTS,
    "weights": is_name,
    "crops": _is_number,
    "dataset": is_name,
    "synthetic": bool,
    "classes": [is_name],
    "runner": is_name,
    "card": lambda value: is_name(value, limits.CARD_LETTERS),
    "network": is_name,
    "pooled": is_name,
}
"""Facts, and their forms, that are kept with embeddings if known. The card names the licence of the weights."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def settled_facts(path: Path, stated: Entries) -> Content:
    """Return the facts whose names are in `FACTS`, checked.

    Raises
    ------
    InputError
        A fact is of another type, too long, or not storable in HDF5; or a class is repeated.
    """
    facts = {
        name: stated[name] for name in FACTS if stated.get(name) not in (None, "", UNKNOWN, [])
    }
    for name, value in facts.items():
        is_valid = fits(value, FACTS[name]) and len(str(value)) <= limits.CARD_LETTERS
        if is_valid and name == "classes":
            is_valid = len(set(value)) == len(value)
        if not is_valid:
            raise InputError(f"{path}: its attribute {name} is not understood: {str(value)[:50]}")
    return facts


def header_facts(header: Entries) -> Content:
    """Return the facts in the header of a feature file; for imported embeddings, those of their file."""
    if header.get("mode") == IMPORTED:
        origin = header[IMPORTED]
        return {**origin["facts"], "pooled": origin["pooled"]}
    return {name: header[name] for name in FACTS if name in header}


def rows_of(facts: Entries) -> str:
    """Return what rows describe: whole images, or tiles and how these were pooled, without their numbers.

    Examples
    --------
    >>> rows_of({}), rows_of({"pooled": "mean of 3 to 9 fields"}), rows_of({"pooled": "mean of tiles"})
    ('whole images', 'the mean of tiles', 'the mean of tiles')
    """
    pooled = facts.get("pooled")
    if not pooled:
        return "whole images"
    return f"the {pooled.rsplit(' of ', 1)[0]} of tiles"


_IMPORTED = {
    IMPORTED: {"facts": dict, "source": is_text, "pooled": is_text},
    "encoder": is_text,
    "weights_sha256": is_text,
    "dim": lambda length: type(length) is int,
    "features_sha256": lambda digest: bool(_SHA256.fullmatch(str(digest))),
}
"""Settings of a feature file that was made from embeddings, and their forms."""


def check_imported(settings: Entries) -> None:
    """Check the settings of a feature file that was made from embeddings."""
    for name, form in _IMPORTED.items():
        if not fits(settings[name], form):
            raise InputError(f"{name} does not fit: {str(settings[name])[:50]}")
    settled_facts(Path(IMPORTED), settings[IMPORTED]["facts"])
