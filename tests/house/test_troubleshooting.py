"""Each message that docs/troubleshooting.md quotes stands in the sources, of bchisto or of click."""

import ast
import re
from pathlib import Path

import bchisto
import click
import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md"
VARIES = r"<[^>]+>|--[a-z-]+(?:=\S+)?"
"""What differs from case to case, and flags, which sources write as parameters."""

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="needs the repository")


def quoted():
    text = PAGE.read_text(encoding="utf-8")
    return [
        " ".join(block.split()) for block in re.findall(r"^```text\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    ]


def strings(folder):
    """Yield the texts of all string literals below a folder, with a mark where a value is put in."""
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).parts
        if parts[0] in ("tests", "docs", "benchmarks") or any(part.startswith(".") for part in parts):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


@pytest.fixture(scope="module")
def sources():
    package, command_line = Path(bchisto.__file__).parent, Path(click.__file__).parent
    return [*strings(package), *strings(command_line)]


def test_there_are_enough_messages():
    assert len(set(quoted())) == len(quoted()) >= 30


@pytest.mark.parametrize("message", quoted() if PAGE.is_file() else [])
def test_the_message_is_one_of_ours(message, sources):
    fixed = [part.strip() for part in re.split(VARIES, message)]
    fixed = [part for part in fixed if len(part) > 1]
    assert sum(map(len, fixed)) >= 12, "too little of it is fixed to be found"
    pattern = re.compile(".*".join(map(re.escape, fixed)), flags=re.DOTALL)
    assert any(pattern.search(text) for text in sources), fixed
