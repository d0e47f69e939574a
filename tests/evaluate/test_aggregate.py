from dataclasses import replace

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.evaluate import aggregate
from written_tables import predictions

P = [0.9, 0.4, 0.45, 0.1, 0.6, 0.3, 0.7, 0.8, 0.55]  # of malignant
GROUP = ["u", "u", "u", "v", "v", "w", "w", "w", "w"]


def table(labels=None, groups=GROUP, probabilities=True, folds=None):
    labels = labels or ["malignant"] * 3 + ["benign"] * 2 + ["malignant"] * 4
    made = predictions(P, labels, folds=folds or [1] * 9, groups=groups, protocol="p")
    return made if probabilities else replace(made, probabilities=None)


def test_a_group_tested_in_two_folds_is_two_rows():
    assert aggregate(table(folds=[1, 1, 2, 1, 1, 1, 1, 1, 1])).folds == (1, 2, 1, 1)


def test_votes_need_no_probabilities():
    np.testing.assert_array_equal(
        aggregate(table(probabilities=False), rule="vote").predicted, [0, 0, 1]
    )


def test_what_does_not_fit():
    with pytest.raises(
        InputError, match="`rule` median: no such rule; choose one of average, sum, vote"
    ):
        aggregate(table(), rule="median")
    with pytest.raises(
        InputError, match="t: 1 row without a group, first i0; the level group needs them"
    ):
        aggregate(table(groups=[None, *GROUP[1:]]))
    with pytest.raises(
        InputError, match=r"group u has rows of several classes \(benign, malignant\)"
    ):
        aggregate(table(labels=["benign"] + ["malignant"] * 8))
    with pytest.raises(InputError, match='`rule="average"` needs probabilities'):
        aggregate(table(probabilities=False))


def test_exist_needs_two_sides():
    three = predictions([[0.5, 0.3, 0.2]], "a", "abc", groups=["g"])
    with pytest.raises(
        InputError, match='`rule="exist"`: needs two classes, one of them `positive`'
    ):
        aggregate(three, rule="exist", positive=["c"])


def test_what_is_not_new_stays_so():
    """An image of a patch, and a patient of an image, that trained the models."""
    made = replace(table(), not_new=frozenset({"i3", "i0"}))
    assert aggregate(made).not_new == {"u", "v"}
    patches = replace(
        made,
        patches=tuple("012012012"),
        image_ids=tuple("xxxyyyzzz"),
        groups=(None,) * 9,
        labels=np.repeat([1, 0, 1], 3),
        not_new=frozenset({"y"}),
    )
    assert aggregate(patches, level="image").not_new == {"y"}
