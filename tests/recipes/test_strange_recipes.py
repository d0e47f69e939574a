"""Recipes of strangers: names stay names, and whatever is odd is one line."""

import copy
from importlib import resources

import pytest
import yaml
from bchisto.apps.recipes import load_recipe
from bchisto.core import InputError


@pytest.fixture
def recipe():
    """What is in a recipe of ours, to be changed."""
    text = (resources.files("bchisto.apps.recipes") / "rakhlin2018.yaml").read_text(encoding="utf-8")
    return copy.deepcopy(yaml.safe_load(text))


@pytest.fixture
def refused(tmp_path, cli):
    def run(content, message):
        path = tmp_path / "in" / "recipe.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else yaml.safe_dump(content).encode())
        images = tmp_path / "images"
        images.mkdir(exist_ok=True)
        code, _, said = cli("reproduce", path, "--images", images, "--out", tmp_path / "out", "--quick")
        assert code == 2, said
        assert "Traceback" not in said
        assert message in said.splitlines()[-1]
        assert {one.name for one in tmp_path.iterdir()} <= {"in", "images"}
        assert [one.name for one in path.parent.iterdir()] == ["recipe.yaml"]

    return run


NAMES = ["../../../in/X", "..", ".", "/etc/x", "a/b", "a\\b", "", "x\0y", "-rf", "a\x1b[2J", "x" * 200, None, ["x"]]


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_recipe_is_no_path(recipe, refused, name):
    refused({**recipe, "name": name}, "becomes a part of a path")


@pytest.mark.parametrize("name", NAMES[:6])
def test_the_name_of_a_variant_is_no_path(recipe, refused, name):
    recipe["variants"][name] = {"source": "ours"}
    refused(recipe, "becomes a part of a path")


@pytest.mark.parametrize("name", NAMES[:6])
def test_the_key_of_a_table_is_no_path(recipe, refused, name):
    recipe["published"][0]["key"] = name
    refused(recipe, "becomes a part of a path")


def test_a_table_whose_key_is_a_path_is_not_written(tmp_path):
    from bchisto.evaluate.report import PublishedTable, write_published

    with pytest.raises(InputError, match="becomes a part of a path"):
        write_published(tmp_path / "out", [PublishedTable("../x", "t", "s", ())])
    assert not list(tmp_path.rglob("*.csv"))


def test_folds_of_a_quick_run_are_no_path(tmp_path):
    """A quick run writes lists that are called after the folds of a recipe."""
    from bchisto.apps.recipes.parts import write_quick
    from bchisto.data import Dataset

    dataset = Dataset(name="bach", root=tmp_path, records=(), classes=(), findings=())
    with pytest.raises(InputError, match="no published list of this name"):
        write_quick(dataset, ["../../x"], count=1, folder=tmp_path / "a" / "b")
    assert not list(tmp_path.rglob("*.csv"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("variants", ["published"]),
        ("variants", {"published": "ours"}),
        ("variants", 5),
        ("published", {"kind": "accuracy"}),
        ("published", ["accuracy"]),
        ("published", [{"kind": ["accuracy"]}]),
        ("steps", "featurize"),
        ("steps", [["featurize"]]),
        ("steps", [5]),
        ("images", "many"),
        ("images", True),
        ("title", {"a": 1}),
        ("quick", ["images_per_class"]),
        ("notes", [["one"]]),
        ("notes", "one"),
        ("featurize", ["encoders"]),
        ("featurize", {"encoders": "resnet50"}),
        ("boost", {"folds": {"value": 3.5, "source": "ours"}}),
        ("boost", {"folds": {"value": {"a": 1}, "source": "ours"}, "heads": {"value": "lightgbm", "source": "ours"}}),
        ("split_by", {"source": "ours", "magnification": ["../x"]}),
        ("split_by", {"source": "ours", "magnification": 40}),
        ("split_by", []),
        ("dataset", {"bach": 5}),
        ("dataset", [["bach"]]),
        ("full_scale", "all"),
    ],
)
def test_parts_of_another_kind(recipe, refused, key, value):
    refused({**recipe, key: value}, "recipe rakhlin2018")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "a mapping"),
        (b"- a", "a mapping"),
        (b"\xff\xfe\x00", "not YAML"),
        (b"a: &a [*a]", "aliases repeat"),
        (b"a: [" * 3000, "nested too deeply"),
        (b"name: !!python/object/apply:os.system [id]", "not YAML"),
        (b"images: 2024-99-99", "no citation"),
        (b"images: " + b"9" * 5000, "no citation"),
        (b'{"images": 1' + b"0" * 100 + b"}", "a whole number of more than 256 bits"),
        (b"a: '" + b"x" * 600_000 + b"'", "too large for a recipe"),
    ],
)
def test_texts_that_are_no_recipe(refused, text, message):
    refused(text, message)


def bomb(levels=9):
    """A billion texts in a few lines."""
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines).encode()


def test_an_alias_bomb_in_options(tmp_path, cli):
    (tmp_path / "c.yaml").write_bytes(bomb())
    code, _, said = cli("boost", "--config", tmp_path / "c.yaml", "--out", tmp_path / "run")
    assert code == 2
    assert "--config" in said
    assert "with what its aliases repeat" in said
    (tmp_path / "merged.yaml").write_text("a: &a {x: 1}\n" + "b: &b {<<: [" + ", ".join(["*a"] * 99) + "]}\n"
                                          + "c: &c {<<: [" + ", ".join(["*b"] * 99) + "]}\n"
                                          + "d: {<<: [" + ", ".join(["*c"] * 99) + "]}\n")  # fmt: skip
    code, _, said = cli("boost", "--config", tmp_path / "merged.yaml", "--out", tmp_path / "run")
    assert (code, "with what its aliases repeat" in said) == (2, True)


def test_a_modest_alias_is_read(recipe, tmp_path):
    """What is said twice may be written once."""
    recipe["notes"] = [recipe["title"]]
    text = yaml.safe_dump(recipe, sort_keys=True)
    (line,) = [line for line in text.splitlines() if line.startswith("- Boosted ensembles")]
    text = text.replace(line, f"- &t{line[1:]}").replace(f"title:{line[1:]}", "title: *t")
    assert text.count("*t") == 1
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert load_recipe(str(path)).notes == (recipe["title"],)
