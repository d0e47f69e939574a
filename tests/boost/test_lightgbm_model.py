import numpy as np
import pytest
from bchisto.boost import PRESETS, fit_text, fit_texts, model_params
from bchisto.boost.presets import parse_params
from bchisto.boost.trees import import_lightgbm
from bchisto.core import DependencyError, InputError
from numpy.testing import assert_allclose
from refusals import refuses


@pytest.fixture
def data(rng):
    labels = np.repeat([0, 1, 2], 12)
    features = rng.normal(size=(36, 3, 10)).astype(np.float32)
    features[:, :, 0] += labels[:, None]
    return features, labels


def fit(features, labels, **changes):
    preset = PRESETS["published"].with_params(
        {"num_iterations": 6, "min_data_in_leaf": 3, **changes}
    )
    return fit_text(
        features,
        labels,
        params=model_params(preset, classes=3, seed=0, fold_position=0),
        rounds=preset.rounds,
    )


def test_the_preset_is_the_published_one():
    preset = PRESETS["published"]
    assert preset.rounds == 70
    assert preset.params == {
        "learning_rate": 0.1,
        "num_leaves": 191,
        "max_depth": 7,
        "feature_fraction": 0.46,
        "bagging_fraction": 0.69,
        "bagging_freq": 0,
    }


def leaves(preset, classes):
    """What one round adds to the scores of two leaves: those of the model, and those of LightGBM 2 by hand."""
    import lightgbm

    labels = np.repeat(np.arange(classes), 40)
    sides = np.tile(np.repeat([0, 1], 20), classes)
    sides[labels == 0] = 1 - np.tile([0, 0, 0, 1], 10)
    params = model_params(preset, classes=classes, seed=0, fold_position=0)
    text = fit_text(sides[:, None, None].astype(np.float32), labels, params=params, rounds=1)
    scores = lightgbm.Booster(model_str=text).predict([[0.0], [1.0]], raw_score=True) - np.log(
        1 / classes
    )
    p, true = 1 / classes, np.eye(classes)[labels]
    return scores, [
        [
            -0.1 * (p - true[sides == side, k]).sum() / (2 * p * (1 - p) * (sides == side).sum())
            for k in range(classes)
        ]
        for side in (0, 1)
    ]


@pytest.mark.parametrize("classes", [2, 3, 4, 7])
def test_the_published_preset_steps_as_lightgbm_2_did(classes):
    """Leaves by hand: version 2 had the hessian 2 p (1 - p) for any number of classes."""
    assert_allclose(*leaves(PRESETS["published"], classes), rtol=1e-6)


@pytest.mark.parametrize(
    "preset",
    [
        PRESETS["standard"],
        PRESETS["quick"],
        PRESETS["published"].with_params({"learning_rate": 0.1}),
    ],
)
def test_other_presets_and_a_typed_learning_rate_are_those_of_today(preset):
    today, of_version_2 = leaves(preset.with_params({"bagging_freq": 0}), 4)
    assert_allclose(today, np.multiply(of_version_2, 1.5), rtol=1e-6)


def test_the_learning_rate_of_both_versions():
    rates = {k: PRESETS["published"].for_classes(k).params["learning_rate"] for k in (2, 3, 4, 7)}
    assert rates == pytest.approx({2: 0.1, 3: 0.075, 4: 0.1 * 2 / 3, 7: 0.7 / 12})
    assert rates[2] == 0.1  # exactly, so that the models of two classes keep their keys
    several = PRESETS["published"].with_params({"num_leaves": 31})
    assert several.for_classes(4).for_classes(4).params["learning_rate"] == rates[4]


@pytest.mark.parametrize(("seed", "fold", "first"), [(0, 0, 1), (0, 9, 10), (4, 0, 41), (4, 9, 50)])
def test_seed_rule_of_the_published_code(seed, fold, first):
    params = model_params(PRESETS["published"], classes=4, seed=seed, fold_position=fold)
    assert params["feature_fraction_seed"] == first
    assert params["bagging_seed"] == first + 1
    assert params["objective"] == "multiclass"
    assert params["num_class"] == 4
    assert params["num_threads"] == 1


def test_parameters_by_text():
    assert parse_params(["num_leaves=31", "extra_trees=true", "boosting=gbdt"]) == {
        "num_leaves": 31,
        "extra_trees": True,
        "boosting": "gbdt",
    }
    odd = parse_params(["a=010", "b=1:30", "c=no", "d=1e-3", "e=[1, 0.5, x]", "f=2024-01-01"])
    assert odd == {
        "a": 10,
        "b": "1:30",
        "c": "no",
        "d": 0.001,
        "e": [1, 0.5, "x"],
        "f": "2024-01-01",
    }
    refuses(InputError, "write it as key=value", parse_params, ["num_leaves"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_leavs": 5}, "`params` num_leavs: LightGBM has no parameter of this name"),
        ({"objective": "binary"}, "`params` objective: is set by bchisto"),
        (
            {"categorical_feature": 0},
            "categorical_feature: is not supported: it refers to individual features",
        ),
        ({"num_iterations": 0}, "give at least 1 round"),
        (
            {"num_iterations": "abc"},
            "`params` num_iterations=abc: give at least 1 round, as a whole number",
        ),
        (
            {"early_stopping_round": 3},
            "`params` early_stopping_round: needs a validation set, which boost has not",
        ),
        ({"metric": "foo"}, "`params` metric=foo: cannot be used"),
        (
            {"learning_rate": "abc"},
            r"`params` learning_rate=abc: cannot be used \(Unknown token abc in data file\)",
        ),
        ({"learning_rate": float("nan")}, "`params` learning_rate: cannot be nan"),
        (
            {"num_leaves": 1},
            r"`params` num_leaves=1: cannot be used \(Check failed: \(num_leaves\) > \(1\)\)",
        ),
        ({"num_leaves": 10**12}, "`params` num_leaves: cannot be 1000000000000"),
        ({"boosting": "gbdt num_threads=4"}, "`params` boosting: cannot be 'gbdt num_threads=4'"),
        ({"metric": ""}, "`params` metric: cannot be ''; give a word, true"),
        ({"seed": 2**31}, r"cannot be 2147483648; .*, a finite number \(a whole one below 2\*\*31"),
        (
            {"linear_tree": True},
            "`params` linear_tree=True: cannot be used .only trees of classes are kept",
        ),
        ({"data": "x"}, "`params` data: is not supported"),
        (
            {"boosting": "rf", "feature_fraction": 1.0},
            "boosting=rf feature_fraction=1.0: cannot be used",
        ),
    ],
)
def test_parameters_that_do_not_fit(changes, message, capfd):
    with pytest.raises(InputError, match=message) as caught:
        PRESETS["published"].with_params(changes)
    assert "\n" not in str(caught.value)
    assert "config_auto" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # LightGBM's library writes a line of its own


@pytest.mark.parametrize("text", ["x=[1", "num_leaves=!!timestamp 2024-99-99", "a=" + "[" * 3000])
def test_values_that_cannot_be_read(text):
    refuses(InputError, "its value cannot be read; write it as key=value", parse_params, [text])
    with pytest.raises(InputError, match="`params` num_leaves: given twice, as 3 and 4"):
        parse_params(["num_leaves=3", "num_leaves=4"])


def test_parameters_that_fit():
    changes = {
        "num_leaves": np.int64(7),
        "extra_trees": True,
        "boosting": "dart",
        "n_estimators": 3.0,
    }
    preset = PRESETS["published"].with_params(changes)
    assert preset.rounds == 3
    assert {name: preset.params[name] for name in ("num_leaves", "extra_trees", "boosting")} == {
        "num_leaves": 7,
        "extra_trees": True,
        "boosting": "dart",
    }
    assert type(preset.params["num_leaves"]) is int


def test_a_missing_openmp_library_is_named(monkeypatch):
    import builtins
    import sys

    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "lightgbm":
            raise OSError("libgomp.so.1: cannot open shared object file")
        return real(name, *arguments, **options)

    monkeypatch.delitem(sys.modules, "lightgbm", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    refuses(DependencyError, "apt-get install libgomp1", import_lightgbm)


def test_models_that_share_bins_equal_models_with_bins_of_their_own(rng):
    features = rng.normal(0, 1, (60, 4, 20)).astype(np.float32)
    labels = rng.integers(0, 3, 60)
    every = [
        model_params(PRESETS["published"], classes=3, seed=seed, fold_position=2)
        for seed in range(3)
    ]
    shared = list(fit_texts(features, labels, params=every, rounds=5))
    assert shared == [fit_text(features, labels, params=params, rounds=5) for params in every]
    assert len(set(shared)) == 3


@pytest.mark.parametrize("preset", ["published", "quick"])
def test_the_layout_changes_no_tree(data, preset):
    features, labels = data
    texts = []
    for layout in ("row", "col"):
        params = model_params(PRESETS[preset], classes=3, seed=1, fold_position=0)
        del params["force_col_wise"]
        texts.append(
            fit_text(features, labels, params={**params, f"force_{layout}_wise": True}, rounds=6)
        )
    first, second = (text.partition("\nparameters:")[0] for text in texts)
    assert first == second
