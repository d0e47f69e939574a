"""What of the spread of an accuracy is seed, fold and split, against components that are known."""

from dataclasses import replace

import numpy as np
import pytest
from bchisto.evaluate import measure, variance_split
from bchisto.evaluate.report.page import render
from scipy.stats import norm
from written_tables import called_table, predictions


def member(right, splits, folds):
    """A table of splits * folds folds of as many images each; right: bool of shape (splits * folds, images)."""
    images = right.shape[1]
    ids = [f"{fold % folds}/{image}" for fold in range(splits * folds) for image in range(images)]
    number = [fold + 1 for fold in range(splits * folds) for _ in range(images)]
    return predictions(
        np.where(right.ravel(), 0, 1), "a" * right.size, "ab", image_ids=ids, folds=number
    )


def test_hand_worked():
    """Two splits of two folds of four images; seeds 1 and 2 differ in one image of the first fold."""
    first = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]], dtype=bool)
    second = first.copy()
    second[0, 0] = False
    found = variance_split([member(first, 2, 2), member(second, 2, 2)], splits=2)
    # accuracies of the splits: 6/8 and 5/8 for the first, 6/8 and 6/8 for both of the second
    seed = (np.var([6 / 8, 5 / 8], ddof=1) + 0) / 2
    assert found["seed"] == pytest.approx(seed**0.5)
    assert found["split"] == pytest.approx(
        max(0, np.var([11 / 16, 12 / 16], ddof=1) - seed / 2) ** 0.5
    )
    noise = np.var([1, 3 / 4], ddof=1) / 4
    fold = (np.var([7 / 8, 1 / 2], ddof=1) + 0) / 2
    assert found["fold"] == pytest.approx((fold - noise / 2) ** 0.5)
    assert found["seeds"] == 2
    assert found["folds"] == 2
    assert found["splits"] == 2


def test_of_one_there_is_no_spread():
    right = np.array([[1, 0, 1], [1, 1, 1]], dtype=bool)
    found = variance_split([member(right, 1, 2)])
    assert (found["seed"], found["split"]) == (None, None)
    assert found["fold"] == pytest.approx(np.std([2 / 3, 1], ddof=1))
    said = "The spread of the accuracy (standard deviation, points) is 23.6 from fold to fold of 2."
    assert render("spread.txt", split=found).strip() == said


@pytest.mark.parametrize("count", [4, 6, 10, 40])
def test_few_patients_need_no_more_than_wholly_right_or_wrong_ones(count):
    """Half of them are wholly right: the variance of few is estimated too large, and none is larger than theirs."""
    labels = np.arange(5 * count) % 2
    right = np.arange(5 * count) // 5 % 2 == 0
    groups = [f"p{row // 5}" for row in range(5 * count)]
    table = called_table(labels, np.where(right, labels, 1 - labels), groups=groups)
    needed = measure(table)["units"]["needed"]
    most = 0.25 * (norm.ppf(0.975) / 0.05) ** 2
    assert needed == {"accuracy": 385, "patient_recognition_rate": 385}
    assert most == pytest.approx(384.1, abs=0.1)


def test_how_many_units_an_interval_of_five_points_takes():
    """Of single images n p (1 - p) is the textbook's; patients alike within multiply it by their images."""
    labels = np.repeat([0, 1], 50)
    table = called_table(labels, np.where(np.arange(100) % 5 == 0, 1 - labels, labels))
    textbook = 0.8 * 0.2 * (norm.ppf(0.975) / 0.05) ** 2
    needed = measure(table)["units"]["needed"]
    assert needed == {"accuracy": pytest.approx(textbook, rel=0.03)}
    alike = replace(
        table,
        predicted=np.where(np.arange(100) // 5 % 5 == 0, 1 - labels, labels),
        groups=tuple(f"p{row // 5}" for row in range(100)),
    )
    of_patients = measure(alike)["units"]["needed"]
    # as many patients as single images
    assert of_patients["accuracy"] == pytest.approx(textbook, rel=0.15)
    assert of_patients["accuracy"] == of_patients["patient_recognition_rate"]
    assert measure(replace(table, predicted=labels))["units"]["needed"] == {"accuracy": None}
    folds = measure(replace(table, folds=tuple(row % 2 for row in range(100))))["units"]["needed"]
    assert folds["accuracy"] == pytest.approx(1.35 * textbook, rel=0.03)
