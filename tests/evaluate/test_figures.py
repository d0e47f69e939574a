"""Figures of equal content are equal, to the last byte."""

import csv
import json

import numpy as np
from bchisto.evaluate import measure, read_predictions
from bchisto.evaluate.report.figures import calibration_figure, roc_figure


def table_of(path, *, seed):
    rng = np.random.default_rng(seed)
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["image_id", "label", "group", "fold", "p_benign", "p_malignant"])
        for number, share in enumerate(rng.random(24).tolist()):
            writer.writerow([f"{number}.png", ("benign", "malignant")[number % 2], "", number % 3, share, 1 - share])
    return read_predictions(path)[0]


def drawings(table, metrics):
    figures = [
        roc_figure(table, metrics),
        calibration_figure(metrics),
    ]
    return [figure.source for figure in figures]


def test_equal_content_is_drawn_alike(tmp_path):
    table = table_of(tmp_path / "a.csv", seed=50)
    metrics = measure(table, bootstrap=0)
    first = drawings(table, metrics)
    assert all(one.startswith("data:image/svg+xml;base64,") for one in first)
    assert drawings(table_of(tmp_path / "b.csv", seed=50), json.loads(json.dumps(metrics))) == first  # as it is read
    other = table_of(tmp_path / "c.csv", seed=51)
    found = drawings(other, measure(other, bootstrap=0))
    assert not set(found) & set(first)
