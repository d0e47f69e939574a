"""Augmentation as layers, on the CPU here since no GPU is at hand: against the road of the CPU, by the same seeds."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from bchisto.finetune import FinetuneSettings, ImageBank, PatchRule, finetune, kept
from bchisto.finetune.augment import make_augmenter
from bchisto.finetune.batches import Source
from bchisto.finetune.fit import TrainingPlan, train_model
from bchisto.finetune.model import build_model, resolved
from bchisto.finetune.on_device import augmenting, can_run_on_device, make_drawer, seed_noise
from bchisto.jobs import Work

pytestmark = pytest.mark.slow

SPECK = FinetuneSettings("speck", batch_size=4, epochs=2)
SEEDS = range(40)


@pytest.fixture(autouse=True)
def none_kept():
    yield
    kept.let_go()


def both(images, names):
    """Augment by the road of the CPU and by the layer; return both, and what was drawn."""
    import keras

    sequences = [np.random.SeedSequence([0, 7, seed]) for seed in SEEDS]
    augment, draw = make_augmenter(names, size=images.shape[1]), make_drawer(names)
    chosen = [images[place % len(images)] for place in SEEDS]
    draws = np.stack([draw(image, sequence) for image, sequence in zip(chosen, sequences, strict=True)])
    expected = np.stack([augment(image, sequence) for image, sequence in zip(chosen, sequences, strict=True)])
    shown = keras.Input(images.shape[1:])
    model = keras.Model(shown, keras.layers.Rescaling(1.0)(shown))
    model.compile(optimizer="sgd")
    learner = augmenting(model, names)
    found = np.asarray(learner({"image": np.stack(chosen), "draws": draws}))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.round(found))
    return expected.astype(int), found.astype(int), draws


@pytest.mark.parametrize("names", [("isometries",), ("mirror",), ("isometries", "mirror")])
def test_isometries_are_the_same_exactly(rng, names):
    expected, found, draws = both(rng.integers(0, 256, (3, 24, 24, 3), dtype=np.uint8), names)
    np.testing.assert_array_equal(expected, found)
    assert len({tuple(one) for one in draws[:, :3]}) == (2 if names == ("mirror",) else 8)


@pytest.mark.parametrize(
    ("names", "most"),
    [
        (("stain",), 1),
        (("brightness",), 1),
        (("brightness:0.5",), 1),
        (("isometries", "mirror", "brightness", "stain"), 2),
    ],
)
def test_stain_and_brightness_to_rounding(he_image, names, most):
    expected, found, _ = both(he_image[None, :64, :64], names)
    assert np.abs(expected - found).max() <= most
    assert (expected != found).mean() < 0.05
    assert (expected != he_image[:64, :64]).mean() > 0.5


@pytest.mark.parametrize("grey", [True, False])
def test_noise_by_its_strength(rng, grey):
    """The single values are others; where the image is grey, they stay grey."""
    image = np.full((1, 48, 48, 3), 128, dtype=np.uint8)
    image[..., 0] += 0 if grey else 1
    expected, found, draws = both(image, ("mirror", "brightness:0.01", "noise"))
    for one, two in zip(expected, found, strict=True):
        middle = two.mean()
        assert one.mean() == pytest.approx(middle, abs=1.0)
        assert one.std() == pytest.approx(two.std(), rel=0.1)
        assert ((one == one[..., :1]).all(), (two == two[..., :1]).all()) == (grey, grey)
    assert len(np.unique(draws[:, 14])) == len(SEEDS)
    assert len({one.tobytes() for one in found}) == len(SEEDS)


def test_what_cannot_run_there():
    assert can_run_on_device(("isometries", "rotations-crops", "noise:0.1"))
    for names in ((), ("rotations-crops",), ("isometries", "rotation:10"), ("crop",)):
        assert not can_run_on_device(names)


@pytest.fixture
def source(rng):
    labels = np.arange(16) % 2
    images = (rng.integers(0, 120, (16, 32, 32, 3)) + 100 * labels[:, None, None, None]).astype(np.uint8)
    return Source(ImageBank.of(list(images), [str(n) for n in range(16)]), labels, PatchRule(), 32, 0, 4)


def train(source, folder, names, *, layer=True, stop_after=None):
    trained = replace(SPECK, epochs=3, patience=9, class_weights=True, augmentations=names, rotations=2, crops=2)
    plan = TrainingPlan(trained, np.arange(12), np.arange(12, 16), 2)
    model, seen = build_model(SPECK, classes=2, fold=1), []
    learner = augmenting(model, names) if layer else None
    if learner is not None:
        seed_noise(learner, [0, 1])

    def on_epoch(words):
        seen.append(words)
        if len(seen) == stop_after:
            raise KeyboardInterrupt

    folder.mkdir(exist_ok=True)
    train_model(model, source, plan, state=folder / "s.npz", log=folder / "l.csv", on_epoch=on_epoch, learner=learner)
    return model.get_weights()


def test_training_is_that_of_the_cpu_where_the_pictures_are(source, tmp_path):
    names = ("rotations-crops", "isometries", "mirror")
    ours, layers = (train(source, tmp_path / str(layer), names, layer=layer) for layer in (False, True))
    for one, two in zip(ours, layers, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


def test_a_resumed_training_goes_on_with_its_noise(source, tmp_path):
    whole = train(source, tmp_path / "whole", ("noise:0.5",))
    with pytest.raises(KeyboardInterrupt):
        train(source, tmp_path / "cut", ("noise:0.5",), stop_after=1)
    for one, two in zip(whole, train(source, tmp_path / "cut", ("noise:0.5",)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_run_uses_it_where_there_is_a_gpu(tissue, tmp_path, monkeypatch):
    """What TensorFlow sees is replaced where it decides about the layer. A fold is trained as if alone."""
    settings = replace(SPECK, augmentations=("isometries", "noise"))
    made = []
    monkeypatch.setattr(kept, "belongs_on_device", lambda names: made.append(names) is None)
    (run,) = finetune(tissue, out=tmp_path / "run", settings=settings, folds=["2"], work=Work(jobs=1))
    assert made == [settings.augmentations] * 2
    (tmp_path / "alone").mkdir()
    (alone,) = finetune(tissue, out=tmp_path / "alone", settings=settings, folds=["2"], work=Work(jobs=1, shard="2/2"))
    (weights,) = run.folder.glob("models/fold2-*.weights.h5")
    assert weights.read_bytes() == (alone.folder / "models" / weights.name).read_bytes()


def test_what_is_the_default_on_a_gpu(monkeypatch):
    """What TensorFlow says of its devices is replaced."""
    import keras
    import tensorflow as tf

    jitted = keras.backend.backend() == "jax"

    def found(**changes):
        model = build_model(replace(SPECK, **changes), classes=2, fold=1)
        return (
            resolved(replace(SPECK, **changes))["precision"],
            model.get_layer("dots").compute_dtype,
            model.jit_compile,
        )

    assert found() == ("float32", "float32", jitted)
    monkeypatch.setattr("bchisto.finetune.model.gpus_have_bfloat16", lambda: True)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *kind: [SimpleNamespace(device_type="GPU")])
    assert found() == ("bfloat16", "bfloat16", True)
    assert found(precision="float32") == ("float32", "float32", True)
