"""The tables of docs/elements.md on the elements of each source: what they name is there, and nothing is missing."""

import re
from pathlib import Path

import pytest
from bchisto.recipes import load_recipe
from bchisto.recipes.methods import RECIPE_METHODS
from bchisto.recipes.recipe import STEPS

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
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row[column])}


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_an_element_names_is_in_the_recipe_and_nothing_of_it_is_missing(name):
    recipe, rows = load_recipe(name), elements(name)
    split = {"split_by"} if recipe.magnifications else set()
    changed = {key for change in recipe.variants.values() for step in STEPS for key in change.get(step, {})}
    settings = {key for section in recipe.sections.values() for key in section}
    found = named(rows, 1)
    assert found <= settings | changed | OF_ALL | split
    assert settings | OF_ALL | split <= found
    assert named(rows, 2) == set(recipe.variants)
    assert named(rows, 3) == {table["key"] for table in recipe.published}


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_element_says_whether_it_is_faithful(name):
    for row in elements(name):
        assert len(row) == 5, row
        assert row[0], row
        assert row[4], row
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
