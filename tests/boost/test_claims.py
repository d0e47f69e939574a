"""Folders of stage 2 are held to their settings, by every model in them."""

import shutil

import pytest
from bchisto.boost import BoostSettings, train, units
from bchisto.errors import BchistoError, OverwrittenError, SettingsConflictError, StoreError
from bchisto.jobs import Work

PARAMS = {"min_data_in_leaf": 2, "num_iterations": 8}
PAIR = "boost/3-lightgbm"


def texts(run):
    """Return models as arrays and as texts."""
    return {path.name: path.read_bytes() for path in sorted((run / PAIR / "models").rglob("seed?-fold?.*[zt]"))}


def test_models_carry_the_hash_of_their_settings(boosted, run_copy, caplog):
    """A model of another command, and one that was replaced, are trained again."""
    run = run_copy(boosted)
    other = run.parent / "other"
    shutil.copytree(boosted, other)
    changed = {**PARAMS, "num_iterations": 9}
    train(out=other, folds=["3"], settings=BoostSettings(seeds=2, params=changed), work=Work(jobs=1, overwrite=True))
    ours, theirs = (root / PAIR / "models" / "tiny-1.0-64" for root in (run, other))
    for name in ("seed0-fold1.npz", "seed0-fold1.csv"):
        shutil.copy(theirs / name, ours / name)
    shutil.copy(theirs / "seed1-fold2.npz", ours / "seed1-fold2.npz")
    train(out=run, folds=["3"], settings=BoostSettings(seeds=2, params=PARAMS), work=Work(jobs=1))
    assert texts(run) == texts(boosted)
    assert "seed0-fold1.npz: made under other settings; trained again" in caplog.text
    assert "seed1-fold2.npz: does not hold a whole model; trained again" in caplog.text


def test_overwritten_beside_a_running_command(boosted, run_copy, monkeypatch):
    """The first stops at its next model, and what it left is not taken over."""
    run = run_copy(boosted)
    real, changed = units.fit_head, {**PARAMS, "num_iterations": 9}
    calls = []

    def overwriting(name, task, *, params):
        calls.append(name)
        if len(calls) == 2:  # of the first command, which has trained a fold
            train(
                out=run, folds=["3"], settings=BoostSettings(seeds=1, params=changed), work=Work(jobs=1, overwrite=True)
            )
        return real(name, task, params=params)

    monkeypatch.setattr(units, "fit_head", overwriting)
    with pytest.raises(OverwrittenError, match="another command has overwritten this folder meanwhile; this one"):
        train(
            out=run,
            folds=["3"],
            settings=BoostSettings(seeds=1, params={**PARAMS, "num_iterations": 7}),
            work=Work(jobs=1, overwrite=True),
        )
    found = texts(run)
    train(out=run, folds=["3"], settings=BoostSettings(seeds=1, params=changed), work=Work(jobs=1))
    assert texts(run) == found
    assert {text.count(b"\nTree=") for name, text in found.items() if name.endswith(".txt")} == {2 * 9}  # two classes


def test_a_smaller_result_does_not_replace_a_larger_one(boosted, run_copy):
    run = run_copy(boosted)
    before = {path.name: path.read_bytes() for path in (run / PAIR).iterdir() if path.is_file()}
    with pytest.raises(SettingsConflictError, match=r"3-lightgbm: holds a larger result: 2 seeds, not 1; ask for all"):
        train(out=run, folds=["3"], settings=BoostSettings(seeds=1, params=PARAMS), work=Work(jobs=1))
    (run / "features" / "tiny-1.0-64.h5").rename(run / "features" / "other-1.0-64.h5")
    with pytest.raises(
        SettingsConflictError, match=r"larger result: 1 more stores \(tiny-1\.0-64\); ask for all of it"
    ):
        train(out=run, folds=["3"], settings=BoostSettings(seeds=2, params=PARAMS), work=Work(jobs=1))
    assert {path.name: path.read_bytes() for path in (run / PAIR).iterdir() if path.is_file()} == before
    assert train(
        out=run, folds=["3"], settings=BoostSettings(seeds=1, params=PARAMS), work=Work(jobs=1, overwrite=True)
    )[0].finished


def test_models_that_went_missing_are_an_error(boosted, run_copy, monkeypatch):
    run = run_copy(boosted)
    # as if another process had removed them
    monkeypatch.setattr("bchisto.jobs.missing.run_units", lambda *_, **__: [])
    (run / PAIR / "models" / "tiny-1.0-64" / "seed0-fold1.npz").unlink()
    with pytest.raises(BchistoError, match="1 of 6 models are missing; run the same command again"):
        train(out=run, folds=["3"], settings=BoostSettings(seeds=2, params=PARAMS), work=Work(jobs=1))


def test_all_is_overwritten_before_any_is_trained(boosted, run_copy, monkeypatch):
    """An interrupted command says to go on without --overwrite, which must be true of every protocol it was about."""
    run = run_copy(boosted)
    train(out=run, folds=["2"], settings=BoostSettings(seeds=1, params=PARAMS), work=Work(jobs=1))
    changed = {**PARAMS, "num_iterations": 3}

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("bchisto.jobs.missing.run_units", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(
                out=run,
                folds=["3", "2"],
                settings=BoostSettings(seeds=1, params=changed),
                work=Work(jobs=1, overwrite=True),
            )
    for result in train(out=run, folds=["3", "2"], settings=BoostSettings(seeds=1, params=changed), work=Work(jobs=1)):
        texts = [path.read_text() for path in (result.folder / "models").rglob("*.txt")]
        assert {text.count("\nTree=") for text in texts} == {3 * 2}  # a tree a class and iteration


def test_a_store_that_grew_is_refused_in_words(boosted, tissue, tiny_settings, run_copy, tmp_path, cli):
    """What to do is said by names of images; the old result stays, and the new one is that of a fresh run."""
    from bchisto.featurize import featurize

    run, images = run_copy(boosted), shutil.copytree(tissue, tmp_path / "images")
    for name in ("benign", "malignant"):
        whole = (images / name / f"{name}01.png").read_bytes()
        (images / name / "z new.png").write_bytes(whole + b"\0")
    (images / "benign" / "benign02.png").unlink()
    featurize(images, out=run, settings=tiny_settings, work=Work(jobs=1))
    before = texts(run)
    command = ["boost", "--out", run, "--folds", 3, "--seeds", 2, "--jobs", 1]
    command += [word for pair in PARAMS.items() for word in ("--param", "=".join(map(str, pair)))]
    code, _, messages = cli(*command)
    assert code == 2
    assert "2 images added (first benign/z new.png), 1 image removed (benign/benign02.png); --overwrite" in messages
    assert "sha256" not in messages
    assert texts(run) == before
    assert cli(*command, "--overwrite")[0] == 0
    fresh = tmp_path / "fresh"
    featurize(images, out=fresh, settings=tiny_settings, work=Work(jobs=1))
    train(out=fresh, folds=["3"], settings=BoostSettings(seeds=2, params=PARAMS), work=Work(jobs=1))
    assert texts(run) == texts(fresh)
    assert (run / PAIR / "predictions.csv").read_bytes() == (fresh / PAIR / "predictions.csv").read_bytes()


def test_a_store_replaced_while_models_train(boosted, run_copy, monkeypatch):
    """Positions of images are looked up when a unit begins, so that no model trains on other images than it says."""
    import h5py

    run = run_copy(boosted)
    shutil.rmtree(run / "boost")
    with h5py.File(run / "features" / "tiny-1.0-64.h5") as file:
        ids = file["images/image_id"][:]
    real = units.open_store

    def replaced(path):
        with h5py.File(path, "a") as file:
            file["images/image_id"][:] = ids[::-1]
        return real(path)

    monkeypatch.setattr(units, "open_store", replaced)
    with pytest.raises(StoreError, match="images changed while the command ran; run the same command again"):
        train(out=run, folds=["3"], settings=BoostSettings(seeds=1, params=PARAMS), work=Work(jobs=1))
    assert not texts(run)
