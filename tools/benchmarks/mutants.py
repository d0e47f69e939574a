"""Small faults, put into the code one at a time: which of them do the fast tests see?

    python tools/benchmarks/mutants.py
    python tools/benchmarks/mutants.py --root ../before --seed 3

A fault is a comparison, `and`, `any`, a number or an operator that is turned into another one, or a statement that is
left out. A place is known by its function, its kind and its number there, and the seed orders places by these words: so
two checkouts get the same faults, but for those whose code is gone, which the next in order replace. Each room has one
before any has two. The tests of a fault are the fast ones that name its function and those of its room. A test that
fails without the fault does not count. All is done in copies of the checkout: what git tracks there stays as it is.

Prints a line for each fault, and what survives by room.
"""

import argparse
import ast
import hashlib
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

OUTSIDE = ("tests", "docs", "tools")
FAST = "not slow and not hostile"

OTHERS = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
}
"""Operator to the one that takes its place."""

ELSEWHERE = {
    "core": ("tests/house/test_python.py", "tests/commands/test_messages.py"),
    "core/formats": ("tests/data", "tests/cases"),
    "core/models": ("tests/boost", "tests/finetune", "tests/predict"),
    "crossval": ("tests/crossval", "tests/boost/test_train.py", "tests/finetune/test_training.py"),
    "stains": ("tests/stains", "tests/cases/test_ink.py"),
    "root": ("tests/commands", "tests/house/test_house.py"),
}
"""Room to its tests, if they are not in the folder of its name alone."""

MOST_NAMING = 6
"""Files of other rooms, of those that name a function, whose tests run."""


class Place(NamedTuple):
    """A place in the code, and what may stand there instead; `start` and `end` count bytes of the file."""

    file: str
    function: str
    kind: str
    number: int
    line: int
    start: int
    end: int
    before: str
    after: str

    @property
    def room(self) -> str:
        """The folder of the file: of `core` and `apps`, the folder in them."""
        parts = Path(self.file).parts[:-1]
        if not parts:
            return "root"
        return "/".join(parts[: 2 if parts[0] in ("core", "apps") else 1])

    def rank(self, seed: int) -> str:
        """Return what orders places, whatever stands around them."""
        words = f"{seed} {self.file} {self.function} {self.kind} {self.number}"
        return hashlib.sha256(words.encode()).hexdigest()

    def __str__(self) -> str:
        before, after = (" ".join(text.split())[:60] for text in (self.before, self.after))
        return f"{self.file}:{self.line} {self.function}: {before}  ->  {after}"


def changed(node: ast.AST) -> tuple[str, ast.AST] | None:
    """Return the kind of a fault that a node can have, and the node with it."""
    match node:
        case ast.Compare(left=left, ops=[operator], comparators=right):
            return "comparison", ast.Compare(left, [OTHERS[type(operator)]()], right)
        case ast.BoolOp(op=operator, values=values):
            return "and", ast.BoolOp(OTHERS[type(operator)](), values)
        case ast.Constant(value=bool(value)):
            return "constant", ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            return "constant", ast.Constant(value + 1)
        case ast.Call(func=ast.Name(id="any" | "all" as name), args=arguments):
            other = {"any": "all", "all": "any"}[name]
            return "any", ast.Call(ast.Name(other), arguments, [])
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in OTHERS:
            texts = (ast.JoinedStr, ast.Constant)
            if not any(isinstance(side, texts) and _is_text(side) for side in (left, right)):
                return "arithmetic", ast.BinOp(left, OTHERS[type(operator)](), right)
        case ast.Expr(value=ast.Call(func=called)) if not ast.unparse(called).startswith("_log"):
            return "statement", ast.Pass()
        case ast.AugAssign():
            return "statement", ast.Pass()
    return None


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or isinstance(getattr(node, "value", None), str)


def nodes_of(node: ast.AST, name: str, inside: bool) -> Iterator[tuple[str, ast.AST]]:
    """Yield the nodes of functions by their names, without types, docstrings and messages of errors."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef(name=own, body=body, args=arguments):
                for part in (*arguments.defaults, *filter(None, arguments.kw_defaults), *body):
                    yield from nodes_of(ast.Module([part], []), f"{name}.{own}", True)
            case ast.ClassDef(name=own, body=body):
                yield from nodes_of(ast.Module(body, []), f"{name}.{own}", False)
            case ast.AnnAssign(value=value):
                if value is not None:
                    yield from nodes_of(ast.Module([ast.Expr(value)], []), name, inside)
            case ast.JoinedStr() | ast.Raise() | ast.Assert():
                continue
            case _:
                if inside and hasattr(child, "lineno"):
                    yield name, child
                yield from nodes_of(child, name, inside)


def places_of(root: Path, path: Path) -> Iterator[Place]:
    """Yield the places of a module."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    file = path.relative_to(root).as_posix()
    numbers: Counter[tuple[str, str]] = Counter()
    for name, node in nodes_of(ast.parse(source), "", False):
        fault = changed(node)
        if fault is None:
            continue
        kind, other = fault
        numbers[name, kind] += 1
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        text = ast.unparse(ast.fix_missing_locations(other))
        before = source[start:end].decode()
        yield Place(
            *(file, name[1:], kind, numbers[name, kind], node.lineno, start, end, before, text)
        )


def choose(root: Path, *, seed: int, count: int, rooms: list[str]) -> list[Place]:
    """Return places in the order of the seed: one of each room, then of all."""
    folders = [path for path in root.glob("[!.]*/") if path.name not in OUTSIDE]
    files = [*root.glob("*.py"), *(path for one in folders for path in one.rglob("*.py"))]
    places = [place for path in files for place in places_of(root, path)]
    if rooms:
        places = [place for place in places if place.room in rooms]
    places.sort(key=lambda place: place.rank(seed))
    first = {place.room: place for place in reversed(places)}
    ones = sorted(first.values(), key=lambda place: place.rank(seed))
    return [*ones, *(place for place in places if first[place.room] is not place)][:count]


class Tests:
    """Which tests of a checkout should see a fault."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def texts(self) -> dict[str, str]:
        """Files of tests to their texts."""
        files = sorted((self.root / "tests").rglob("test_*.py"))
        return {path.relative_to(self.root).as_posix(): path.read_text() for path in files}

    def of(self, place: Place) -> list[str]:
        """Return files and folders: those most likely to see a fault first."""
        own = ELSEWHERE.get(place.room, (f"tests/{place.room}",))
        folders = [folder for folder in own if (self.root / folder).exists()]
        names = [name for name in place.function.split(".") if not name.startswith("__")]
        word = (
            re.compile(rf"\b({'|'.join(map(re.escape, names))})\b") if names else re.compile("$^")
        )
        naming = [file for file, text in self.texts.items() if word.search(text)]
        of_module = [
            file for file in self.texts if Path(file).stem == f"test_{Path(place.file).stem}"
        ]
        near = [file for file in naming if file.startswith(tuple(folders))]
        far = [file for file in naming if file not in near][:MOST_NAMING]
        return list(dict.fromkeys((*of_module, *near, *far, *folders)))


def copied(root: Path, folder: Path) -> Path:
    """Copy what git tracks, so that Python finds it as `bchisto`; return the copy."""
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z"], capture_output=True, check=True)
    copy = folder / "clone"
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (root / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, copy / name)
    (folder / "site").mkdir()
    (folder / "site" / "bchisto").symlink_to(copy)
    for words in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", *words], cwd=copy, check=True)
    return copy


def failing(copy: Path, tests: list[str], *, without: list[str], seconds: float) -> str | None:
    """Return the first test that fails in a copy, or an empty text; None if it takes longer."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", FAST]
    options += [f"--deselect={name}" for name in without]
    environment = {**os.environ, "PYTHONPATH": str(copy.parent / "site")}
    environment.pop("BCHISTO_PASSED", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=copy,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        out, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None
    if process.returncode in (0, 5):  # all pass, or there is none
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", out, re.MULTILINE)
    return failed[1] if failed else "pytest itself"


class Trial:
    """Tries faults in copies, of which each thread takes one."""

    def __init__(self, root: Path, work: Path, *, threads: int, seconds: float) -> None:
        self.tests = Tests(root)
        self.seconds = seconds
        self.clean = copied(root, work)
        self.copies: queue.Queue[Path] = queue.Queue()
        for number in range(threads):
            shutil.copytree(work, work.with_name(f"{work.name}-{number}"), symlinks=True)
            copy = work.with_name(f"{work.name}-{number}") / "clone"
            link = copy.parent / "site" / "bchisto"
            link.unlink()
            link.symlink_to(copy)
            self.copies.put(copy)

    def outcome(self, place: Place) -> str:
        """Return the test that sees a fault, ``survives``, or that it is not known."""
        copy = self.copies.get()
        file = copy / place.file
        source = file.read_bytes()
        try:
            file.write_bytes(source[: place.start] + place.after.encode() + source[place.end :])
            return self._first(copy, self.tests.of(place))
        finally:
            file.write_bytes(source)
            self.copies.put(copy)

    def _first(self, copy: Path, tests: list[str]) -> str:
        without: list[str] = []
        until = time.monotonic() + self.seconds
        while (left := until - time.monotonic()) > 0:
            name = failing(copy, tests, without=without, seconds=left)
            if name == "":
                return "survives"
            if name is None:
                break
            if failing(self.clean, [name], without=[], seconds=left) == "":
                return f"killed by {name}"
            without.append(name)
        return f"unknown: no answer in {self.seconds:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=60, help="faults [60]")
    parser.add_argument("--rooms", nargs="*", default=[], help="only these, such as core/jobs")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument("--seconds", type=float, default=300, help="for each fault [300]")
    parser.add_argument("--minutes", type=float, default=60, help="for all [60]")
    options = parser.parse_args()
    root = options.root.resolve()
    places = choose(root, seed=options.seed, count=options.count, rooms=options.rooms)
    until = time.monotonic() + 60 * options.minutes - options.seconds
    threads = os.cpu_count() or 1
    outcomes: dict[Place, str] = {}
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "copy").mkdir()
        trial = Trial(root, Path(work) / "copy", threads=threads, seconds=options.seconds)

        def tried(place: Place) -> None:
            if time.monotonic() < until:
                outcomes[place] = trial.outcome(place)
                print(f"{place}\n    {outcomes[place]}", flush=True)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(tried, places))
    survivors = Counter(place.room for place, said in outcomes.items() if said == "survives")
    print(f"\n{len(outcomes)} of {len(places)} tried, {survivors.total()} survive:")
    for room, number in sorted(survivors.items()):
        print(f"{number:4d}  {room}")


if __name__ == "__main__":
    main()
