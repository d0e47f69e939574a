"""Which pictures a recipe asks for, of which images, and what a picture that fails costs."""

from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from bchisto.apps.recipes import load_recipe
from bchisto.apps.recipes.pictures import Trained, make_pictures, pictures_of
from bchisto.apps.recipes.taylor import _shared
from bchisto.core import InputError
from bchisto.core.jobs import Work
from bchisto.data import ImageSelection
from bchisto.evaluate import PredictionTable


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variants": ["bset"]}, "explain.variants: bset: did you mean best?"),
        ({"variants": ["decaf"]}, "explain.variants: decaf: trains no network"),
        ({"methods": ["mapp"]}, "explain: `method` mapp: no such method"),
        ({"methods": ["gradcam", ""]}, "explain: `method` : no such method"),
        ({"methods": []}, "explain has no methods"),
        ({"images_per_class": "many"}, "images_per_class"),
        ({"images_per_class": -1}, "`images_per_class` -1: give at least 1"),
        ({"colour": "red"}, "explain.colour: no such setting"),
    ],
)
def test_a_section_that_does_not_fit_is_refused_before_any_work(tmp_path, change, message):
    content = yaml.safe_load((files("bchisto.apps.recipes") / "breakhis-resnet.yaml").read_text())
    content["explain"] |= {
        name: {"value": value, "source": "ours"} for name, value in change.items()
    }
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(InputError) as said:
        load_recipe(str(path))
    assert message in str(said.value)
    assert "recipe breakhis-resnet" in str(said.value)


def test_a_layer_goes_to_the_methods_that_look_at_one():
    found = pictures_of(load_recipe("breakhis-resnet"))
    assert [(one.method, one.layer, one.target) for one in found.asked] == [
        ("activations", "first", "malignant"),
        ("map", "", "malignant"),
    ]
    assert found.images_per_class == 4
    assert pictures_of(load_recipe("breakhis-resnet"), quick=True).images_per_class == 1
    assert pictures_of(load_recipe("idc-patches")) is None


def test_the_surest_right_and_wrong_images_in_turns_and_a_failure_that_costs_nothing(tmp_path):
    """By hand, of class a: b1 (0.9), b2 (0.8), b4 (0.6) right, b3 (0.7 for b) wrong; of b one, which is wrong."""
    shares = np.array([[0.8, 0.2], [0.9, 0.1], [0.3, 0.7], [0.85, 0.15], [0.6, 0.4]])
    table = PredictionTable.from_probabilities(
        name="net",
        classes=["a", "b"],
        image_ids=["b2", "b1", "b3", "é 1", "b4"],
        labels=[*"aaaba"],
        probabilities=shares,
        folds=[1] * 5,
        groups=[None] * 5,
    )
    result = SimpleNamespace(
        panel=SimpleNamespace(table=table), model=tmp_path / "gone.bchisto", folder=tmp_path
    )
    # no pictures of `normal` are asked for
    trained = [
        Trained(name, tmp_path, ImageSelection(tmp_path), result) for name in ("best", "normal")
    ]
    failed: list[str] = []
    asked = pictures_of(load_recipe("breakhis-resnet"))
    assert [*make_pictures(asked, trained, work=Work(jobs=1), failed=failed)] == []
    listed = (tmp_path / "explain" / "best" / "images.csv").read_text().split("\n")
    assert listed[:6] == ["image_id", "b1", "b3", "b2", "b4", "é 1"]
    assert len(failed) == 2
    assert all("gone.bchisto" in line for line in failed)
    assert not (tmp_path / "explain" / "normal").exists()


def test_taylor_shares_the_relevance_of_a_sum_by_size():
    """By hand: of 1 and 3 with the relevance 2; a gate of one value gets nothing."""
    step = SimpleNamespace(kind="Add", sources=(0, 1), part="", operation=None)
    values = {0: np.full((1, 1), 1.0, np.float32), 1: np.full((1, 1), 3.0, np.float32)}
    ahead = np.full((1, 1), 2.0, np.float32)
    small, large = _shared(step, values, ahead, None, None)
    assert (small.item(), large.item()) == pytest.approx((0.5, 1.5))
    (alone,) = _shared(
        SimpleNamespace(**{**vars(step), "sources": (0,)}), values, ahead, None, None
    )
    assert alone.item() == 2.0
    gate = {0: np.ones((1, 2, 2, 1), np.float32), 1: np.ones((1, 1, 1, 1), np.float32)}
    multiply = SimpleNamespace(**{**vars(step), "kind": "Multiply"})
    tissue, weight = _shared(multiply, gate, ahead, None, None)
    assert (tissue.sum(), weight.sum()) == (2.0, 0.0)


def test_taylor_keeps_the_relevance_of_a_padding():
    """By hand: sixteen of relevance on 4 x 4, of which the border of 2 x 2 holds twelve; each image keeps its own."""

    class Padding(SimpleNamespace):
        def __call__(self, image):
            from keras import ops

            return [ops.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))]

    step = Padding(kind="ZeroPadding2D", sources=(0,), part="", operation=None)
    ahead = np.ones((2, 4, 4, 1), np.float32) * np.float32([1, 2]).reshape(2, 1, 1, 1)
    (behind,) = _shared(step, {0: np.zeros((2, 2, 2, 1), np.float32)}, ahead, None, None)
    np.testing.assert_allclose(behind[0], 4.0)
    np.testing.assert_allclose(behind[1], 8.0)
