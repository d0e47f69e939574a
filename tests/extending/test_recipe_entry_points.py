"""Recipes of other packages: found, listed and read; and what is wrong with one that is not right."""

import re
import textwrap
from pathlib import Path

import offers
import pytest
from bchisto.apps.recipes import list_recipes, load_recipe
from bchisto.core import InputError

STUDY = Path(__file__).parent / "package" / "bchisto_lab" / "lab-study.yaml"


def offer(folder, package, code, **entries):
    named = {name.replace("_", "-"): f"{package}:{place}" for name, place in entries.items()}
    offers.offer(folder, "recipes", package, textwrap.dedent(code), **named)


WAYS = {"path": "found = STUDY", "function": "def found(): return STUDY"}


@pytest.mark.parametrize("way", WAYS)
def test_a_path_or_a_function(tmp_path, monkeypatch, way):
    ours = list_recipes()
    code = f"from pathlib import Path\nSTUDY = Path({str(STUDY)!r})\n{WAYS[way]}"
    offer(tmp_path, f"study_by_{way}", code, lab_study="found")
    monkeypatch.syspath_prepend(tmp_path)
    assert list_recipes() == tuple(sorted({*ours, "lab-study"}))
    assert load_recipe("lab-study") == load_recipe(str(STUDY))


def test_ours_stay_what_they_are(tmp_path, monkeypatch):
    before = load_recipe("rakhlin2018")
    offer(tmp_path, "taker", "found = {}", rakhlin2018="found")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_recipe("rakhlin2018") == before


def test_its_settings_are_printed(tmp_path, monkeypatch, completed):
    own = tmp_path / "lab-study.yaml"  # with a network of bchisto's, whose defaults are printed too
    own.write_text(STUDY.read_text().replace("plain", "patch-resnet"))
    offer(
        tmp_path,
        "printer",
        f"from pathlib import Path\nfound = Path({str(own)!r})",
        lab_study="found",
    )
    monkeypatch.syspath_prepend(tmp_path)
    out, _ = completed("reproduce lab-study --settings")
    assert re.search(r"finetune +network +patch-resnet +sec\. 2", out)


def test_those_that_are_not_right_are_named_when_asked_for(tmp_path, monkeypatch):
    offer(
        tmp_path,
        "wrong",
        f"""
        from pathlib import Path
        absent = Path({str(tmp_path / "gone.yaml")!r})
        broken = Path({str(tmp_path / "broken.yaml")!r})
        listed = Path({str(tmp_path / "listed.yaml")!r})
        bare = Path({str(tmp_path / "bare.yaml")!r})
        """,
        lost="nowhere",
        absent="absent",
        broken="broken",
        listed="listed",
        bare="bare",
    )
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "listed.yaml").write_text("- a")
    (tmp_path / "bare.yaml").write_text("name: bare")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_recipe("rakhlin2018").name == "rakhlin2018"
    for name, message in [
        ("lost", "recipe lost: its entry point cannot be loaded (AttributeError"),
        (
            "absent",
            f"recipe absent: {tmp_path / 'gone.yaml'} cannot be read (No such file or directory)",
        ),
        ("broken", "recipe broken: not YAML, or nested too deeply ("),
        (
            "listed",
            "recipe listed: a recipe is a mapping with a name, settings and published results",
        ),
        ("bare", "recipe bare: no citation, no dataset"),
    ]:
        with pytest.raises(InputError, match=re.escape(message)):
            load_recipe(name)
