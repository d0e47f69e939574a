"""Metrics of another package, for the tests: Matthews correlation, and a score that needs probabilities."""

import numpy as np
from bchisto.evaluate import MetricSpec


def matthews(table):
    from sklearn.metrics import matthews_corrcoef

    return matthews_corrcoef(table.labels, table.predicted)


MCC = MetricSpec(name="mcc", title="Matthews <correlation>", compute=matthews)


def sureness():
    return MetricSpec(
        name="sureness",
        title="confidence",
        compute=lambda table: float(np.mean(table.probabilities.max(axis=1))),
        needs_probabilities=True,
        per_fold=False,
        unit="percent",
        higher_is_better=False,
    )
