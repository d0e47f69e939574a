"""What a few hundred images need: normalisation that stays that of the weights, and validation by every class."""

from types import SimpleNamespace

import numpy as np
import pytest
from bchisto.data import inner_splits
from bchisto.finetune import FinetuneSettings
from bchisto.finetune.training import CnnTraining
from training_sources import model_of


def normalisations(model):
    from keras.layers import BatchNormalization

    return [
        layer for layer in model.get_layer(index=1).layers if isinstance(layer, BatchNormalization)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("stays", [True, False])
def test_normalisation_stays_that_of_the_weights(shared, stays):
    weights = str(shared / "data/weights/mobilenetv2_imagenet.weights.h5") if stays else "random"
    settings = FinetuneSettings("mobilenetv2", size=32, weights=weights)
    model = model_of(settings)
    layers = normalisations(model)
    assert len(layers) == 52
    before = [[np.array(value) for value in layer.get_weights()] for layer in layers]
    kernel = np.array(model.get_layer(index=1).trainable_variables[0])
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype(np.float32)
    assert (
        np.allclose(model(images, training=True), model(images, training=False), atol=1e-5) is stays
    )
    model.run_eagerly = True  # which takes a third of the time for one step
    model.train_on_batch(images, np.arange(8) % 2)
    after = [layer.get_weights() for layer in layers]
    same = [
        np.array_equal(one, other)
        for a, b in zip(before, after, strict=True)
        for one, other in zip(a, b, strict=True)
    ]
    assert all(same) if stays else not any(same)
    # all else is trained
    assert not np.array_equal(kernel, model.get_layer(index=1).trainable_variables[0])


def test_every_class_validates_where_it_can():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 40, 11)
    groups = [str(group) for group, size in enumerate(sizes) for _ in range(size)]
    # each patient is of one class
    labels = [group % 2 for group, size in enumerate(sizes) for _ in range(size)]
    records = [
        SimpleNamespace(image_id=str(place), group=group) for place, group in enumerate(groups)
    ]
    lacking = 0
    for seed in range(20):
        training = SimpleNamespace(
            dataset=SimpleNamespace(records=records),
            plan=SimpleNamespace(kept_whole=lambda images, groups: groups),
            settings=SimpleNamespace(seed=seed),
        )
        kept, held = CnnTraining._split(training, range(len(labels)), labels, 1)
        assert sorted([*kept, *held]) == list(range(len(labels)))
        assert not {groups[place] for place in kept} & {groups[place] for place in held}
        splits = inner_splits(np.array(labels), groups, count=8, seed=seed)
        assert {labels[place] for place in held} == {0, 1} or all(
            len({labels[k] for k in h}) == 1 for _, h in splits
        )
        lacking += len({labels[place] for place in splits[0][1]}) == 1
    assert lacking  # the first division alone would not do
