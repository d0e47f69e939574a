"""docs/elements.md is made from the recipes; what their comments name exists."""

import importlib.util
import re
from pathlib import Path

import pytest
from bchisto.apps.recipes import load_recipe

ROOT = Path(__file__).parents[3]
RECIPES = ROOT / "apps" / "recipes"


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location(
        "make_elements", ROOT / "docs" / "make_elements.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_the_recipes(maker):
    assert maker.PAGE.read_text() == maker.page(), "run: python docs/make_elements.py"


def test_tests_that_recipes_name_exist_and_are_shown(maker):
    code = "\n".join(path.read_text() for path in ROOT.glob("tests/**/test_*.py"))
    existing = set(re.findall(r"^def (test_\w+)", code, flags=re.MULTILINE))
    for name in maker.SYSTEMS:
        text = (RECIPES / f"{name}.yaml").read_text()
        shown = "\n".join(maker.section_of(name))
        tests, differences = maker.comments_of(text)
        named = [test for names in tests.values() for test in names]
        assert sorted(named) == sorted(re.findall(r"test_\w{9,}", text))
        assert {*named} <= existing & {*re.findall(r"`(test_\w+)`", shown)}
        assert all(line in shown for line in differences)
        assert differences


def test_every_setting_variant_and_table_is_on_the_page(maker):
    of_encoders = {"bach-encoder", "breakhis-encoder", "idc-encoder"}
    assert {path.stem for path in RECIPES.glob("*.yaml")} == {*maker.SYSTEMS, *of_encoders}
    for name in maker.SYSTEMS:
        recipe, shown = load_recipe(name), "\n".join(maker.section_of(name))
        settings = [f"{setting}=" for section in recipe.sections.values() for setting in section]
        names = [*recipe.variants, *(f"{table['key']}`" for table in recipe.published), *settings]
        assert [name for name in names if f"`{name}" not in shown] == []
