"""Whole-slide images, which are recognised by their file names and never read."""

from __future__ import annotations

from pathlib import Path

_SUFFIXES = frozenset(
    {".bif", ".czi", ".isyntax", ".mrxs", ".ndpi", ".ndpis", ".scn", ".svs", ".svslide", ".vms", ".vmu", ".vsi"}
)
"""Suffixes of the files of slide scanners, except those that are also suffixes of ordinary images."""

SLIDE = (
    "a whole slide, which bchisto does not read; export fields of view from it as PNG or TIFF, all at one known "
    "size of a pixel (such as 0.5 micrometres), or bring embeddings of it from another program"
)
"""Message that explains the refusal of a whole slide and what to do instead."""


def is_slide(path: Path) -> bool:
    """Whether a file is a whole slide by its name. Whole slides named ``.tif`` are recognised by their header."""
    return path.suffix.casefold() in _SUFFIXES
