"""Whole slides: known by the name of their file, named wherever one is met, and never read."""

from __future__ import annotations

from pathlib import Path

_SUFFIXES = frozenset(
    {".bif", ".czi", ".isyntax", ".mrxs", ".ndpi", ".ndpis", ".scn", ".svs", ".svslide", ".vms", ".vmu", ".vsi"}
)
"""Of the files that slide scanners write, as far as their names differ from those of pictures."""

SLIDE = (
    "a whole slide, which bchisto does not read; export fields of view from it as PNG or TIFF, all at one known "
    "size of a pixel (such as 0.5 micrometres), or bring embeddings of it from another program"
)
"""What is wrong with it, and what to do instead."""


def is_slide(path: Path) -> bool:
    """Whether a file is a whole slide by its name; one that is called ``.tif`` is known by its header."""
    return path.suffix.casefold() in _SUFFIXES
