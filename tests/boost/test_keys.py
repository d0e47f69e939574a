"""Models are made under keys, and folders of stage 2 are held to their settings."""

import shutil
from dataclasses import replace

import pytest
from bchisto.boost import units
from bchisto.core import BchistoError, SettingsConflictError, StoreError
from bchisto.core.jobs import Work
from bchisto.featurize import featurize
from packs import PARAMS, models_in, packs_in, train_small

PAIR = "boost/3-lightgbm"


def texts(run):
    return models_in(run / PAIR)


def test_a_smaller_result_does_not_replace_a_larger_one(boosted, run_copy):
    run = run_copy(boosted)
    before = {path.name: path.read_bytes() for path in (run / PAIR).iterdir() if path.is_file()}
    with pytest.raises(
        SettingsConflictError,
        match=r"3-lightgbm: holds what was not asked for: 2 seeds, not 1; ask for all",
    ):
        train_small(run)
    (run / "features" / "tiny-1.0-64.h5").rename(run / "features" / "other-1.0-64.h5")
    with pytest.raises(
        SettingsConflictError, match=r"asked for: 1 more feature file \(tiny-1\.0-64\); ask for all"
    ):
        train_small(run, seeds=2)
    assert {
        path.name: path.read_bytes() for path in (run / PAIR).iterdir() if path.is_file()
    } == before
    assert train_small(run, overwrite=True)[0].finished


def test_models_that_went_missing_are_an_error(boosted, run_copy, monkeypatch):
    run = run_copy(boosted)
    # as if another process had removed them
    monkeypatch.setattr("bchisto.core.jobs.computation.run_units", lambda *_, **__: [])
    packs_in(run / PAIR)["seed0-fold1"].unlink()
    with pytest.raises(BchistoError, match="1 of 6 models are missing; run the same command again"):
        train_small(run, seeds=2)


def test_all_is_overwritten_before_any_is_trained(boosted, run_copy, monkeypatch):
    """An interrupted command says to go on without --overwrite, which must be true of every protocol it was about."""
    run = run_copy(boosted)
    train_small(run, "2")
    changed = {**PARAMS, "num_iterations": 3}

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("bchisto.core.jobs.computation.run_units", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train_small(run, "3", "2", params=changed, overwrite=True)
    for result in train_small(run, "3", "2", params=changed):
        assert result.finished
        # of the new settings only
        assert len(packs_in(result.folder)) == int(result.folder.name[0])


def test_a_store_replaced_while_models_train(boosted, run_copy, monkeypatch):
    """No model trains on other descriptors than its key says."""
    import h5py

    run = run_copy(boosted)
    shutil.rmtree(run / "boost")
    real = units.open_store

    def replaced(path):
        with h5py.File(path, "a") as file:
            file["images/key"][3] = "0" * 64
        return real(path)

    monkeypatch.setattr(units, "open_store", replaced)
    with pytest.raises(
        StoreError, match="h5: changed while the command ran; run the same command again"
    ):
        train_small(run)
    assert not texts(run)


def test_models_that_are_replaced_are_told(described, tissue, tiny_settings, tmp_path, caplog):
    """As if features of other augmentations were made into the same folder; not if seeds are added, or nothing is."""
    run = tmp_path / "run"
    shutil.copytree(described, run)
    text = "models whose inputs changed are trained again"
    train_small(run)
    train_small(run)
    train_small(run, seeds=2)
    assert text not in caplog.text
    more = replace(tiny_settings, augmentations=3)
    featurize(tissue, out=run, settings=more, work=Work(jobs=1))
    before = (run / PAIR / "model.bchisto").read_bytes()
    train_small(run, seeds=2)
    assert f"{run / PAIR}: {text}" in caplog.text
    assert (run / PAIR / "model.bchisto").read_bytes() != before
