"""When a state is saved, and that a training that goes on from any of them ends the same."""

import numpy as np
import pytest
from bchisto.finetune import FinetuneSettings, batches, units
from bchisto.finetune import fit as state
from bchisto.finetune.fit import TrainingPlan
from training_sources import assert_same_arrays, source_of, trained

EPOCHS = 6
SPECK = FinetuneSettings(
    "speck",
    dropout=0.5,
    learning_rate=0.3,
    batch_size=4,
    epochs=EPOCHS,
    patience=9,
    augmentations=(),
)


class Killed(BaseException):
    pass


@pytest.fixture(scope="module", autouse=True)
def none_kept():
    yield
    units.release_network()


@pytest.fixture
def source(rng):
    """Noise, on which the validation loss rises and falls."""
    return source_of(rng.integers(0, 256, (16, 32, 32, 3), dtype=np.uint8), np.arange(16) % 2)


@pytest.fixture
def seconds(monkeypatch):
    """A clock that stands still but for what a test adds to it."""
    clock = [0.0]
    monkeypatch.setattr(state.time, "monotonic", lambda: clock[0])
    return clock


def train(source, folder, *, validate=range(12, 16), **options):
    model = units.network_of_fold(SPECK, classes=2, fold=1)  # compiled once for all
    plan = TrainingPlan(SPECK, np.arange(12), np.array(validate, dtype=np.int64), 2)
    return trained(model, source, plan, folder, **options).get_weights()


def test_a_state_is_saved_when_its_cost_has_passed_ten_times_and_after_a_minute(
    source, tmp_path, monkeypatch, seconds
):
    real, saved, at, names = state.write_pack, [], [], []

    def slow(path, *rest):
        seconds[0] += 3.0
        names.append(path.name)
        real(path, *rest)

    monkeypatch.setattr(state, "write_pack", slow)

    def add(*_):
        at.append(seconds[0])
        seconds[0] += 8.0

    monkeypatch.setattr(state, "write_rows", add)
    train(source, tmp_path, validate=(), on_saved=lambda epochs: saved.append(len(epochs)))
    # the first at once; the next when 30 s have passed since, that is before the sixth epoch
    assert at == [3.0, 11.0, 19.0, 27.0, 38.0, 46.0]
    assert names == ["s.npz"] * 2
    assert saved == [0, 1, 5, 6]
    names.clear()
    monkeypatch.setattr(state, "_TIMES_ITS_COST", 1e9)
    monkeypatch.setattr(state, "_MOST_SECONDS", 7.0)
    (tmp_path / "s.npz").unlink()
    train(source, tmp_path, validate=())
    assert len(names) == EPOCHS


@pytest.mark.slow
@pytest.mark.parametrize("saves", [1, 2, 3, 4, 5])
def test_gone_on_from_any_state(source, tmp_path, monkeypatch, seconds, saves):
    """Killed while the state after that of so many epochs is written."""
    whole = train(source, tmp_path / "whole")
    real, states = state.write_pack, []

    def killed(path, *rest):
        states.append(path)
        if len(states) > saves:
            raise Killed
        real(path, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(state, "write_pack", killed)
        with pytest.raises(Killed):
            train(source, tmp_path)
    seen = []
    again = train(source, tmp_path, on_saved=lambda epochs: seen.append(len(epochs)))
    assert seen[0] == saves
    assert_same_arrays(whole, again)
    assert (tmp_path / "l.csv").read_bytes() == (tmp_path / "whole" / "l.csv").read_bytes()


@pytest.mark.slow
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
