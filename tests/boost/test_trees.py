"""Trees as arrays: what LightGBM predicts, bit by bit; what does not fit is refused."""

import io

import numpy as np
import pytest
from bchisto.boost import pack_text, parse_model
from bchisto.core import BundleError, InputError
from bchisto.core.models import pack_arrays
from numpy.testing import assert_array_equal

KINDS = {
    "gbdt": {},
    "dart": {"boosting": "dart"},
    "forest": {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
    "goss": {"data_sample_strategy": "goss"},
    "nothing is missing": {"use_missing": False},
    "leaves alone": {"min_data_in_leaf": 500},
    "deep": {"num_leaves": 90, "min_data_in_leaf": 1, "max_depth": -1, "learning_rate": 1.0},
    "few bins": {"max_bin": 5, "min_data_in_leaf": 3},
}


def odd(rng, shape, *, nan, infinite):
    """Values with what trees treat apart: zeros, numbers that LightGBM takes for zero, NaN, infinities."""
    rows = rng.normal(size=shape).astype(np.float32)
    rows[rng.random(shape) < 0.05] = -0.0
    shares = {0.0: 0.2, 1e-36: 0.05, -1e-40: 0.05, 1e-35: 0.05}
    shares |= {np.nan: 0.2} if nan else {}
    shares |= {np.inf: 0.05, -np.inf: 0.05, 3e38: 0.02} if infinite else {}
    for value, share in shares.items():
        rows[rng.random(shape) < share] = value
    return rows


def train(rows, labels, rounds=3, **params):
    import lightgbm

    params = {
        "objective": "multiclass",
        "num_class": int(labels.max()) + 1,
        "verbosity": -1,
        "num_threads": 1,
        **params,
    }
    return lightgbm.train(
        params, lightgbm.Dataset(rows, labels, params=params), rounds
    ).model_to_string()


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_those_of_lightgbm_bit_by_bit(kind, classes, rng):
    import lightgbm

    shape = (150, 6)
    text = train(
        odd(rng, shape, nan=False, infinite=False), np.arange(150) % classes, **KINDS[kind]
    )
    theirs, ours = lightgbm.Booster(model_str=text), parse_model(pack_text(text))
    assert ours.classes == classes
    assert ours.features == 6
    assert ours.averaged == (kind == "forest")
    for rows in (
        odd(rng, shape, nan=True, infinite=True),
        odd(rng, shape, nan=False, infinite=True),
        odd(rng, (1, 6), nan=False, infinite=False),
        rng.normal(size=shape),  # float64
        np.asfortranarray(odd(rng, shape, nan=False, infinite=False)),
        np.full((2, 6), np.nan, dtype=np.float32),
        np.zeros((3, 6), dtype=np.float32),
        np.full((1, 6), np.nextafter(np.float32(1e-35), np.float32(1))),
    ):
        before = rows.copy()
        assert_array_equal(ours.predict_rows(rows), theirs.predict(rows))
        assert_array_equal(rows, before)
    assert ours.predict_rows(np.zeros((0, 6), dtype=np.float32)).shape == (0, classes)
    images = odd(rng, (4, 3, 6), nan=False, infinite=False)
    assert_array_equal(
        ours.predict_proba(images),
        theirs.predict(images.reshape(12, 6)).reshape(4, 3, classes).mean(axis=1),
    )


@pytest.mark.parametrize(
    ("nan", "params"),
    [
        (False, {"linear_tree": True}),
        (False, {"zero_as_missing": True}),
        (True, {}),
        (False, {"objective": "multiclassova"}),
    ],
)
def test_trees_of_other_kinds_are_not_kept(nan, params, rng):
    rows = odd(rng, (150, 6), nan=nan, infinite=False)
    with pytest.raises(
        InputError, match="only trees of classes are kept that split by a threshold"
    ):
        pack_text(train(rows, np.arange(150) % 3, **params))


@pytest.fixture(scope="module")
def arrays():
    """The arrays of six trees of five features."""
    rng = np.random.default_rng(0)
    text = train(
        rng.normal(size=(120, 5)).astype(np.float32),
        np.arange(120) % 3,
        rounds=2,
        min_data_in_leaf=5,
    )
    with np.load(io.BytesIO(pack_text(text))) as file:
        return {name: file[name] for name in file.files}


def first(value, place=0):
    """Exchange one number of an array."""

    def change(array):
        array = array.copy()
        array[place] = value
        return array

    return change


def chain(depth):
    """Trees in which every split hangs on the one before."""
    ones = np.ones(3 * depth, np.int32)
    left = np.tile([*range(1, depth), -depth], 3).astype(np.int32)
    right = np.tile([*range(-1, -depth, -1), -depth - 1], 3).astype(np.int32)
    more = np.ones(3 * depth + 3, np.int32)
    return {
        "leaves": np.full(3, depth + 1),
        "feature": 0 * ones,
        "threshold": 1.0 * ones,
        "left": left,
        "right": right,
        "value": np.tile([*[1.0] * depth, 2.0], 3),
        "split_rows": ones,
        "leaf_rows": more,
    }


ALTERED = {
    "a feature out of range": ({"feature": first(5)}, "a split by a feature that it does not have"),
    "features of fractions": (
        {"feature": lambda a: a + 0.5},
        "its feature are of the type float64",
    ),
    "a left child out of range": ({"left": first(4000)}, "a child that its tree does not have"),
    "children in a circle": ({"left": first(0)}, "splits that form no tree"),
    "a leaf hung twice": ({"right": first(-1, -1)}, "splits that form no tree"),
    "two splits that name each other": (
        {"left": first([-1, 2, 1], slice(3))},
        "splits that form no tree",
    ),
    "deeper than any tree": (chain(1500), "one deeper than 1,000"),
    "no leaves": ({"leaves": first(0)}, "its leaves are miscounted"),
    "leaves past all numbers": (
        {"leaves": first(2**62, slice(4))},
        "far too large|its leaves are miscounted",
    ),
    "one leaf fewer": ({"leaves": lambda a: a - (np.arange(6) == 0)}, "its leaves are miscounted"),
    "a split fewer": (
        {name: lambda a: a[1:] for name in ("feature", "threshold", "left", "right", "split_rows")},
        "its splits are miscounted",
    ),
    "arrays of other lengths": (
        {"threshold": lambda a: a[1:]},
        "the array threshold of a model has the shape",
    ),
    "no tree": ({"leaves": lambda a: a[:0]}, "0 trees for 3 classes"),
    "classes of which there is no tree": ({"classes": np.array(4)}, "6 trees for 4 classes"),
    "a billion features": ({"features": np.array(10**9)}, "1,000,000,000 features"),
    "a leaf NaN": (
        {"value": first(np.nan)},
        "the array value of a model holds values that are not finite",
    ),
    "a leaf of 1e308": ({"value": first(1e308)}, "leaves that are not scores"),
    "counts below zero": ({"leaf_rows": first(-7)}, "not numbers of rows"),
}


def altered(arrays, changes):
    """Bytes of a model with some arrays exchanged, or changed by functions."""
    changed = {
        name: change(arrays[name]) if callable(change) else change
        for name, change in changes.items()
    }
    return pack_arrays({**arrays, **changed})


@pytest.mark.parametrize("name", ALTERED)
def test_altered_trees_are_refused(arrays, name):
    changes, message = ALTERED[name]
    with pytest.raises(BundleError, match=message) as caught:
        parse_model(altered(arrays, changes))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_deep_tree_predicts(arrays):
    """Rows at or below the thresholds go down to the last leaf, the others leave at the first split."""
    rows = np.array([[0.5] * 5, [2.0] * 5], dtype=np.float32)
    deep = parse_model(altered(arrays, chain(300)))
    assert_array_equal(deep.predict_rows(rows), np.full((2, 3), 1 / 3))
    none = {name: lambda a: 0 * a for name in ("split_rows", "leaf_rows")}
    assert parse_model(altered(arrays, none)).base is None
