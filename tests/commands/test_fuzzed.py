"""Changed files, a few of those of `tools/benchmarks/fuzz_tables.py`: one line or the right answer."""

import csv
import importlib.util
import re
import sys
from pathlib import Path

import pytest
import yaml
from bchisto.apps.recipes import form, load_recipe
from bchisto.core import BchistoError
from bchisto.core.formats import parse_yaml
from bchisto.core.runs import load_config, read_run
from bchisto.data.folds.folds import read_fold_list
from bchisto.evaluate import read_predictions
from conftest import REPOSITORY, typed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from own_process import run_process

RECIPE = yaml.safe_load((Path(form.__file__).parent / "rakhlin2018.yaml").read_text())
FUZZER = REPOSITORY / "tools" / "benchmarks" / "fuzz_tables.py"

short = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
cell = st.sampled_from(
    [
        "",
        "a",
        "b",
        "0",
        "1",
        "0.5",
        "-1",
        "nan",
        "9" * 5000,
        "=1",
        "'=1",
        "é",
        "\x1b",
        "x,y",
        'q"',
        "\r",
    ]
)
value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def outcome(read, *given):
    """Return what a reader gives, and what it says where it refuses."""
    try:
        return read(*given), None
    except BchistoError as error:
        return None, str(error)


def written(path, rows):
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows(rows)
    return path


@short
@given(st.lists(st.lists(cell, min_size=3, max_size=3), max_size=6))
def test_fold_lists(tmp_path, rows):
    path = written(tmp_path / "folds.csv", [["image_id", "fold", "part"], *rows])
    found, said = outcome(read_fold_list, path)
    if said is None:
        assert len({(image, fold) for image, fold, _ in found}) == len(found) > 0
    else:
        assert str(path) in said


@short
@given(st.lists(st.lists(cell, min_size=5, max_size=5), max_size=6))
def test_prediction_tables(tmp_path, rows):
    path = written(tmp_path / "t.csv", [["image_id", "label", "fold", "p_a", "p_b"], *rows])
    found, said = outcome(read_predictions, path)
    if said is None:
        assert abs(found[0].probabilities.sum(axis=1) - 1).max() <= 1.1e-3
    else:
        assert str(path) in said


@short
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_options_recipes_and_records_of_any_bytes(tmp_path, content):
    for name, read in (
        ("c.yaml", lambda path: load_config(path, command="boost")),
        ("r.yaml", lambda path: load_recipe(str(path))),
        ("run.json", lambda path: read_run(path.parent)),
    ):
        (tmp_path / name).write_bytes(content)
        found, said = outcome(read, tmp_path / name)
        assert found is not None or str(tmp_path) in said


@short
@given(value)
def test_yaml_means_what_it_means(content):
    class AsWritten(yaml.BaseLoader):
        """Scalars as texts, but null."""

    AsWritten.add_implicit_resolver(
        "tag:yaml.org,2002:null", re.compile("^(~|null|Null|NULL|)$"), ["~", "n", "N", ""]
    )
    AsWritten.add_constructor("tag:yaml.org,2002:null", lambda loader, node: None)
    text = yaml.safe_dump(content, allow_unicode=True)
    assert yaml.safe_dump(parse_yaml(text)) == yaml.safe_dump(yaml.load(text, AsWritten))


@short
@given(
    st.sampled_from(
        ["name", "variants", "published", "quick", "steps", "featurize", "dataset", "notes"]
    ),
    value,
)
def test_recipes_of_which_a_part_is_another(key, content):
    found, said = outcome(form.parse_recipe, {**RECIPE, key: content})
    assert found.chosen(()) if said is None else "recipe" in said


@pytest.mark.slow
@pytest.mark.skipif(not FUZZER.is_file(), reason="needs the repository")
def test_a_few_of_the_campaign():
    """Stores are read in a process of their own, since HDF5 may be ended by what is in them."""
    if importlib.util.find_spec("resource") is None:
        pytest.skip("needs a system that limits memory")
    done = run_process(
        *typed(
            "{} {} --executions 120 --kinds store.h5,manifest.csv --seed 7", sys.executable, FUZZER
        )
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "store.h5: 60 executions" in done.stdout
