"""How work is done is asked in one place.

A run of `core/jobs` reads it. What it runs only says what the units are, and what their outputs.
"""

import ast
from pathlib import Path

import bchisto

ROOT = Path(bchisto.__file__).parent

ASKED = {"checks", "shard", "overwrite", "skip_errors"}
"""Fields of `Work`, which say how work is done."""

READERS = ("core/jobs/", "core/runs/record.py", "apps/recipes/")
"""The run protocol, the record of a run, and recipes, which hand them on."""

ELSEWHERE: dict[str, int] = {}
"""File to its reads of these fields, of whatever value: units may hold `skip_errors`."""

MOST_ELSEWHERE = 10


def reads_of(source):
    """Return how often a text reads one of the fields, by name or by `getattr`."""
    reads = 0
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr=name, ctx=ast.Load()) if name in ASKED:
                reads += 1
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=name), *_]):
                reads += name in ASKED
    return reads


def reads_elsewhere():
    """Return file to reads, of the modules of the package that are no readers."""
    rooms = [path.parent for path in ROOT.glob("*/__init__.py")]
    modules = [*ROOT.glob("*.py"), *(path for room in rooms for path in room.rglob("*.py"))]
    reads = {}
    for path in modules:
        name = path.relative_to(ROOT).as_posix()
        count = reads_of(path.read_text(encoding="utf-8"))
        if count and not name.startswith(READERS):
            reads[name] = count
    return reads


def test_pipelines_do_not_ask_how_work_is_done():
    assert sum(ELSEWHERE.values()) <= MOST_ELSEWHERE
    assert reads_elsewhere() == ELSEWHERE


def test_each_way_to_read_is_seen():
    assert reads_of("if work.checks and not work.shard:\n    pass") == 2
    assert reads_of("x = self.work.overwrite") == 1
    assert reads_of("x = getattr(work, 'skip_errors', False)") == 1
    assert reads_of("work.checks = True\nWork(shard=shard)\nx = work.jobs") == 0
