"""The tables of inputs in docs/reliability.md name tests that there are."""

import ast
import itertools
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "reliability.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="needs the repository")

LEAST = {"Bundles and models": 60, "Encoders": 18, "Pictures": 66, "Tables, stores, recipes and folders": 58}
"""Rows of each table."""


def rows():
    """Return section to its rows, each a list of cells."""
    found = {}
    for section in re.split(r"^### ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        title, _, rest = section.partition("\n")
        table = itertools.dropwhile(lambda line: not line.startswith("|"), rest.splitlines())
        lines = [*itertools.takewhile(lambda line: line.startswith("|"), table)][2:]  # another may follow
        found[title.strip()] = [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in lines
        ]
    return {title: found[title] for title in LEAST}


def functions(file):
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_kind_of_input_has_a_test_that_there_is():
    for title, lines in rows().items():
        for line in lines:
            assert len(line) == 3, f"{title}: {line}"
            assert all(line), f"{title}: an empty cell in {line}"
            named = re.findall(r"`(tests/[\w/]+\.py)?::(\w+)`", line[2])
            assert named, f"{title}: {line[0]} names no test"
            file = ""
            for place, name in named:
                file = place or file  # `::name` is in the file that was named last
                assert name in functions(REPOSITORY / file), f"{title}: {line[0]}: {file} has no {name}"


def test_no_kind_of_input_stands_twice():
    kinds = [line[0] for lines in rows().values() for line in lines]
    assert sorted(kinds) == sorted(set(kinds))


@pytest.mark.parametrize("title", LEAST)
def test_the_tables_are_as_long_as_they_were(title):
    assert len(rows()[title]) >= LEAST[title]
