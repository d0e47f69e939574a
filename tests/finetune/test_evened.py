"""Uneven classes are corrected once: sampling, the weights of the loss, and what judges the training."""

from dataclasses import replace

import numpy as np
import pytest
from bchisto.finetune import FinetuneSettings, ImageBank, parse_patches
from bchisto.finetune.batches import Source, training_batches
from bchisto.finetune.fit import TrainingPlan, loss_weights, training_samples
from bchisto.finetune.samples import cut_region
from training_sources import assert_same_arrays, bright_and_dark, model_of, source_of, trained
from written_tables import rows_of

pytestmark = pytest.mark.slow

SPECK = FinetuneSettings("speck", batch_size=4)
TRAINED = replace(SPECK, epochs=2, patience=9, class_weights=True, augmentations=())
PLAN = TrainingPlan(TRAINED, np.arange(16), np.arange(16, 24), 2)


@pytest.fixture
def source(rng):
    """Twelve of one class and four of the other train, two and six of them validate."""
    labels = np.repeat([0, 1, 0, 1], [12, 4, 2, 6])
    return source_of(bright_and_dark(labels, rng), labels)


def train(source, plan, folder):
    model = trained(model_of(SPECK), source, plan, folder)
    return model, rows_of(folder / "l.csv")


def test_sampled_classes_are_not_weighted_again(source, tmp_path):
    even = PLAN._replace(settings=replace(TRAINED, sampling="over"))
    assert loss_weights(source, training_samples(source, even), even) == {0: 1.0, 1: 1.0}
    weighted, rows = train(source, even, tmp_path / "weighted")
    plain, others = train(
        source,
        even._replace(settings=replace(even.settings, class_weights=False)),
        tmp_path / "plain",
    )
    assert_same_arrays(weighted.get_weights(), plain.get_weights())
    assert rows == others


def test_weights_follow_from_what_is_not_sampled(source):
    assert loss_weights(source, training_samples(source, PLAN), PLAN) == {0: 16 / 24, 1: 16 / 8}
    unweighted = PLAN._replace(settings=replace(TRAINED, class_weights=False))
    assert loss_weights(source, training_samples(source, PLAN), unweighted) is None


def test_the_validation_loss_is_weighted_as_the_training_loss(source, tmp_path):
    model, rows = train(
        source, PLAN._replace(settings=replace(TRAINED, epochs=1)), tmp_path / "run"
    )
    images = np.stack([source.read(place, 0) for place in PLAN.validate]).astype(np.float32)
    found, labels = np.asarray(model(images)), source.labels[PLAN.validate]
    losses = -np.log(found[np.arange(8), labels])
    weights = np.array([16 / 24, 16 / 8])[labels]
    assert float(rows[0]["val_loss"]) == pytest.approx((weights * losses).mean(), rel=1e-5)
    assert abs((weights * losses).mean() - losses.mean()) > 0.01
    assert float(rows[0]["val_accuracy"]) == pytest.approx((found.argmax(axis=1) == labels).mean())


@pytest.mark.parametrize(
    ("patches", "offline", "each"), [("random:32:4", (), 4), ("resize", ("rotations-crops",), 6)]
)
def test_an_image_that_is_drawn_again_brings_other_pictures(rng, patches, offline, each):
    images = list(rng.integers(0, 256, (2, 96, 96, 3), dtype=np.uint8))
    regions = [cut_region(image, (24, 24, 72, 72), size=32, treat=np.array) for image in images]
    bank = ImageBank.of(images, ["a", "b"], regions)
    source = Source(bank, np.array([0, 1]), parse_patches(patches), 32, 0, 4)
    found = []
    for positions in ([0, 1], [0, 1, 1, 1]):
        samples = source.samples(np.array(positions), copies=6 if offline else 1)
        batches = training_batches(source, samples, augmentations=offline, crops=3)(1)
        pictures = [one.tobytes() for place in range(len(batches)) for one in batches[place][0]]
        assert len(pictures) == each * len(positions)
        found.append(set(pictures))
    once, thrice = found
    assert len(thrice) == each * 4
    assert once < thrice  # those of the first time stay what they are without a second
