"""Code lines of commits: without blank lines, comments and docstrings, outside tests, documents and benchmarks.

    python tools/benchmarks/lines.py 0f95119 310cfe8 HEAD
    python tools/benchmarks/lines.py --of 310cfe8 4d66286 HEAD

With --of, lines are also split by whether their definition stood in that commit: a function, a method, the rest of a
class, a constant (by name, whatever the room), or the imports of a module. Definitions that came between the first and
the last commit given are counted apart, so that nothing saved is only renamed.
"""

import argparse
import ast
import io
import subprocess
import tokenize
from collections import Counter
from pathlib import Path

OUTSIDE = ("tests", "benchmarks", "docs", ".ci", "tools")
SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
MOVED = {"encoders": "featurize"}
"""Rooms by the room that they came out of: a definition that moved from one to the other is the same."""


def git(*arguments):
    """Return what git prints in this checkout."""
    return subprocess.run(
        ["git", "-C", Path(__file__).parent, *arguments], capture_output=True, text=True, check=True
    ).stdout


def sources(commit):
    """Yield path and text of every module of the package in a commit."""
    for path in git("ls-tree", "-r", "--name-only", "--full-tree", commit).splitlines():
        if path.endswith(".py") and path.split("/")[0] not in OUTSIDE:
            yield path, git("show", f"{commit}:{path}")


def code_lines(text):
    """Return the tree of a module and the numbers of its code lines."""
    tree, numbers = ast.parse(text), set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in SILENT:
            numbers.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            numbers.difference_update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return tree, numbers


def definitions(commit):
    """Return how many code lines each definition of a commit has, by (room, name)."""
    counts = Counter()
    for path, text in sources(commit):
        tree, left = code_lines(text)
        room = path.split("/")[0]
        room = MOVED.get(room, room)

        def take(name, node, left=left, room=room):
            first = min(
                [
                    node.lineno,
                    *(decorator.lineno for decorator in getattr(node, "decorator_list", ())),
                ]
            )
            lines = left & set(range(first, node.end_lineno + 1))
            left.difference_update(lines)
            counts[room, name] += len(lines)

        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, FUNCTIONS):
                        take(f"{node.name}.{inner.name}", inner)
            if isinstance(node, (ast.ClassDef, *FUNCTIONS)):
                take(node.name, node)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if isinstance(target, ast.Name) and target.id != "__all__":
                    take(target.id, node)
        counts[room, f"imports of {path}"] += len(left)
    return counts


def main():
    """Print a line per commit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commits", nargs="+")
    parser.add_argument("--of", metavar="COMMIT", help="Split by what stood in this commit.")
    options = parser.parse_args()
    counts_of = {commit: definitions(commit) for commit in options.commits}
    names = {name for _, name in definitions(options.of)} if options.of else set()

    def old(key):
        return key[1] in names

    first = counts_of[options.commits[0]]
    for commit, counts in counts_of.items():
        text = f"{commit}: {sum(counts.values()):,} code lines"
        if names:
            kept = sum(number for key, number in counts.items() if old(key))
            new = sum(number for key, number in counts.items() if not old(key) and key not in first)
            text += f", {kept:,} in definitions that {options.of} had"
            text += f", {new:,} in those that {options.commits[0]} had not"
        print(text)


if __name__ == "__main__":
    main()
