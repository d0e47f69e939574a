"""Folders of fine-tuned networks are held to their settings, by every fold and training state in them."""

from dataclasses import replace

import pytest
from bchisto.core import InputError, SettingsConflictError
from bchisto.core.jobs import Shard, Work
from bchisto.finetune import FinetuneSettings, finetune

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
        match=r"made with other settings: learning rate .*; use the same settings, another `name` or `out`",
    ):
        run(tissue, done, replace(SETTINGS, learning_rate=0.5))


def test_folds_under_another_key_are_trained_again(tissue, done, run_copy, caplog):
    folder = run_copy(done) / FOLDER
    before = results(folder.parents[1])
    (first,), (second,) = (list((folder / "models").glob(f"fold{fold}-*.npz")) for fold in (1, 2))
    first.write_bytes(second.read_bytes())
    run(tissue, folder.parents[1])
    assert results(folder.parents[1]) == before
    assert f"{first.name}: incomplete (made under other settings); made again" in caplog.text


def test_a_corrected_label_trains_the_folds_that_it_is_in(tissue, tmp_path, caplog):
    rows = [(path, path.parent.name) for path in sorted(tissue.rglob("*.png"))]
    table = tmp_path / "list.csv"
    table.write_text("path,label\n" + "".join(f"{path},{label}\n" for path, label in rows))
    run(table, tmp_path / "run")
    rows[0] = (rows[0][0], rows[-1][1])
    table.write_text("path,label\n" + "".join(f"{path},{label}\n" for path, label in rows))
    run(table, tmp_path / "run")
    assert "1 label changed" in caplog.text
    run(table, tmp_path / "fresh")
    assert results(tmp_path / "run") == results(tmp_path / "fresh")
