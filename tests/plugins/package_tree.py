"""Modules of the package, found and parsed once in a process.

In a clone the folder of the package also holds environments, tests and documents, with many thousands of files.
"""

import ast
from functools import cache
from pathlib import Path

import bchisto

ROOT = Path(bchisto.__file__).parent


@cache
def modules():
    """Return the files of the package."""
    rooms = [path.parent for path in ROOT.glob("*/__init__.py")]
    return sorted([*ROOT.glob("*.py"), *(path for room in rooms for path in room.rglob("*.py"))])


def name_of(path):
    """Return the path of a file below the package."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path):
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))
