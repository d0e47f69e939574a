"""Balancing, augmentation and training by their effect; a resumed training against an uninterrupted one."""

from dataclasses import replace

import numpy as np
import pytest
from bchisto.finetune import FinetuneSettings, ImageBank, sample_training
from bchisto.finetune import fit as fitting
from bchisto.finetune.fit import TrainingPlan, train_model
from bchisto.finetune.samples import AUGMENTATIONS, make_augmenter
from bchisto.finetune.settings import class_weights
from refusals import refusing
from training_sources import (
    assert_same_arrays,
    bright_and_dark,
    finetune_here,
    model_of,
    source_of,
    trained,
)
from written_tables import HEADER, read_json, rows_of

SMALL = FinetuneSettings(
    "patch-resnet", size=32, epochs=2, patience=5, batch_size=8, augmentations=()
)
# networks that compile in a moment, for what is not of the network; the first has moving statistics
TINY = replace(SMALL, network="convs", weights="random")
SPECK = replace(SMALL, network="speck")


def test_class_weights_are_scikit_learns(rng):
    from sklearn.utils.class_weight import compute_class_weight

    labels = rng.choice(3, 100, p=[0.7, 0.2, 0.1])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(list(class_weights(labels, classes=3).values()), expected)
    with refusing("class 3 has no image in a training part"):
        class_weights(labels, classes=4)


@pytest.mark.parametrize(
    ("method", "expected"),
    [("none", [80, 20]), ("under", [20, 20]), ("over", [80, 80]), ("under-over", [40, 40])],
)
def test_sampling_by_its_counts(rng, method, expected):
    labels = rng.permutation(np.repeat([0, 1], [80, 20]))
    chosen = sample_training(labels, method=method, seed=3)
    assert np.bincount(labels[chosen]).tolist() == expected
    if method in ("over", "under-over"):
        assert set(np.flatnonzero(labels == 1)) <= set(chosen.tolist())
    np.testing.assert_array_equal(chosen, sample_training(labels, method=method, seed=3))
    if method != "none":
        assert not np.array_equal(chosen, sample_training(labels, method=method, seed=4))


def test_augmentation_follows_from_its_seed_alone(he_image):
    image = he_image[:64, :64]
    for name in AUGMENTATIONS:
        augment = make_augmenter([name], size=64)
        seeds = [np.random.SeedSequence([0, 7, epoch, 0]) for epoch in range(6)]
        found = [augment(image, seed) for seed in seeds]
        again = [
            make_augmenter([name], size=64)(image, np.random.SeedSequence([0, 7, e, 0]))
            for e in (5, 0)
        ]
        np.testing.assert_array_equal(found[5], again[0])
        np.testing.assert_array_equal(found[0], again[1])
        assert len({one.tobytes() for one in found}) > 1, name
        assert all((one.shape, one.dtype) == (image.shape, np.uint8) for one in found)
    augment = make_augmenter(["isometries"], size=64)
    turned = {augment(image, np.random.SeedSequence(s)).tobytes() for s in range(60)}
    assert len(turned) == 8


def task(images, labels, train, validate, batch_size=8, **changes):
    source = source_of(images, labels, batch_size=batch_size)
    settings = replace(SMALL, **{"epochs": 3, "patience": 9, "augmentations": (), **changes})
    return source, TrainingPlan(settings, np.asarray(train), np.asarray(validate), 2)


@pytest.fixture
def toy(rng):
    """Bright against dark noise, easy to learn."""
    labels = np.arange(40) % 2
    return bright_and_dark(labels, rng), labels


def fit(tmp_path, toy, name, settings=SMALL, stop_after=None, **changes):
    source, plan = task(*toy, **{"train": range(28), "validate": range(28, 40), **changes})
    model = model_of(settings)
    real = fitting.write_rows

    def add(path, header, epochs):
        real(path, header, epochs)
        if len(epochs) == stop_after:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "write_rows", add)
        try:
            train_model(
                model,
                source,
                plan,
                state=tmp_path / f"{name}.npz",
                log=tmp_path / f"{name}.csv",
            )
        except KeyboardInterrupt:
            return None
    return model


def test_resumed_training_equals_uninterrupted(tmp_path, toy):
    settings = replace(TINY, dropout=0.3)
    options = {"settings": settings, "epochs": 3, "augmentations": ("isometries", "brightness")}
    whole = fit(tmp_path, toy, "a", **options)
    assert fit(tmp_path, toy, "b", stop_after=2, **options) is None
    resumed = fit(tmp_path, toy, "b", **options)
    assert_same_arrays(whole.get_weights(), resumed.get_weights())
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.fixture
def misled(toy):
    """As `toy`, but what validates has the other label, so that its loss rises while the network learns."""
    images, labels = toy
    return images, np.where(np.arange(40) < 28, labels, 1 - labels)


def losses_of(path):
    return [float(row["val_loss"]) for row in rows_of(path)]


def loss_of(model, misled):
    return model.evaluate(misled[0][28:].astype(np.float32), misled[1][28:], verbose=0)[0]


def test_the_best_weights_are_kept_and_patience_ends(tmp_path, misled):
    fit(tmp_path, misled, "a", settings=TINY, epochs=30, patience=2)
    losses = losses_of(tmp_path / "a.csv")
    assert len(losses) < 30
    assert int(np.argmin(losses)) == len(losses) - 3
    # from its state: nothing more to train
    model = fit(tmp_path, misled, "a", settings=TINY, epochs=30, patience=2)
    assert loss_of(model, misled) == pytest.approx(min(losses), rel=1e-4)


def test_without_patience_all_epochs_are_trained_and_the_last_weights_kept(tmp_path, misled):
    """The validation part is looked at, and neither stops the training nor chooses the weights."""
    model = fit(tmp_path, misled, "a", settings=TINY, epochs=6, patience=0)
    losses = losses_of(tmp_path / "a.csv")
    assert len(losses) == 6
    assert int(np.argmin(losses)) < 5
    assert loss_of(model, misled) == pytest.approx(losses[-1], rel=1e-4)


def test_rate_multipliers_scale_what_they_name(tmp_path, toy):
    def change(rate_multipliers, optimizer):
        settings = replace(
            SPECK, rate_multipliers=rate_multipliers, optimizer=optimizer, learning_rate=1e-3
        )
        before = model_of(settings)
        after = fit(
            tmp_path,
            toy,
            f"{optimizer}{len(rate_multipliers)}{rate_multipliers}",
            settings=settings,
            epochs=1,
        )
        return {
            name: float(
                np.abs(
                    after.get_layer(name).get_weights()[0] - before.get_layer(name).get_weights()[0]
                ).mean()
            )
            for name in ("dots", "classes")
        }

    for optimizer in ("adam", "sgd"):
        plain = change((), optimizer)
        frozen = change((("dots", 0.0), ("classes", 10.0)), optimizer)
        assert frozen["dots"] == 0.0
        assert plain["dots"] > 0
        assert frozen["classes"] > 4 * plain["classes"]
    with refusing("`rate_multipliers` nothing: no trained layer begins so"):
        model_of(replace(SPECK, rate_multipliers=(("nothing", 2.0),)))


@pytest.mark.parametrize("method", ["none", "under-over"])
def test_sampling_and_augmentation_see_the_training_part_alone(tmp_path, rng, method):
    labels = np.array(([0] * 9 + [1]) * 4)
    images = rng.integers(0, 255, (40, 32, 32, 3), dtype=np.uint8)
    source, plan = task(
        images, labels, range(20), range(20, 30), batch_size=2, epochs=2, sampling=method
    )
    seen = []

    class Watched(ImageBank):
        def patch(self, position, *arguments, **options):
            seen.append(position)
            return super().patch(position, *arguments, **options)

    source = replace(source, bank=Watched(source.bank.pixels, source.bank.index))
    model = model_of(SPECK)
    trained(model, source, plan, tmp_path)
    counts = np.bincount(seen, minlength=40)
    assert counts[30:].sum() == 0  # nothing of the test part
    assert (counts[20:30] > 0).all()  # the validation part as it is
    chosen = sample_training(labels[:20], method=method, seed=0)
    assert set(np.flatnonzero(counts[:20])) == set(chosen.tolist())


def test_an_encoder_gets_a_head_and_freezes(tmp_path, toy):
    settings = replace(TINY, freeze="all")
    before = model_of(settings)
    after = fit(tmp_path, toy, "a", settings=settings, epochs=1)
    assert len(before.trainable_variables) == 2
    assert_same_arrays(before.layers[-3].get_weights(), after.layers[-3].get_weights())
    part = model_of(replace(settings, freeze="middle"))
    whole = model_of(replace(settings, freeze=""))
    assert 2 < len(part.trainable_variables) < len(whole.trainable_variables)
    with refusing("`freeze` nothing: convs has no such layer"):
        model_of(replace(settings, freeze="nothing"))
    with refusing("`freeze` and `top` belong to encoders; patch-resnet is"):
        model_of(replace(SMALL, freeze="all"))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, tissue):
    run = tmp_path_factory.mktemp("tuned") / "run"
    settings = FinetuneSettings("speck", epochs=2, batch_size=4)
    return run, finetune_here(tissue, run, settings)


def test_a_run_writes_what_the_boosted_road_writes(tuned):
    run, result = tuned
    folder = run / "finetune" / "3-speck"
    assert result.folder == folder
    lines = (folder / "predictions.csv").read_text().splitlines()
    assert lines[0] == HEADER
    assert len(lines) == 13
    assert (folder / "folds.csv").read_text().startswith("image_id,label,group,fold")
    assert len(list((folder / "models").glob("fold*.npz"))) == 3
    assert not list((folder / "models").glob("*.state.npz"))
    assert (
        (folder / "logs" / "fold1.csv")
        .read_text()
        .startswith("epoch,loss,accuracy,val_loss,val_accuracy")
    )
    assert read_json(folder / "metrics.json")["run"]["protocol"] == result.protocol
    assert "bchisto finetune: 3-speck" in (folder / "report.html").read_text()
