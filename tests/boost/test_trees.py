"""Our own reader of LightGBM's text: what LightGBM predicts, bit by bit; what does not fit is refused."""

import re

import numpy as np
import pytest
from bchisto.boost import parse_model, predict_proba
from bchisto.boost.tree_text import read_forest, write_text
from bchisto.errors import BundleError
from hypothesis import given, settings
from hypothesis import strategies as st

KINDS = {
    "gbdt": {},
    "dart": {"boosting": "dart"},
    "forest": {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
    "goss": {"data_sample_strategy": "goss"},
    "linear": {"linear_tree": True, "num_leaves": 15, "min_data_in_leaf": 5},
    "zero is missing": {"zero_as_missing": True},
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
    return lightgbm.train(params, lightgbm.Dataset(rows, labels, params=params), rounds).model_to_string()


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("nan", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_those_of_lightgbm_bit_by_bit(kind, nan, classes, rng):
    import lightgbm

    shape = (150, 6)
    infinite = kind != "linear"  # whose least squares LightGBM cannot solve then
    text = train(odd(rng, shape, nan=nan, infinite=False), np.arange(150) % classes, **KINDS[kind])
    theirs, ours = lightgbm.Booster(model_str=text), read_forest(text)
    assert (ours.classes, ours.features, ours.averaged) == (classes, 6, kind == "forest")
    for rows in (
        odd(rng, shape, nan=True, infinite=infinite),
        odd(rng, shape, nan=False, infinite=infinite),
        odd(rng, (1, 6), nan=False, infinite=False),
        rng.normal(size=shape),  # float64
        np.asfortranarray(odd(rng, shape, nan=nan, infinite=False)),
        np.full((2, 6), np.nan, dtype=np.float32),
        np.zeros((3, 6), dtype=np.float32),
        np.full((1, 6), np.nextafter(np.float32(1e-35), np.float32(1))),
    ):
        before = rows.copy()
        np.testing.assert_array_equal(ours.predict_proba(rows), theirs.predict(rows))
        np.testing.assert_array_equal(rows, before)
    assert ours.predict_proba(np.zeros((0, 6), dtype=np.float32)).shape == (0, classes)
    model = parse_model(text)
    images = odd(rng, (4, 3, 6), nan=False, infinite=False)
    np.testing.assert_array_equal(
        predict_proba(model, images), theirs.predict(images.reshape(12, 6)).reshape(4, 3, classes).mean(axis=1)
    )
    if kind == "linear":
        with pytest.raises(BundleError, match="not known of linear trees"):
            model.contributions(images)
        return
    found = model.contributions(images)
    expected = theirs.predict(images.reshape(12, 6), pred_contrib=True).reshape(4, 3, -1).mean(axis=1)
    np.testing.assert_array_equal(found.reshape(4, -1), expected)
    again = read_forest(write_text(ours))
    assert again.predict_proba(images[0]).tobytes() == ours.predict_proba(images[0]).tobytes()


@pytest.fixture(scope="module")
def text():
    rng = np.random.default_rng(0)
    return train(rng.normal(size=(120, 5)).astype(np.float32), np.arange(120) % 3, rounds=2, min_data_in_leaf=5)


def put(name, value, place=None):
    """Replace a line of the first tree (or of the head), or one of its numbers."""

    def change(text):
        def line(match):
            cells = match[1].split(" ")
            if place is None:
                return f"{name}={value}"
            cells[place] = value
            return f"{name}={' '.join(cells)}"

        changed = re.sub(rf"^{name}=(.*)$", line, text, count=1, flags=re.MULTILINE)
        assert changed != text
        return changed

    return change


def chain(depth):
    """A text of trees in which every split hangs on the one before."""

    def change(text):
        counts = " ".join(["1"] * depth)
        children = " ".join([*map(str, range(1, depth)), str(-depth)])
        lines = {
            "num_leaves": depth + 1, "num_cat": 0, "split_feature": " ".join(["0"] * depth), "threshold": counts,
            "decision_type": " ".join(["2"] * depth), "left_child": children,
            "right_child": " ".join(map(str, [*range(-1, -depth, -1), -depth - 1])),
            "leaf_value": f"{counts} 1", "leaf_count": f"{counts} 1", "internal_count": counts, "is_linear": 0,
        }  # fmt: skip
        tree = "".join(f"{name}={value}\n" for name, value in lines.items())
        head = re.sub(r"^tree_sizes=.*\n", "", text.partition("\nTree=")[0], flags=re.MULTILINE)
        return "".join(
            [head, *(f"\nTree={n}\n{tree}" for n in range(3)), "\nend of trees\n\npandas_categorical:null\n"]
        )

    return change


WHOLE = r"not a whole LightGBM text model"

ALTERED = {
    # the 27 of the campaign and their like
    "a feature out of range": (put("split_feature", "5000000", 0), "a split by a feature that it has not"),
    "a negative feature": (put("split_feature", "-1", 0), "a split by a feature"),
    "a feature past all numbers": (put("split_feature", "9" * 40, 0), "a split by a feature"),
    "a left child out of range": (put("left_child", "4000", 0), "a child that its tree has not"),
    "a right leaf out of range": (put("right_child", "-4000", 0), "a child that its tree has not"),
    "children in a circle": (put("left_child", "0", 0), "splits that form no tree"),
    "all children the root": (
        lambda t: re.sub(r"(?<=left_child=).*", lambda m: re.sub(r"\S+", "0", m[0]), t),
        "splits that form no tree",
    ),
    "a leaf hung twice": (put("right_child", "-1", -1), "splits that form no tree"),
    "two splits that name each other": (None, "splits that form no tree"),
    "no leaves": (put("num_leaves", "0"), "a tree without leaves"),
    "negative leaves": (put("num_leaves", "-5"), "a tree without leaves"),
    "a billion leaves": (put("num_leaves", "999999999"), "not as many split_feature"),
    "leaves past whole numbers": (put("num_leaves", "1000000000000"), "is no whole number"),
    "5,000 digits": (put("num_leaves", "1" * 5000), "is no whole number"),
    "one leaf fewer": (put("num_leaves", "2"), "not as many split_feature"),
    "lying tree_sizes": (put("tree_sizes", "1 2"), r"6 trees for 3 classes"),
    "a million classes": (put("num_class", "1000000"), "not of classes"),
    "no class": (put("num_class", "0"), "not of classes"),
    "one class": (
        lambda t: t.replace("num_class=3", "num_class=1").replace("num_class:3", "num_class:1"),
        "not of classes",
    ),
    "no model in a round": (put("num_tree_per_iteration", "0"), "a round has not one tree for each class"),
    "minus two models in a round": (put("num_tree_per_iteration", "-2"), "a round has not one tree"),
    "a million categorical splits": (put("num_cat", "1000000"), "categorical splits"),
    "a categorical split": (put("decision_type", "1", 0), "a split of unknown type"),
    "an unknown kind of missing": (put("decision_type", "12", 0), "a split of unknown type"),
    "another objective": (put("objective", "binary sigmoid:1"), "of 'binary sigmoid:1', not of classes"),
    "another version": (put("version", "v9"), "of the version 'v9'; upgrade"),
    "no objective": (lambda t: t.replace("objective=", "0bjective="), "no 'objective'"),
    "more features than names": (put("max_feature_idx", "7"), "its feature_names are not 8"),
    "a billion features": (put("max_feature_idx", "999999998"), "999,999,999 features"),
    "no feature": (put("max_feature_idx", "-1"), "0 features"),
    # numbers
    "a leaf NaN": (put("leaf_value", "nan", 0), "its leaf_value are no numbers"),
    "a leaf infinite": (put("leaf_value", "1e999", 0), "its leaf_value are not finite"),
    "a leaf of 1e308": (put("leaf_value", "1e308", 0), "leaves that are no scores"),
    "a leaf of words": (put("leaf_value", "0x10", 0), "its leaf_value are no numbers"),
    "a threshold NaN": (put("threshold", "nan", 0), "its threshold are no numbers"),
    "two numbers in one": (put("threshold", "1.0-2", 0), WHOLE),
    "a sign alone": (put("threshold", "-", -1), WHOLE),
    "a half feature": (put("split_feature", "0.5", 0), WHOLE),
    "counts below zero": (put("leaf_count", "-7", 0), "no numbers of rows"),
    "a wide space": (put("threshold", "\u20031", 0), "its threshold are no numbers"),
    # lines
    "a line twice": (lambda t: t.replace("\nnum_cat=0", "\nnum_cat=0\nnum_cat=0", 1), "a line stands in it twice"),
    "a tree missing": (lambda t: t[: t.index("Tree=1")] + t[t.index("Tree=2") :], "tree 1 is not where it should be"),
    "trees swapped": (lambda t: t.replace("Tree=1", "Tree=9").replace("Tree=2", "Tree=1"), "tree 1 is not where"),
    "no tree": (lambda t: t[: t.index("\nTree=0")] + t[t.index("\nend of trees") :], "0 trees for 3 classes"),
    "a tree fewer": (lambda t: t[: t.index("\nTree=5")] + t[t.index("\nend of trees") :], "5 trees for 3 classes"),
    "an end alone": (lambda t: "tree\npandas_categorical:null", WHOLE),
    "empty": (lambda t: "", WHOLE),
    "the end cut off": (lambda t: t[:-40], WHOLE),
    "deeper than any tree": (chain(1500), "one deeper than 1,000"),
}  # fmt: skip


@pytest.mark.parametrize("name", ALTERED)
def test_an_altered_text_is_refused(text, name):
    change, message = ALTERED[name]
    if change is None:  # the root keeps a leaf on either side; the others hang on each other
        count = len(re.search(r"^split_feature=(.*)$", text, re.M)[1].split())
        change = lambda t: put("left_child", " ".join(["-1", "2", "1", *map(str, range(3, count))]))(t)  # noqa: E731
    with pytest.raises(BundleError, match=message) as caught:
        read_forest(change(text))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_text_larger_than_a_model_can_be(text, monkeypatch):
    monkeypatch.setattr("bchisto.boost.tree_text._MOST_BYTES", 1000)
    with pytest.raises(BundleError, match="larger than a model can be"):
        read_forest(text)


def test_a_deep_tree_predicts_and_is_not_explained(text):
    import lightgbm

    deep, rows = chain(300)(text), np.array([[0.5] * 5, [2.0] * 5], dtype=np.float32)
    np.testing.assert_array_equal(read_forest(deep).predict_proba(rows), lightgbm.Booster(model_str=deep).predict(rows))
    with pytest.raises(BundleError, match="nor of trees deeper than 200 splits"):
        parse_model(deep).contributions(rows[:, np.newaxis])
    none = re.sub(r"(?<=_count=).*", lambda found: re.sub(r"\d+", "0", found[0]), text)
    with pytest.raises(BundleError, match="counts of training rows"):
        parse_model(none).contributions(rows[:, np.newaxis])


def test_the_old_form_of_a_model_warns(text):
    model, rows = parse_model(text), np.ones((2, 5), dtype=np.float32)
    with pytest.warns(DeprecationWarning, match=r"take \.booster\.predict"):
        found = model.predict(rows)
    np.testing.assert_array_equal(found, model.forest.predict_proba(rows))
    with pytest.raises(AttributeError):
        model._none  # noqa: B018


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_any_mutation_is_refused_or_predicts(text, data):
    """Bytes, numbers and lines exchanged: one line says what is wrong, or probabilities come out."""
    lines = text.split("\n")
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, text.count("\n", 0, text.index("end of trees"))))
        name, equals, value = lines[place].partition("=")
        cells = value.split(" ")
        cell = data.draw(st.integers(0, len(cells) - 1))
        number = st.one_of(st.integers(-9, 9), st.integers(), st.floats(), st.text(max_size=5)).map(str)
        cells[cell] = data.draw(number)
        lines[place] = data.draw(st.sampled_from([f"{name}{equals}{' '.join(cells)}", lines[place - 1], "", name]))
    try:
        forest = read_forest("\n".join(lines))
    except BundleError as error:
        said = str(error)
    else:
        said = ""
        rows = np.linspace(-2, 2, 3 * forest.features).reshape(3, -1).astype(np.float32)
        found = forest.predict_proba(rows)
        assert found.shape == (3, forest.classes)
        np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert "\n" not in said
