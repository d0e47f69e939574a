"""What a plan says of training: by hand, from the cost of a sample."""

from types import SimpleNamespace

import pytest
from bchisto.apps.recipes import estimate
from bchisto.apps.recipes.steps import FinetuneStep
from bchisto.core.jobs import Resources
from bchisto.data import FoldChoice
from bchisto.evaluate import TwoClassView
from bchisto.finetune import FinetuneSettings, TrainingCost

SETTINGS = FinetuneSettings("speck", epochs=10)


def ahead(*, folds, processes, parts=1):
    return SimpleNamespace(
        work=SimpleNamespace(training=lambda units: Resources(processes, 4), cpu=lambda: Resources(4, 4)),
        parts=parts,
        read=lambda reading: (SimpleNamespace(classes=("a", "b")), [SimpleNamespace(label="a")] * 200),
        folds=lambda name: folds,
        is_new=lambda kept: True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folds", "processes", "parts", "turns"),
    [(1, 1, 1, 1), (1, 16, 1, 1), (10, 4, 1, 3), (10, 16, 1, 1), (5, 2, 4, 12)],
)
def test_folds_are_trained_in_turns(monkeypatch, folds, processes, parts, turns):
    """A fold is one process's work, however many there are."""
    cost = TrainingCost(read=0.5, step=0.01, samples=2, image_bytes=10, weight_bytes=100)
    monkeypatch.setattr(estimate, "time_training", lambda *rest, **options: cost)
    images = ahead(folds=folds, processes=processes, parts=parts)
    found = estimate.estimate_step(FinetuneStep({}, SETTINGS, FoldChoice(("x",)), TwoClassView()), images)
    each = 200 // parts * 2 * 0.9 * 10 * 0.01
    assert found.seconds == pytest.approx(turns * each + 200 * 0.5 / 4)
    assert found.units == folds * parts
    assert found.bytes == 2 * folds * parts * 100 + 200 * 10
