"""Sets too small for LightGBM's leaves: it is said that nothing was learnt, and what helps does help."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from bchisto.boost import PRESETS, fit_text, model_params, pack_text, parse_model
from bchisto.boost.units import learning_banner
from bchisto.commands import in_flags
from bchisto.evaluate import PredictionTable, constant_folds
from command_line import EVERY
from packs import model_file


def fit(rows, **changes):
    rng = np.random.default_rng(0)
    labels = np.arange(rows) % 2
    features = (rng.normal(size=(rows, 1, 5)) + 3 * labels[:, None, None]).astype(np.float32)
    preset = PRESETS["published"].with_params({"num_iterations": 3, **changes})
    return fit_text(
        features, labels, params=model_params(preset, classes=2, seed=0, fold_position=0), rounds=3
    )


@pytest.mark.parametrize(
    ("rows", "changes", "learns"),
    [(39, {}, False), (60, {}, True), (39, {"min_data_in_leaf": 5}, True)],
)
def test_splits_are_counted_as_lightgbm_counts_them(rows, changes, learns):
    import lightgbm

    text = fit(rows, **changes)
    trees = lightgbm.Booster(model_str=text).dump_model()["tree_info"]
    model = parse_model(pack_text(text))
    assert model.splits == sum(tree["num_leaves"] - 1 for tree in trees)
    assert model.constant != learns


def unit(labels, **params):
    return SimpleNamespace(
        head="lightgbm", part=SimpleNamespace(store="s", labels=labels), params=params
    )


def test_what_is_suggested_follows_from_the_data():
    idle, learnt = (SimpleNamespace(constant=constant) for constant in (True, False))
    units = [unit((0,) * 7 + (1,) * 5), unit((0, 1))]
    banner = learning_banner(units, [idle, learnt], augmentations={"s": 3})
    assert banner.startswith("NOTHING LEARNT: 1 of 2 LightGBM models give all images the same")
    assert "A leaf needs 20 rows (min_data_in_leaf), and as few as 36 train" in banner
    for shown in (banner, banner.written(in_flags(EVERY["evaluate"]))):
        option = "bchisto boost --param min_data_in_leaf=3 --overwrite ..."
        assert f"set it to 3, {option}, or use more augmentations" in shown
    assert learning_banner(units[1:], [learnt], augmentations={"s": 3}) is None
    banner = learning_banner([unit((0, 1), min_data_in_leaf=1)], [idle], augmentations={"s": 3})
    assert "leaves need 1 row only" in banner


def test_tables_of_constant_folds():
    """Of one image a fold nothing can be told, and one fold that learnt is not among those that did not."""
    shares = np.array([[0.5, 0.5], [0.5, 0.5], [0.2, 0.8], [0.8, 0.2], [0.3, 0.7]])
    images, labels = tuple("abcde"), np.array([0, 1, 0, 1, 0])
    table = PredictionTable(
        "t", ("x", "y"), images, labels, shares, shares.argmax(axis=1), (1, 1, 2, 2, 3), (None,) * 5
    )
    assert (
        constant_folds(table)
        == "NOTHING LEARNT: the models of 1 of 3 folds give all images the same probabilities"
    )
    assert constant_folds(replace(table, folds=(1, 2, 3, 4, 5))) is None
    assert constant_folds(replace(table, folds=(None,) * 5)) is None


@pytest.mark.parametrize("head", ["logistic", "svm"])
def test_any_head_on_embeddings_that_are_all_alike(head, tmp_path, completed):
    """What is told follows from the out-of-fold predictions, so it holds for networks and heads of other packages."""
    names = np.array([f"i{number}" for number in range(12)])
    file = tmp_path / "e.npz"
    np.savez(
        file, features=np.ones((12, 2), np.float32), image_id=names, label=np.array(["a", "b"] * 6)
    )
    run = tmp_path / "run"
    out, _ = completed("boost --out {} --features {} --head {} --folds 3 --jobs 1", run, file, head)
    sentence = "NOTHING LEARNT: the models of 3 of 3 folds give all images the same probabilities"
    assert sentence[:42] in out
    assert sentence in (run / "boost" / f"3-{head}" / "report.html").read_text(encoding="utf-8")
    out, _ = completed("predict {} --features {} --out T/p.csv", model_file(run), file)
    assert "NOTHING LEARNT" in out
