"""The tables of docs/elements.md on the elements of each source: what they name is there, and nothing is missing."""

import re
from pathlib import Path

import pytest
from bchisto.apps.recipes import load_recipe
from bchisto.apps.recipes.pictures import RECIPE_METHODS
from bchisto.apps.recipes.recipe import ReproduceRequest
from bchisto.apps.recipes.settings import effective_settings

PAGE = Path(__file__).parents[2] / "docs" / "elements.md"
SYSTEMS = ("rakhlin2018", "breakhis-resnet", "idc-patches", "inbreast-inception", "ddsm-masses")
OF_ALL = {"dataset", "images"}
"""What a recipe says of its images, outside of its steps."""


def elements(name):
    """Return the cells of a system's table."""
    text = PAGE.read_text(encoding="utf-8")
    section = re.split(r"^##+ ", text.partition(f"## {name}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")
    ]
    last = "faithful, or choice"
    assert rows[0] == ["element of the source", "settings", "variants", "tables", last]
    return rows[2:]


def named(rows, column):
    """Return the names in a column; of settings without the value that may follow."""
    return {name.partition("=")[0] for row in rows for name in re.findall(r"`([^`]+)`", row[column])}


def valued(rows):
    """Return the settings whose values are named, with these values."""
    values = {}
    for name, value in (pair for row in rows for pair in re.findall(r"`([^`=]+)=([^`]*)`", row[1])):
        values.setdefault(name, set()).add(value)
    return values


def used(name):
    """Return all settings that the variants of a system would use, with their values."""
    recipe, values = load_recipe(name), {}
    request = ReproduceRequest(images=Path(), run=Path())
    for variant in recipe.variants:
        for one in effective_settings(recipe, request, variant):
            values.setdefault(one.name, set()).add(one.value)
    values.pop("note", None)
    return values


def of_all_systems():
    text = PAGE.read_text(encoding="utf-8").partition("## Defaults in all systems\n")[2]
    return valued([["", line] for line in text.splitlines() if line.startswith("|")])


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_an_element_names_is_in_the_recipe_and_nothing_of_it_is_missing(name):
    recipe, rows = load_recipe(name), elements(name)
    split = {"split_by"} if recipe.magnifications else set()
    settings, shared = {*used(name), *recipe.sections.get("explain", {})}, set(of_all_systems())
    found = named(rows, 1)
    assert found <= settings | OF_ALL | split
    assert settings | OF_ALL | split <= found | shared
    assert named(rows, 2) == set(recipe.variants)
    assert named(rows, 3) == {table["key"] for table in recipe.published}


@pytest.mark.parametrize("name", SYSTEMS)
def test_values_that_an_element_names_are_those_of_the_program(name):
    """All of them: a setting that is named with a value has no other in any variant."""
    values, own = used(name), valued(elements(name))
    named_bare = named([[row[0], re.sub(r"`[^`]*=[^`]*`", "", row[1])] for row in elements(name)], 1)
    assert {setting: values[setting] for setting in own.keys() - named_bare} == {
        setting: own[setting] for setting in own.keys() - named_bare
    }
    for setting, value in of_all_systems().items():
        assert values.get(setting, value) == value or setting in own, setting
    assert len(own) > 5


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_element_says_whether_it_is_faithful_and_names_a_test_or_that_it_was_only_read(name):
    code = "\n".join(path.read_text(encoding="utf-8") for path in PAGE.parents[1].glob("tests/*/test_*.py"))
    tests = set(re.findall(r"^def (test_\w+)", code, flags=re.MULTILINE))
    for row in elements(name):
        assert len(row) == 5, row
        assert row[0], row
        assert row[4], row
        of_row = set(re.findall(r"`(test_\w+)`", row[4]))
        assert "faithful" not in row[4] or "read only" in row[4] or of_row, row
        assert of_row <= tests, row
    assert any("faithful" in row[4] for row in elements(name))
    pictures = [row[4] for row in elements(name) if row[0].startswith("images:")]
    assert any("`bchisto explain`" in said for said in pictures)


def test_every_conclusion_of_a_recipe_stands_in_its_table():
    """An element begins with `conclusion`, or names the table that draws it."""
    for name in SYSTEMS:
        with_claims = {table["key"] for table in load_recipe(name).published if "claim" in table or "claims" in table}
        drawn = named([row for row in elements(name) if re.search(r"judged|conclusion", row[0] + row[4])], 3)
        assert with_claims <= drawn | {"balance"}, name


def test_a_recipe_makes_the_pictures_that_its_table_names():
    for name in SYSTEMS:
        made = {method for cells in elements(name) if cells[0].startswith("images:") and "methods" in cells[1]
                for method in re.findall(r"(?:`|--method )(\w+)", cells[4]) if method in RECIPE_METHODS}  # fmt: skip
        assert made == set(load_recipe(name).values("explain").get("methods", [])), name
