"""The difference of two precisions by hand, and how often its interval covers."""

import numpy as np
import pytest
from bchisto.evaluate import precision_difference
from written_tables import predictions


def table(called, labels, groups=None):
    return predictions(np.where(called, 0.9, 0.1), np.asarray(labels, int), groups=groups or [None] * len(called))


@pytest.mark.parametrize(
    ("f1", "first", "second", "most"),
    [(False, 20 / 24, 1, 0.4), (True, 40 / 44, 20 / 30, 0.05)],  # twice the hits by calls and positives
)
def test_by_hand(f1, first, second, most):
    """Of 24 called malignant by the first 20 are so, of ten by the second all."""
    labels = [1] * 20 + [0] * 20
    tables = table([1] * 24 + [0] * 16, labels), table([1] * 10 + [0] * 30, labels)
    found = precision_difference(*tables, f1=f1)
    assert found["value"] == pytest.approx(second - first)
    low, high = found["interval"]
    assert low < min(0, second - first)
    assert second - first < high < most
    assert precision_difference(tables[0], table([0] * 40, labels), f1=f1) is None


def test_patients_are_the_units():
    """Ten copies of each image of one patient say no more than one."""
    rng = np.random.default_rng(0)
    labels, a = rng.random(40) < 0.5, rng.random(40) < 0.5
    b = np.where(rng.random(40) < 0.7, labels, a)
    one = precision_difference(table(a, labels), table(b, labels))
    groups = [f"p{k // 10}" for k in range(400)]
    many = precision_difference(*(table(np.repeat(x, 10), np.repeat(labels, 10), groups) for x in (a, b)))
    np.testing.assert_allclose(many["interval"], one["interval"])
