"""Which layout a folder or a file has."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from ..walk import walk_files
from .registry import added_layouts, built_in_layouts, get_layout
from .spec import LayoutSpec

_log = logging.getLogger(__name__)


def recognise_layout(root: Path) -> LayoutSpec:
    """Return the layout of a folder or a file: one of ours, else of another package, else the user's own.

    Parameters
    ----------
    root : Path
        Exists.
    """
    ours = built_in_layouts()
    found = _first([spec for spec in ours if not spec.fallback], root) or _first(added_layouts(), root)
    if found is None:
        found = next(spec for spec in ours if spec.fallback and spec.manifest == root.is_file())
    return get_layout(found.name)


def _first(specs: Iterable[LayoutSpec], root: Path) -> LayoutSpec | None:
    """Return the first layout that knows the folder; else the first that knows the name of a file in it."""
    manifest = root.is_file()
    fitting = [spec for spec in specs if spec.manifest == manifest]
    for spec in fitting:
        if spec.recognise is not None and spec.recognise(root):
            return spec
    by_name = [(spec, spec.recognise_name) for spec in fitting if spec.recognise_name is not None]
    if not by_name:
        return None
    skip = {name: why for spec in (*built_in_layouts(), *fitting) for name, why in spec.unopened.items()}
    # what cannot be read is named by the reader
    for path in [root] if manifest else walk_files(root, [], skip=skip, hidden=True):
        for spec, knows in by_name:
            if knows(path.name):
                _log.debug("%s: a file of %s", path, spec.name)
                return spec
    return None
