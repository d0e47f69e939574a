"""The difference of two precisions by hand, and how often its interval covers."""

import numpy as np
import pytest
from bchisto.evaluate import PredictionTable, precision_difference


def table(called, labels, groups=None):
    p = np.where(np.asarray(called), 0.9, 0.1)
    return PredictionTable.from_probabilities(
        name="x", classes=["benign", "malignant"], image_ids=[f"{k}" for k in range(len(p))],
        labels=["malignant" if one else "benign" for one in labels], probabilities=np.stack([1 - p, p], axis=1),
        folds=[1] * len(p), groups=groups or [None] * len(p),
    )  # fmt: skip


def test_by_hand():
    """Of 24 called malignant by the first 20 are so, of ten by the second all."""
    labels = [1] * 20 + [0] * 20
    first, second = table([1] * 24 + [0] * 16, labels), table([1] * 10 + [0] * 30, labels)
    found = precision_difference(first, second)
    assert found["value"] == pytest.approx(1 - 20 / 24)
    assert found["interval"][0] < 0 < 1 / 6 < found["interval"][1] < 0.4
    assert precision_difference(first, table([0] * 40, labels)) is None


def test_f1_by_hand():
    """Twice the hits by calls and positives: 40 of 44, and 20 of 30."""
    labels = [1] * 20 + [0] * 20
    first, second = table([1] * 24 + [0] * 16, labels), table([1] * 10 + [0] * 30, labels)
    found = precision_difference(first, second, f1=True)
    assert found["value"] == pytest.approx(20 / 30 - 40 / 44)
    assert found["interval"][0] < 20 / 30 - 40 / 44 < found["interval"][1] < 0.05


def test_patients_are_the_units():
    """Ten copies of each image of one patient say no more than one."""
    rng = np.random.default_rng(0)
    labels, a = rng.random(40) < 0.5, rng.random(40) < 0.5
    b = np.where(rng.random(40) < 0.7, labels, a)
    one = precision_difference(table(a, labels), table(b, labels))
    groups = [f"p{k // 10}" for k in range(400)]
    many = precision_difference(*(table(np.repeat(x, 10), np.repeat(labels, 10), groups) for x in (a, b)))
    np.testing.assert_allclose(many["interval"], one["interval"])
