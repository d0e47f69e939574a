"""Models are made under keys, and folders of stage 2 are held to their settings."""

import shutil

import pytest
from bchisto.boost import units
from bchisto.core import BchistoError, OverwrittenError, SettingsConflictError, StoreError
from bchisto.core.jobs import Work
from packs import PARAMS, models_in, packs_in, train_small

PAIR = "boost/3-lightgbm"


def texts(run):
    return models_in(run / PAIR)


def test_overwritten_beside_a_running_command(boosted, run_copy, monkeypatch):
    """The first stops before it puts its models together, and what it left is not taken over."""
    run = run_copy(boosted)
    real, changed = units.fit_head, {**PARAMS, "num_iterations": 9}
    calls = []

    def overwriting(name, task, *, params):
        calls.append(name)
        if len(calls) == 2:  # of the first command, which has trained a fold
            train_small(run, params=changed, overwrite=True)
        return real(name, task, params=params)

    monkeypatch.setattr(units, "fit_head", overwriting)
    with pytest.raises(OverwrittenError, match="another command has overwritten this folder meanwhile; this one"):
        train_small(run, params={**PARAMS, "num_iterations": 7}, overwrite=True)
    expected = packs_in(run / PAIR)
    assert len(expected) == 3
    train_small(run, params=changed)
    fresh = run.parent / "fresh"
    shutil.copytree(boosted / "features", fresh / "features")
    train_small(fresh, params=changed)
    for name in ("predictions.csv", "model.bchisto"):
        assert (run / PAIR / name).read_bytes() == (fresh / PAIR / name).read_bytes()


def test_a_smaller_result_does_not_replace_a_larger_one(boosted, run_copy):
    run = run_copy(boosted)
    before = {path.name: path.read_bytes() for path in (run / PAIR).iterdir() if path.is_file()}
    with pytest.raises(SettingsConflictError, match=r"3-lightgbm: holds a larger result: 2 seeds, not 1; ask for all"):
        train_small(run)
    (run / "features" / "tiny-1.0-64.h5").rename(run / "features" / "other-1.0-64.h5")
    with pytest.raises(SettingsConflictError, match=r"result: 1 more feature files \(tiny-1\.0-64\); ask for all"):
        train_small(run, seeds=2)
    assert {path.name: path.read_bytes() for path in (run / PAIR).iterdir() if path.is_file()} == before
    assert train_small(run, overwrite=True)[0].finished


def test_models_that_went_missing_are_an_error(boosted, run_copy, monkeypatch):
    run = run_copy(boosted)
    # as if another process had removed them
    monkeypatch.setattr("bchisto.core.jobs.work.run_units", lambda *_, **__: [])
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
        patch.setattr("bchisto.core.jobs.work.run_units", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train_small(run, "3", "2", params=changed, overwrite=True)
    for result in train_small(run, "3", "2", params=changed):
        assert result.finished
        assert len(packs_in(result.folder)) == int(result.folder.name[0])  # of the new settings only


def grow(boosted, tissue, tiny_settings, run_copy, tmp_path):
    """Return a run whose images were changed after its models were trained, and the folder of images."""
    from bchisto.featurize import featurize

    run, images = run_copy(boosted), shutil.copytree(tissue, tmp_path / "images")
    for name in ("benign", "malignant"):
        whole = (images / name / f"{name}01.png").read_bytes()
        (images / name / "z new.png").write_bytes(whole + b"\0")
    (images / "benign" / "benign02.png").unlink()
    featurize(images, out=run, settings=tiny_settings, work=Work(jobs=1))
    return run, images


def test_a_store_that_grew_trains_what_changed(boosted, tissue, tiny_settings, run_copy, tmp_path, cli):
    """The change is told by names of images, and the result is that of a fresh run."""
    from bchisto.featurize import featurize

    run, images = grow(boosted, tissue, tiny_settings, run_copy, tmp_path)
    command = ["boost", "--out", run, "--folds", 3, "--seeds", 2, "--jobs", 1]
    command += [word for pair in PARAMS.items() for word in ("--param", "=".join(map(str, pair)))]
    code, _, messages = cli(*command)
    assert code == 0, messages
    assert "2 images added (first benign/z new.png), 1 image removed (benign/benign02.png) since its" in messages
    fresh = tmp_path / "fresh"
    featurize(images, out=fresh, settings=tiny_settings, work=Work(jobs=1))
    train_small(fresh, seeds=2)
    for name in ("predictions.csv", "predictions-by-model.csv", "metrics.json", "model.bchisto", "folds.csv"):
        assert (run / PAIR / name).read_bytes() == (fresh / PAIR / name).read_bytes(), name


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
    with pytest.raises(StoreError, match="images changed while the command ran; run the same command again"):
        train_small(run)
    assert not texts(run)
