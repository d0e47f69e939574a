"""Inside the room: the table lies below images, these below layouts, mammograms and folds; nothing imports upwards."""

import ast
from pathlib import Path

import bchisto.data
import pytest

HERE = Path(bchisto.data.__file__).parent
PARTS = ("images", "layouts", "mammograms", "folds", "synthetic")
ABOVE = ("read", "check", "labels", "selection")
"""Modules of the room itself that use its parts; all others are the table, and use none."""


def level(name):
    """Return how high a part or a module of the room lies."""
    return PARTS.index(name) + 1 if name in PARTS else 9 if name in ABOVE else 0


def arrows(file):
    """Yield the part or module of the room that each import of a file names."""
    depth = len(file.relative_to(HERE).parts)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from ((name.partition(".")[0], name) for name in names)


@pytest.mark.parametrize("file", sorted(HERE.rglob("*.py")), ids=lambda path: path.relative_to(HERE).as_posix())
def test_imports_go_downwards(file):
    parts = file.relative_to(HERE).parts
    if parts == ("__init__.py",):
        return
    here = parts[0].removesuffix(".py")
    for other, whole in arrows(file):
        if other != here:
            assert level(other) <= level(here), f"{file.name} imports {other}"
            assert other not in PARTS or whole == other, f"{file.name} reaches into {whole}"
