"""Copies of the images of a class: how many, of what, each with draws of its own, and of the training part alone."""

import re
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from bchisto.apps.recipes import estimate
from bchisto.apps.recipes.steps import FinetuneStep, NetworkExtras
from bchisto.core.jobs import Work
from bchisto.data import FoldChoice
from bchisto.evaluate import TwoClassView
from bchisto.finetune import FinetuneSettings
from bchisto.finetune.batches import training_batches
from bchisto.finetune.fit import TrainingPlan, training_samples
from bchisto.finetune.settings import class_factors, copy_classes
from refusals import refusing
from training_sources import source_of


def test_the_numbers_of_the_inbreast_system(rng):
    """From 313 negative and 75 positive mammograms to 3,104 and 1,992."""
    labels = rng.permutation(np.repeat([0, 1], [313, 75]))
    copied = partial(copy_classes, labels, factors=(3104 / 313, 1992 / 75))
    chosen = copied(seed=5)
    assert np.bincount(labels[chosen]).tolist() == [3104, 1992]
    times = np.bincount(chosen, minlength=388)
    assert set(times[labels == 0]) == {9, 10}
    assert set(times[labels == 1]) == {26, 27}
    assert (times[labels == 0] == 10).sum() == 3104 - 9 * 313
    np.testing.assert_array_equal(chosen, copied(seed=5))
    other = np.bincount(copied(seed=6), minlength=388)
    assert not np.array_equal(times, other)


def test_without_factors_every_image_stands_once(rng):
    labels = rng.integers(0, 3, 20)
    for factors in ((), (1.0, 1.0, 1.0)):
        np.testing.assert_array_equal(copy_classes(labels, factors=factors, seed=0), np.arange(20))
    assert (
        len(copy_classes(labels[labels != 1], factors=(1.0, 9.0, 1.0), seed=0))
        == (labels != 1).sum()
    )


def plan_of(labels, *, copies, **changes):
    images = np.random.default_rng(1).integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8)
    settings = FinetuneSettings(
        "speck", **{"epochs": 1, "patience": 1, "augmentations": (), **changes}
    )
    plan = TrainingPlan(settings, np.arange(len(labels)), np.array([], dtype=np.int64), 2, copies)
    return source_of(images, labels), plan


def test_copies_follow_sampling():
    source, plan = plan_of([0] * 8 + [1] * 3, sampling="under", copies=(2.0, 1.5))
    samples = training_samples(source, plan)
    # 3 and 3, then twice and 4.5 to even
    assert np.bincount(source.labels[samples.images]).tolist() == [
        6,
        4,
    ]
    source, plan = plan_of(
        [0] * 8 + [1] * 3, copies=(1.0, 4.0), augmentations=("rotations-crops",), rotations=2
    )
    assert np.bincount(source.labels[training_samples(source, plan).images]).tolist() == [
        8 * 10,
        12 * 10,
    ]


def test_every_copy_is_drawn_by_itself_and_anew_in_each_epoch():
    names = ("brightness", "noise")
    source, plan = plan_of([0, 1, 1], copies=(1.0, 4.0), augmentations=names)
    samples = training_samples(source, plan)
    make = training_batches(source, samples, augmentations=names, crops=1)
    first, second = (
        np.concatenate([make(epoch)[k][0] for k in range(len(make(epoch)))]) for epoch in (0, 1)
    )
    assert len(first) == 9
    assert len({one.tobytes() for one in (*first, *second)}) == 18


@pytest.mark.parametrize(
    ("copies", "message"),
    [
        ((("a", 0.5),), "`copies` a=0.5: give 1 to 1,000; `sampling` omits images"),
        ((("a", float("nan")),), "`copies` a=nan: give 1 to 1,000"),
        ((("a", 2), ("b", 3), ("a", 2)), "`copies` a=2.0, b=3.0, a=2.0: name each class once"),
    ],
)
def test_factors_that_are_refused(copies, message):
    with refusing(re.escape(message)):
        FinetuneSettings("speck", copies=copies)


def test_factors_stand_in_the_order_of_classes():
    assert class_factors((("in situ", 2.5),), ("benign", "in situ")) == (1.0, 2.5)
    assert class_factors((), ("benign", "in situ")) == ()
    with refusing("`copies` insitu: no such class; choose among benign, in situ"):
        class_factors((("insitu", 2.0),), ("benign", "in situ"))


def test_a_plan_counts_copies(monkeypatch):
    records = [SimpleNamespace(label_text=label) for label in ("a",) * 8 + ("b",) * 2]
    part = SimpleNamespace(
        read=lambda reading: SimpleNamespace(classes=("a", "b"), records=records),
        plans=lambda folds, **_: [SimpleNamespace(folds=[1])],
    )
    monkeypatch.setattr(
        estimate, "time_training", lambda *_, **__: estimate.TrainingCost(0.0, 1.0, 1, 0, 0)
    )

    def seconds(*copies):
        settings = FinetuneSettings("speck", epochs=1, copies=copies)
        step = FinetuneStep(
            {}, settings, FoldChoice("2"), TwoClassView(), NetworkExtras(), (), None
        )
        return estimate.estimate_step(step, [part], work=Work(jobs=1), before=[]).seconds

    assert seconds(("a", 1.5), ("b", 4)) == 2 * seconds()  # 20 in the place of 10
