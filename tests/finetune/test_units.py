"""The network of a process that trains several folds: compiled once, and equal to one of each fold's own."""

from dataclasses import replace

import numpy as np
import pytest
from bchisto.core.jobs import Work
from bchisto.finetune import FinetuneSettings, finetune, units
from bchisto.finetune import fit as state
from bchisto.finetune.fit import TrainingPlan
from bchisto.finetune.model import build_model
from bchisto.finetune.units import predict_samples
from training_sources import source_of, trained

pytestmark = pytest.mark.slow

SPECK = FinetuneSettings("speck", dropout=0.5, learning_rate=0.05, batch_size=4)
TINY = FinetuneSettings(
    "convs", weights="random", size=32, batch_size=4, freeze="middle", optimizer="sgd", l2=1e-3
)


@pytest.fixture(scope="module", autouse=True)
def every_epoch():
    """A state is saved after every epoch."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(state, "_MOST_SECONDS", 0.0)
        yield


@pytest.fixture(autouse=True)
def none_kept():
    units.release_network()
    yield
    units.release_network()


def train(model, folder):
    """Train two epochs; return weights, predictions, and the training state with that of the optimiser."""
    rng = np.random.default_rng(1)
    labels = np.arange(16) % 2
    source = source_of(rng.integers(0, 256, (16, 32, 32, 3), dtype=np.uint8), labels)
    plan = TrainingPlan(
        replace(SPECK, epochs=2, patience=9, augmentations=()), np.arange(8), np.arange(8, 12), 2
    )
    trained(model, source, plan, folder)
    found = predict_samples(model, source, np.arange(12, 16))
    return [*model.get_weights(), found], (folder / "s.npz").read_bytes()


@pytest.mark.parametrize(
    "settings",
    [
        SPECK,
        replace(SPECK, precision="float16"),
        TINY,
        replace(TINY, freeze="", rate_multipliers=(("classes", 3.0),)),
    ],
    ids=["dropout", "float16", "frozen", "multipliers"],
)
def test_a_fold_is_trained_as_if_alone(tmp_path, settings):
    train(units.network_of_fold(settings, classes=2, fold=1), tmp_path / "first")
    model = units.network_of_fold(settings, classes=2, fold=2)
    assert model is units.network_of_fold(settings, classes=2, fold=2)
    found, left = train(model, tmp_path / "second")
    expected, whole = train(build_model(settings, classes=2, fold=2), tmp_path / "alone")
    for one, two in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, two)
    assert left == whole


def test_the_folds_of_a_command_share_one_that_is_let_go_at_its_end(tissue, tmp_path, monkeypatch):
    """A training step is traced once, and not once a fold, or twice for what its first trace creates."""
    import keras

    stepped = []
    real = keras.optimizers.Adam.update_step

    def counted(self, gradient, variable, learning_rate):
        stepped.append(tuple(variable.shape))
        real(self, gradient, variable, learning_rate)

    monkeypatch.setattr(keras.optimizers.Adam, "update_step", counted)
    settings = replace(SPECK, epochs=2, augmentations=())
    (result,) = finetune(tissue, out=tmp_path, settings=settings, folds=["3"], work=Work(jobs=1))
    assert result.finished
    assert stepped == [(3, 3, 3, 4), (4,), (4, 2), (2,)]
    assert not units._last
