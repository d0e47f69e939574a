"""The metric ``g_mean``: the geometric mean of the recalls, which is 0 as soon as a class is never found."""

import numpy as np
from bchisto.evaluate import MetricSpec


def g_mean(table):
    """Return it for a `PredictionTable`, over the classes that have rows."""
    rows = np.bincount(table.labels, minlength=len(table.classes))
    right = np.bincount(table.labels[table.labels == table.predicted], minlength=len(table.classes))
    recalls = right[rows > 0] / rows[rows > 0]
    return float(recalls.prod() ** (1 / len(recalls)))


G_MEAN = MetricSpec(name="g_mean", title="G-mean", compute=g_mean, unit="percent")
