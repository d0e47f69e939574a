"""The metric ``kappa``: Cohen's, the agreement beyond chance."""

from bchisto.evaluate import MetricSpec


def kappa(table):
    """Return it for a `PredictionTable`; None where there is but one class, of which it says nothing."""
    from sklearn.metrics import cohen_kappa_score

    if len({*table.labels, *table.predicted}) < 2:
        return None
    return float(cohen_kappa_score(table.labels, table.predicted))


KAPPA = MetricSpec(name="kappa", title="Cohen's kappa", compute=kappa)
