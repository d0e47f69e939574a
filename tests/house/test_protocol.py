"""How work is done is asked in one place.

A run of `core/jobs` reads it. What it runs only says what the units are, and what their outputs.
"""

import ast
from collections import Counter

from package_tree import modules, name_of, tree_of

ASKED = {"checks", "shard", "overwrite", "skip_errors"}
"""Fields of `Work`, which say how work is done."""

READERS = ("core/jobs/", "core/runs/record.py", "apps/recipes/")
"""The run protocol, the record of a run, and recipes, which hand them on."""

ELSEWHERE = {
    "apps/slides/map.py work.overwrite": 1,  # the engine of an earlier run counts
    "boost/training.py work.overwrite": 1,  # embeddings become a feature file before the models are computed
    "featurize/pipeline.py work.overwrite": 1,  # the engine of an earlier run counts
    "predict/run.py work.checks": 1,  # a check waits for no other update
    "predict/run.py work.overwrite": 1,
    # units hold it
    "apps/explain/run.py work.skip_errors": 1,
    "featurize/pipeline.py work.skip_errors": 1,
    "finetune/training.py work.skip_errors": 1,
}
"""File and field to its reads of a `Work`."""

MOST_ELSEWHERE = 8

HELD = {
    "apps/explain/image.py skip_errors": 1,
    "apps/explain/run.py skip_errors": 1,
    "apps/slides/cut.py skip_errors": 3,
    "apps/slides/map.py skip_errors": 3,
    "apps/slides/tiles.py skip_errors": 1,
    "featurize/plan.py skip_errors": 1,
    "featurize/units.py skip_errors": 2,
    "predict/blocks.py skip_errors": 1,
    "predict/run.py skip_errors": 2,
    # of commands that were recorded
    "apps/doctor/named.py shard": 1,
    "apps/submit/plan.py shard": 1,
    "apps/submit/status.py shard": 4,
    "core/runs/history.py shard": 2,
}
"""File and field to its reads of other values: units that hold `skip_errors`, and records that hold a shard."""


def reads_of(tree):
    """Return the reads of the fields in a tree: of a `Work`, which always has this name, and of other values."""
    of_work = Counter()
    of_others = Counter()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(
                value=ast.Name(id="work") | ast.Attribute(attr="work"), attr=name, ctx=ast.Load()
            ) if name in ASKED:
                of_work[f"work.{name}"] += 1
            case ast.Attribute(attr=name, ctx=ast.Load()) if name in ASKED:
                of_others[name] += 1
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=name), *_]):
                if name in ASKED:
                    of_work[f"work.{name}"] += 1
    return of_work, of_others


def reads_elsewhere():
    """Return file and field to reads of a `Work`, and to those of others, of modules that are no readers."""
    asked = {}
    held = {}
    for path in modules():
        name = name_of(path)
        if name.startswith(READERS):
            continue
        of_work, of_others = reads_of(tree_of(path))
        asked |= {f"{name} {field}": count for field, count in of_work.items()}
        held |= {f"{name} {field}": count for field, count in of_others.items()}
    return asked, held


def test_pipelines_do_not_ask_how_work_is_done():
    asked, held = reads_elsewhere()
    assert asked == ELSEWHERE
    assert sum(asked.values()) <= MOST_ELSEWHERE
    assert held == HELD


def test_a_work_has_that_name():
    """Otherwise a read of it would count as one of another value."""
    others = []
    for path in modules():
        for node in ast.walk(tree_of(path)):
            match node:
                case ast.arg(arg=name, annotation=annotation) if annotation is not None:
                    if ast.unparse(annotation) in ("Work", "Work | None") and name != "work":
                        others.append((path, name))
    assert others == []


def test_each_way_to_read_is_seen():
    def reads(source):
        return reads_of(ast.parse(source))

    of_work, of_others = reads("if work.checks and not self.work.shard:\n    pass")
    assert of_work == {"work.checks": 1, "work.shard": 1}
    assert not of_others
    assert reads("x = call.work.overwrite")[0].total() == 1
    assert reads("x = unit.skip_errors")[1].total() == 1
    assert reads("x = getattr(work, 'skip_errors', False)")[0].total() == 1
    assert reads("work.checks = True\nWork(shard=shard)\nx = work.jobs") == ({}, {})
