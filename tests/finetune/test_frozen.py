"""A frozen encoder: its features are computed once, and training on them equals training through it."""

from dataclasses import replace

import numpy as np
import pytest
from bchisto.finetune import FinetuneSettings, ImageBank, PatchRule, finetune, frozen, kept
from bchisto.finetune.batches import Source, still_batches, training_batches
from bchisto.finetune.fit import TrainingPlan, train_model
from bchisto.finetune.frozen import keeps_features, split_frozen
from bchisto.finetune.model import build_model
from bchisto.jobs import Work

pytestmark = pytest.mark.slow

TINY = FinetuneSettings("convs", weights="random", size=32, freeze="all", augmentations=(), batch_size=4, epochs=3)


@pytest.fixture(autouse=True)
def none_kept():
    yield
    kept.let_go()


@pytest.fixture
def source(rng):
    labels = np.arange(16) % 2
    images = (rng.integers(0, 120, (16, 32, 32, 3)) + 100 * labels[:, None, None, None]).astype(np.uint8)
    return Source(ImageBank.of(list(images), [str(n) for n in range(16)]), labels, PatchRule(), 32, 0, 4)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"augmentations": ("rotations-crops",)}, True),
        ({"patches": "sliding:32"}, True),
        ({"freeze": ""}, False),
        ({"freeze": "middle"}, False),
        ({"augmentations": ("isometries",)}, False),
        ({"augmentations": ("rotations-crops", "noise")}, False),
        ({"patches": "random:32"}, False),
    ],
)
def test_when_an_epoch_is_like_the_next(changes, expected):
    assert keeps_features(replace(TINY, **changes)) == expected


@pytest.mark.parametrize(
    "settings",
    [TINY, replace(TINY, top="conv", dropout=0.3, l2=1e-3, augmentations=("rotations-crops",), rotations=2, crops=2)],
    ids=["average", "conv"],
)
def test_training_on_features_equals_training_through_the_encoder(source, tmp_path, settings, monkeypatch):
    trained = replace(settings, epochs=3, patience=9, sampling="over", class_weights=True, rotations=2, crops=2)
    plan = TrainingPlan(trained, np.arange(12), np.arange(12, 16), 2)

    def train(name, split):
        model = build_model(settings, classes=2, fold=1)
        parts = split_frozen(model, settings) if split else None
        state, log = tmp_path / f"{name}.npz", tmp_path / f"{name}.csv"
        train_model(model, source, plan, state=state, log=log, on_epoch=lambda words: None, frozen=parts)
        return model.get_weights(), log.read_text()

    start = build_model(settings, classes=2, fold=1).get_weights()
    through, _ = train("through", split=False)
    on_features, _ = train("features", split=True)
    changed = 0
    for first, one, two in zip(start, through, on_features, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
        changed += not np.array_equal(first, two)
    assert changed == (2 if settings.top == "average" else 4)
    monkeypatch.setattr(frozen, "_MOST_BYTES", 100)
    for one, two in zip(through, train("too many", split=True)[0], strict=True):
        np.testing.assert_array_equal(one, two)


def test_features_are_those_of_the_samples_in_their_order(source):
    model = build_model(TINY, classes=2, fold=1)
    split = split_frozen(model, TINY)
    samples = source.samples(np.array([3, 1, 1, 5]), copies=4)
    how = {"augmentations": ("rotations-crops",), "crops": 2}
    features, none = split.features(source, samples, source.samples(np.empty(0, np.int64)), **how)
    assert features.shape == (16, 16)
    assert none.shape == (0, 16)
    batches = training_batches(source, samples, **how)(7, shuffled=False)
    pictures = np.concatenate([batches[place][0] for place in range(len(batches))])
    np.testing.assert_allclose(np.asarray(split.top(features)), np.asarray(model(pictures)), rtol=1e-5)
    assert len({one.tobytes() for one in features}) == 16  # those of the image that stands twice are others too


def test_copies_of_a_picture_are_computed_once(source, monkeypatch):
    model = build_model(TINY, classes=2, fold=1)
    split = split_frozen(model, TINY)
    samples = source.samples(np.array([3, 1, 1, 5, 3, 3]))
    seen = []
    outputs = frozen.outputs_of
    monkeypatch.setattr(frozen, "outputs_of", lambda encoder, one: seen.append(one) or outputs(encoder, one))
    features, _ = split.features(source, samples, source.samples(np.array([0])), augmentations=(), crops=1)
    assert sorted(len(one.given[0]) for one in seen) == [1, 3]
    batches = still_batches(source, samples)
    pictures = np.concatenate([batches[place][0] for place in range(len(batches))])
    np.testing.assert_allclose(np.asarray(split.top(features)), np.asarray(model(pictures)), rtol=1e-5)


def test_a_run_computes_them_once_and_goes_on_alike(tissue, tmp_path, monkeypatch):
    """Two folds in a process share the compiled parts; killed between, both end as they would."""
    (whole,) = finetune(tissue, out=tmp_path / "whole", settings=TINY, folds=["2"], work=Work(jobs=1))
    calls = []
    real = frozen.Split.features

    def counted(self, *arguments, **options):
        calls.append(id(self))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, *arguments, **options)

    monkeypatch.setattr(frozen.Split, "features", counted)
    with pytest.raises(KeyboardInterrupt):
        finetune(tissue, out=tmp_path / "cut", settings=TINY, folds=["2"], work=Work(jobs=1))
    assert calls[0] == calls[1]
    kept.let_go()
    (again,) = finetune(tissue, out=tmp_path / "cut", settings=TINY, folds=["2"], work=Work(jobs=1))
    assert len(calls) == 3
    names = [path.relative_to(whole.folder) for path in whole.folder.glob("models/*.weights.h5")]
    assert len(names) == 2
    for name in ("predictions.csv", *names):
        assert (whole.folder / name).read_bytes() == (again.folder / name).read_bytes()
