"""The intervals on BACH that README and the results page print are those of this version."""

import re
from pathlib import Path

import numpy as np
import pytest
from bchisto.evaluate import PredictionTable, compare_tables, share_interval

HOUSE = Path(__file__).resolve().parents[2]
IMAGES = 400
RIGHT = {"bchisto": 355, "published": 349}


def printed(path, pattern):
    rows = re.findall(pattern, (HOUSE / path).read_text())
    assert rows
    return [[float(number) for number in row] for row in rows]


@pytest.mark.parametrize("path", ["README.md", "docs/results.md"])
def test_intervals_of_accuracies(path):
    for accuracy, low, high in printed(path, r"(\d+\.\d)\*{0,2} %\*{0,2} \((\d+\.\d) to (\d+\.\d)\)"):
        # 400 images in the published folds, 132 in the single fold of new patients
        images, widen = (IMAGES, 1.5) if accuracy > 80 else (132, 1.0)
        right = next(n for n in range(images) if abs(100 * n / images - accuracy) < 0.0501)
        interval = share_interval(np.arange(images) < right, np.arange(images), widen=widen)
        assert (round(100 * interval.low, 1), round(100 * interval.high, 1)) == (low, high), (path, accuracy)


def test_the_paired_difference_for_each_number_of_images_that_only_one_has_right():
    rows = printed("docs/results.md", r"\| \d+ \((\d+) / (\d+)\).*\| ([-+\d.]+) to ([-+\d.]+) \| ([\d.]+) \|")
    for ours, theirs, low, high, p in rows:
        both = RIGHT["bchisto"] - ours
        image = np.arange(IMAGES)
        right = {
            "bchisto": image < RIGHT["bchisto"],
            "published": (image < both) | ((image >= RIGHT["bchisto"]) & (image < RIGHT["bchisto"] + theirs)),
        }
        assert right["published"].sum() == RIGHT["published"]
        tables = [_table(name, right[name]) for name in ("published", "bchisto")]
        comparison = compare_tables(*tables)
        assert [round(100 * end, 1) for end in comparison["differences"]["accuracy"]["interval"]] == [low, high]
        assert comparison["p"] == pytest.approx(p, rel=0.03)


def _table(name, right):
    return PredictionTable(
        name=name,
        classes=("benign", "malignant"),
        image_ids=tuple(map(str, range(IMAGES))),
        labels=np.zeros(IMAGES, dtype=np.int64),
        probabilities=None,
        predicted=np.where(right, 0, 1),
        folds=tuple(1 + number % 10 for number in range(IMAGES)),
        groups=(None,) * IMAGES,
    )
