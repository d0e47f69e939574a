"""What figures rest on: a digest of each part of the science, of values of fixed synthetic images.

``tools/benchmarks/science.py`` measures the values, and a test fails if the code gives others than those kept here.
"""

from __future__ import annotations

import hashlib
import json
from importlib import resources


def science() -> dict[str, str]:
    """Return the digest of each part: stains, features, folds, models, metrics."""
    text = (resources.files(__package__) / "published" / "science.json").read_text(encoding="utf-8")
    return {
        part: hashlib.sha256(json.dumps(values).encode()).hexdigest()[:8]
        for part, values in json.loads(text).items()
    }


def as_text(digests: dict[str, str]) -> str:
    """Return digests as a cell of a table: ``features:01234567 stains:89abcdef``."""
    return " ".join(f"{part}:{digest}" for part, digest in sorted(digests.items()))
