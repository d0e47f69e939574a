"""A word means one thing, and the name of a value says what it holds."""

import ast
import re
from collections import Counter

import pytest
from conftest import REPOSITORY, needs_repository
from documented import text_of
from own_process import run_process
from package_tree import modules, name_of, tree_of

NUMBERS = {12: "Twelve", 13: "Thirteen", 14: "Fourteen", 15: "Fifteen", 16: "Sixteen"}

SAY_NOTHING = {
    *("by", "chosen", "found", "known", "lacking", "made", "named", "of", "one", "ours"),
    *("own", "place", "said", "told", "whole", "written"),
}
"""Names that fit every value: `labels_by_image` says more than `known`, `patient_rows` more than `own`."""

MOST_THAT_SAY_NOTHING = 115
"""A number that only falls."""

MOST_WORDS_OF_DOCUMENTS = 24_000
"""Outside of fences, in README and all pages of docs that git tracks, generated ones too."""

FENCED = re.compile(r"^(\s*)(```+|~~~+).*?^\1\2\s*$", re.DOTALL | re.MULTILINE)


def words_outside_fences(text):
    """Return the words of a page; cells of tables and comments count as they stand."""
    return len(FENCED.sub("", text).split())


@pytest.fixture(scope="module")
def trees():
    """The syntax tree of each module of the package, by its path."""
    return {name_of(path): tree_of(path) for path in modules()}


def defined_in(trees):
    """Return the names of functions, classes and assigned values, also of their fields."""
    names = set()
    for tree in trees:
        for node in ast.walk(tree):
            match node:
                case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                    names.add(name)
                case ast.Assign(targets=[ast.Name(id=name)]):
                    names.add(name)
                case ast.AnnAssign(target=ast.Name(id=name)):
                    names.add(name)
    return names


def test_a_class_has_a_name_of_its_own(trees):
    places = {}
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(path)
    assert len(places) > 200
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_few_names_say_nothing(trees):
    uses = Counter()
    for tree in trees.values():
        for node in ast.walk(tree):
            match node:
                case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                    uses[name] += name in SAY_NOTHING
    assert uses.total() <= MOST_THAT_SAY_NOTHING, +uses


@needs_repository
def test_the_words_of_the_house_are_in_its_code(trees):
    """Of the table of .github/architecture.md: what stands "in the code" is a class or function of it."""
    page = text_of(".github/architecture.md")
    title, section = re.search(
        r"^## (\w+) words\n(.*?)^## ", page, re.DOTALL | re.MULTILINE
    ).groups()
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("|")][2:]
    words = [cells[0].strip() for cells in rows]
    assert len(set(words)) == len(words)
    assert title == NUMBERS[len(words)]
    defined = defined_in(trees.values())
    named = [name for cells in rows for name in re.findall(r"`(\w+)`", cells[2])]
    assert len(named) >= len(words)
    assert [name for name in named if name not in defined] == []


@needs_repository
def test_things_are_where_the_architecture_says(trees):
    """`name` (`file.py`), and `name` in `file.py`."""
    page = text_of(".github/architecture.md")
    said = re.findall(r"`(\w+)` (?:\(|in )`([\w/]+\.py)`", page)
    assert len(said) > 15
    for name, path in said:
        assert path in trees, path
        assert name in defined_in([trees[path]]), f"{name} in {path}"


def test_code_is_not_counted_as_words():
    assert words_outside_fences("one two\n\n```sh\nthree\n```\n\nfour <!-- five -->\n") == 6
    assert words_outside_fences("- one\n  ```text\n  two\n  ```\n~~~\nthree\n~~~\n") == 2


@pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="counts what git tracks")
def test_the_documents_stay_short():
    told = run_process("git", "ls-files", "README.md", "docs/*.md", cwd=REPOSITORY, check=True)
    pages = told.stdout.split()
    assert {"README.md", "docs/samples/README.md", "docs/api/core.md"} <= set(pages)
    counts = {page: words_outside_fences(text_of(page)) for page in pages}
    assert sum(counts.values()) <= MOST_WORDS_OF_DOCUMENTS, counts
