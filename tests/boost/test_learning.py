"""Sets too small for LightGBM's leaves: it is said that nothing was learnt, and what helps does help."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from bchisto.boost import PRESETS, fit_text, model_params
from bchisto.boost.learning import learning_banner, models_without_split
from bchisto.boost.lightgbm_model import count_splits


def fit(rows, **changes):
    rng = np.random.default_rng(0)
    labels = np.arange(rows) % 2
    features = (rng.normal(size=(rows, 1, 5)) + 3 * labels[:, None, None]).astype(np.float32)
    preset = PRESETS["rakhlin2018"].with_params({"num_iterations": 3, **changes})
    return fit_text(features, labels, params=model_params(preset, classes=2, seed=0, fold_position=0), rounds=3)


@pytest.mark.parametrize(
    ("rows", "changes", "learns"), [(39, {}, False), (60, {}, True), (39, {"min_data_in_leaf": 5}, True)]
)
def test_splits_are_counted_as_lightgbm_counts_them(rows, changes, learns):
    import lightgbm

    text = fit(rows, **changes)
    trees = lightgbm.Booster(model_str=text).dump_model()["tree_info"]
    assert count_splits(text) == sum(tree["num_leaves"] - 1 for tree in trees)
    assert (count_splits(text) > 0) == learns


def unit(folder, text, *, labels, **params):
    path = folder / f"{len(list(folder.iterdir()))}.txt"
    path.write_text(text)
    return SimpleNamespace(head="lightgbm", store="s", model=path, labels=labels, params=params)


def test_what_is_suggested_follows_from_the_data(tmp_path):
    none, some = fit(39), fit(60)
    units = [unit(tmp_path, none, labels=(0,) * 7 + (1,) * 5), unit(tmp_path, some, labels=(0, 1))]
    found = models_without_split(units, augmentations={"s": 3})
    assert found == {
        "models": 2, "without_split": 1, "training_rows": 36, "min_data_in_leaf": 20, "suggested_min_data_in_leaf": 3,
    }  # fmt: skip
    assert models_without_split(units[1:], augmentations={"s": 3}) == {}
    constant = [unit(tmp_path, none, labels=(0, 1), min_data_in_leaf=1)]
    assert "leaves need 1 rows only" in learning_banner(models_without_split(constant, augmentations={"s": 3}))


def test_a_small_set_says_that_nothing_was_learnt(described, run_copy, cli):
    """Twelve images of two augmentations, of which eight train: 16 rows."""
    run = run_copy(described)
    options = ("boost", "--out", run, "--folds", 3, "--seeds", 1, "--param", "num_iterations=5", "--jobs", 1)
    code, out, err = cli(*options)
    assert code == 0, err
    banner = (
        "NOTHING LEARNT: 3 of 3 LightGBM models have no split and say the same of every image. A leaf needs 20 rows "
        "(min_data_in_leaf), and as few as 16 train (images x augmentations); lower min_data_in_leaf to 2, or "
        "describe the images with more augmentations."
    )
    assert banner in out
    folder = run / "boost" / "3-lightgbm"
    content = json.loads((folder / "metrics.json").read_text())["run"]
    assert banner in content["banners"]
    assert content["learning"]["without_split"] == 3
    assert "NOTHING LEARNT" in (folder / "report.html").read_text()
    code, out, err = cli(*options, "--param", "min_data_in_leaf=2", "--overwrite")
    assert code == 0, err
    assert "NOTHING LEARNT" not in out
    content = json.loads((folder / "metrics.json").read_text())
    assert "learning" not in content["run"]
    assert content["tables"]["fusion"]["accuracy"] > 0.7
