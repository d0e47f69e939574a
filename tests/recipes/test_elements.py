"""docs/elements.md is made from the recipes; what their comments name exists."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml
from bchisto.apps.recipes import load_recipe

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "apps" / "recipes"


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_elements", ROOT / "docs" / "make_elements.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_the_recipes(maker):
    assert maker.PAGE.read_text(encoding="utf-8") == maker.page(), "run: python docs/make_elements.py"


def test_a_test_that_a_recipe_names_exists_and_is_shown_beside_what_it_shows(maker):
    code = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/*/test_*.py"))
    existing = set(re.findall(r"^def (test_\w+)", code, flags=re.MULTILINE))
    for name in maker.SYSTEMS:
        text = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8")
        tests, differences = maker.comments_of(text)
        assert tests, name
        assert differences, name
        shown = "\n".join(maker.section_of(name))
        for where, names in tests.items():
            assert set(names) <= existing, where
            assert all(f"`{test}`" in shown for test in names), where
        assert sorted(re.findall(r"test_\w{9,}", text)) == sorted(test for names in tests.values() for test in names)


def test_every_setting_variant_table_and_conclusion_is_on_the_page(maker):
    assert {path.stem for path in RECIPES.glob("*.yaml")} == {*maker.SYSTEMS, "bach-encoder"}
    for name in maker.SYSTEMS:
        recipe, shown = load_recipe(name), "\n".join(maker.section_of(name))
        for setting in (setting for section in recipe.sections.values() for setting in section):
            assert f"`{setting}=" in shown, setting
        for key in (*recipe.variants, *(table["key"] for table in recipe.published)):
            assert f"`{key}`" in shown, key
        content = yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"))
        claims = [
            claim for table in content["published"] for claim in table.get("claims", [table.get("claim")]) if claim
        ]
        assert all(claim["says"] in shown for claim in claims)
