"""When a state is saved, what lies beside it, and that a training that goes on from any of them ends the same."""

from pathlib import Path

import numpy as np
import pytest
from bchisto.finetune import FinetuneSettings, ImageBank, PatchRule, batches, fit, kept, state
from bchisto.finetune.batches import Source
from bchisto.finetune.fit import TrainingPlan, train_model

pytestmark = pytest.mark.slow

EPOCHS = 6
SPECK = FinetuneSettings(
    "speck", dropout=0.5, learning_rate=0.3, batch_size=4, epochs=EPOCHS, patience=9, augmentations=()
)


class Killed(BaseException):
    pass


@pytest.fixture(scope="module", autouse=True)
def none_kept():
    yield
    kept.let_go()


@pytest.fixture
def source(rng):
    """Noise, on which the validation loss rises and falls."""
    images = list(rng.integers(0, 256, (16, 32, 32, 3), dtype=np.uint8))
    return Source(ImageBank.of(images, [str(n) for n in range(16)]), np.arange(16) % 2, PatchRule(), 32, 0, 4)


@pytest.fixture
def seconds(monkeypatch):
    """A clock that stands still but for what a test adds to it."""
    clock = [0.0]
    monkeypatch.setattr(state.time, "monotonic", lambda: clock[0])
    return clock


def train(source, folder, *, validate=range(12, 16), on_epoch=lambda words: None, on_saved=lambda epochs: None):
    model = kept.network_of_fold(SPECK, classes=2, fold=1)  # compiled once for all
    plan = TrainingPlan(SPECK, np.arange(12), np.array(validate, dtype=np.int64), 2)
    train_model(model, source, plan, state=folder / "fold1.state.npz", log=folder / "l.csv", on_epoch=on_epoch,
                on_saved=on_saved)  # fmt: skip
    return model.get_weights()


def written(monkeypatch):
    names = []
    real = state.atomic_output

    def noted(path):
        names.append(Path(path).name)
        return real(path)

    monkeypatch.setattr(state, "atomic_output", noted)
    return names


def test_a_state_is_saved_when_its_cost_has_passed_ten_times_and_after_a_minute(source, tmp_path, monkeypatch, seconds):
    names = written(monkeypatch)
    real, saved, at = state._write, [], []

    def slow(path, arrays):
        seconds[0] += 3.0
        real(path, arrays)

    monkeypatch.setattr(state, "_write", slow)

    def on_epoch(words):
        at.append(seconds[0])
        seconds[0] += 8.0

    train(source, tmp_path, validate=(), on_epoch=on_epoch, on_saved=saved.append)
    # the first at once; the next when 30 s have passed since, that is before the sixth epoch
    assert at == [3.0, 11.0, 19.0, 27.0, 38.0, 46.0]
    assert names == ["fold1.state.npz"] * 2
    assert saved == [0, 1, 4, 1]
    names.clear()
    monkeypatch.setattr(state, "_TIMES_ITS_COST", 1e9)
    monkeypatch.setattr(state, "_MOST_SECONDS", 7.0)
    state.remove_state(tmp_path / "fold1.state.npz")
    train(source, tmp_path, validate=(), on_epoch=on_epoch)
    assert len(names) == EPOCHS


def test_the_best_weights_are_written_once_and_go_with_the_next_best(source, tmp_path, monkeypatch, seconds):
    """Nothing costs time on this clock, so every epoch is saved."""
    names, beside = written(monkeypatch), []
    judged = iter([5.0, 6.0, 7.0, 4.0, 6.0, 6.0])
    monkeypatch.setattr(fit, "_judge", lambda *rest: (next(judged), 0.5))
    train(source, tmp_path, on_epoch=lambda words: beside.append({path.name for path in tmp_path.glob("*best*")}))
    assert names.count("fold1.state.npz") == EPOCHS
    assert [name for name in names if "best" in name] == ["fold1.state.best1.npz", "fold1.state.best4.npz"]
    first, fourth = {"fold1.state.best1.npz"}, {"fold1.state.best4.npz"}
    assert beside == [set(), first, first, set(), fourth, fourth]
    state.remove_state(tmp_path / "fold1.state.npz")
    assert not list(tmp_path.glob("*.npz"))


@pytest.mark.parametrize("saves", [1, 2, 3, 4, 5])
def test_gone_on_from_any_state(source, tmp_path, monkeypatch, seconds, saves):
    """Killed while the state after that of so many epochs is written, its weights already beside it."""
    (tmp_path / "whole").mkdir()
    whole = train(source, tmp_path / "whole")
    real, states = state._write, []

    def killed(path, arrays):
        if "best" not in path.name:
            states.append(path)
            if len(states) > saves:
                raise Killed
        real(path, arrays)

    with monkeypatch.context() as patched:
        patched.setattr(state, "_write", killed)
        with pytest.raises(Killed):
            train(source, tmp_path)
    seen = []
    again = train(source, tmp_path, on_saved=seen.append)
    assert seen[0] == saves
    for one, two in zip(whole, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (tmp_path / "l.csv").read_bytes() == (tmp_path / "whole" / "l.csv").read_bytes()


def test_weights_that_an_earlier_training_left_are_not_taken(source, tmp_path, seconds):
    (tmp_path / "clean").mkdir()
    whole = train(source, tmp_path / "clean")
    for epoch in range(1, EPOCHS):
        (tmp_path / f"fold1.state.best{epoch}.npz").write_bytes(b"of another")
    for one, two in zip(whole, train(source, tmp_path), strict=True):
        np.testing.assert_array_equal(one, two)


def test_what_an_epoch_was_made_of_is_forgotten(source, tmp_path, monkeypatch):
    """Keras on TensorFlow holds on to every data set that it has read."""
    import gc
    import weakref

    orders = []
    real = batches._stack

    def watched(source, samples, order, *rest):
        orders.append(weakref.ref(order))
        return real(source, samples, order, *rest)

    monkeypatch.setattr(batches, "_stack", watched)
    train(source, tmp_path)
    gc.collect()
    assert len(orders) == EPOCHS + 1
    assert not [one for one in orders if one() is not None]
