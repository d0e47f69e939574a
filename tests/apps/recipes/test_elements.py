"""Comments of recipes name tests that exist, and end with what is not as in the source."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RECIPES = sorted((ROOT / "apps" / "recipes").glob("*.yaml"))
SYSTEMS = [path for path in RECIPES if not path.stem.endswith("-encoder")]


@pytest.fixture(scope="module")
def tests_there():
    """The names of all tests."""
    code = "\n".join(path.read_text() for path in ROOT.glob("tests/**/test_*.py"))
    return set(re.findall(r"^def (test_\w+)", code, flags=re.MULTILINE))


@pytest.mark.parametrize("recipe", SYSTEMS, ids=lambda path: path.stem)
def test_what_comments_of_a_recipe_state(recipe, tests_there):
    """A comment `# test_...` names the test of a setting, variant or table; lines `# - ...` end the file."""
    text = recipe.read_text()
    named = re.findall(r"test_\w{9,}", text)
    assert named
    assert {*named} <= tests_there
    last = text.partition("\n# Not as in the source, or not in it:\n")[2].splitlines()
    assert last
    assert all(line.startswith("# - ") for line in last), last


def test_all_systems_are_seen():
    assert len(SYSTEMS) >= 5
    assert len(RECIPES) > len(SYSTEMS)
