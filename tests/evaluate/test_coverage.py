"""Do 95 % intervals cover the truth 95 % of the time? Simulated tables of a known accuracy."""

import numpy as np
import pytest
from bchisto.evaluate import PredictionTable, bootstrap_intervals

TRUTH = 0.8
TABLES = 600


def simulated(rng, *, units, per_unit, concentration):
    """A table of `units` groups whose own accuracies scatter around the truth, or of single images."""
    share = np.full(units, TRUTH)
    if concentration:
        share = rng.beta(TRUTH * concentration, (1 - TRUTH) * concentration, units)
    hits = (rng.random((units, per_unit)) < share[:, None]).ravel()
    count = len(hits)
    return PredictionTable.from_probabilities(
        name="t",
        classes=("a", "b"),
        image_ids=[str(k) for k in range(count)],
        labels=["a"] * count,
        probabilities=np.where(hits[:, None], [[0.9, 0.1]], [[0.1, 0.9]]),
        folds=[None] * count,
        groups=[str(k // per_unit) if per_unit > 1 else None for k in range(count)],
    )


@pytest.mark.parametrize(("units", "per_unit", "concentration"), [(200, 1, 0), (100, 5, 2)])
def test_intervals_cover_what_they_promise(units, per_unit, concentration):
    rng = np.random.default_rng(units)
    covered = 0
    for seed in range(TABLES):
        table = simulated(rng, units=units, per_unit=per_unit, concentration=concentration)
        found = bootstrap_intervals(table, replicates=400, seed=seed)
        low, high = found["accuracy"]
        covered += low <= TRUTH <= high
        assert found["warning"] is None
    assert 0.93 <= covered / TABLES <= 0.97


def test_few_units_warn(rng):
    found = bootstrap_intervals(simulated(rng, units=20, per_unit=5, concentration=2), replicates=50)
    assert found["warning"] == "only 20 groups: these intervals may cover less than 95 %"
    found = bootstrap_intervals(simulated(rng, units=199, per_unit=1, concentration=0), replicates=50)
    assert found["warning"].startswith("only 199 images")
