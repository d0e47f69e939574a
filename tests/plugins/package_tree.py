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
    return ast.parse(path.read_text())


def read_texts(filled, keywords=()):
    """Yield (file, node, text) of every string of the package but docstrings.

    `filled` stands for what is filled into an f-string. Strings of arguments called as in `keywords` are left out.
    """
    for path in modules():
        tree = tree_of(path)
        left_out = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr):
                left_out.add(id(node.value))
            elif isinstance(node, ast.JoinedStr):
                left_out |= {id(part) for part in node.values}
            elif isinstance(node, ast.keyword) and node.arg in keywords:
                left_out |= {id(part) for part in ast.walk(node.value)}
        for node in ast.walk(tree):
            if id(node) in left_out:
                continue
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield name_of(path), node, node.value
            elif isinstance(node, ast.JoinedStr):
                parts = (
                    part.value if isinstance(part, ast.Constant) else filled for part in node.values
                )
                yield name_of(path), node, "".join(parts)
