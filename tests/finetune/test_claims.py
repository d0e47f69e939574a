"""Folders of fine-tuned networks are held to their settings, by every fold and training state in them."""

from dataclasses import replace

import pytest
from bchisto.errors import InputError, OverwrittenError, SettingsConflictError
from bchisto.finetune import FinetuneSettings, finetune, units
from bchisto.jobs import Shard, Work
from bchisto.runs import Claim

pytestmark = pytest.mark.slow

SETTINGS = FinetuneSettings(
    "convs", weights="random", size=32, epochs=1, batch_size=4, validation=False, augmentations=()
)
FOLDER = "finetune/2-convs"


def run(tissue, out, settings=SETTINGS, **how):
    return finetune(tissue, out=out, settings=settings, folds=["2"], work=Work(jobs=1, **how))


def results(out):
    return {path.name: path.read_bytes() for path in sorted((out / FOLDER).glob("*.csv"))}


@pytest.fixture(scope="module")
def done(tmp_path_factory, tissue):
    out = tmp_path_factory.mktemp("done") / "run"
    with pytest.raises(InputError, match="`batch_size` 99: more than the"):
        run(tissue, out, replace(SETTINGS, batch_size=99))
    run(tissue, out)
    return out


def test_settings_are_written_when_something_is_made_under_them(tissue, done):
    """A refusal of the training itself is no settings: the command that it asks for then works."""
    assert results(done)
    with pytest.raises(InputError, match="overwrite without `shard`"):
        run(tissue, done, overwrite=True, shard=Shard(1, 2))
    with pytest.raises(
        SettingsConflictError,
        match=r"made with other settings: rate .*; use the same settings, another `name` or `out`",
    ):
        run(tissue, done, replace(SETTINGS, learning_rate=0.5))


def test_folds_carry_the_hash_of_their_settings(tissue, done, run_copy, caplog):
    tmp_path = run_copy(done)
    before = results(tmp_path)
    table = tmp_path / FOLDER / "models" / "fold1.csv"
    head, _, rest = table.read_text().partition("\n")
    names = head.split(",")
    assert [name.partition("=")[0] for name in names] == ["name", "p0", "p1", "settings", "model"]
    table.write_text(",".join([*names[:3], "settings=" + "0" * 64, names[4]]) + "\n" + rest)
    weights = tmp_path / FOLDER / "models" / "fold2.weights.h5"
    weights.write_bytes((tmp_path / FOLDER / "models" / "fold1.weights.h5").read_bytes())  # whole, and not its own
    run(tissue, tmp_path)
    assert results(tmp_path) == before
    assert "fold1.csv: made under other settings; trained again" in caplog.text
    assert "fold2.weights.h5: does not hold the weights of its fold; trained again" in caplog.text


def test_states_carry_the_hash_of_their_settings(tissue, tmp_path, caplog, monkeypatch):
    """A state that another command left is not gone on from; an overwritten command stops at its next epoch."""
    real = units.train_model

    def interrupted(*arguments, **options):
        def stop(words):
            raise KeyboardInterrupt

        real(*arguments, **{**options, "on_epoch": stop})

    monkeypatch.setattr(units, "train_model", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tissue, tmp_path, replace(SETTINGS, learning_rate=0.5))
    state = tmp_path / FOLDER / "models" / "fold1.state.npz"
    left = state.read_bytes()

    def overwritten(*arguments, **options):
        Claim(options["mark"].folder, settings={"rate": 9}, work=["models/*"], overwrite=True).take()
        real(*arguments, **options)

    monkeypatch.setattr(units, "train_model", overwritten)
    with pytest.raises(OverwrittenError, match="another command has overwritten this folder meanwhile; this one stops"):
        run(tissue, tmp_path, overwrite=True)
    assert not (tmp_path / FOLDER / "models").exists()

    def beside(*arguments, **options):
        if options["state"] == state:
            state.parent.mkdir(exist_ok=True)
            state.write_bytes(left)
        real(*arguments, **options)

    monkeypatch.setattr(units, "train_model", beside)
    run(tissue, tmp_path)
    assert "fold1.state.npz: made under other settings; trained from the start" in caplog.text
