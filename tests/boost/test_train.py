import json
import shutil

import h5py
import numpy as np
import pytest
from bchisto.boost import BoostSettings, train
from bchisto.core import (
    InputError,
    MissingInputError,
    SettingsConflictError,
    StoreError,
    banners_of,
)
from bchisto.data import FoldChoice, read_splits
from bchisto.featurize import load_features, open_store
from packs import ONE_JOB, PARAMS, models_in, train_small
from refusals import refuses
from written_tables import HEADER, read_json, visible
from written_tables import rows_of as rows

PAIR = "boost/3-lightgbm"


def texts(run, pair=PAIR):
    return models_in(run / pair)


def test_writes_what_the_interface_says(boosted):
    folder = boosted / PAIR
    names = {path.name for path in folder.iterdir()}
    assert {
        "folds.csv",
        "predictions.csv",
        "predictions-by-model.csv",
        "metrics.json",
        "report.html",
        "model.bchisto",
    } <= names
    assert sorted(texts(boosted)) == sorted(f"seed{s}-fold{f}" for s in (0, 1) for f in (1, 2, 3))
    predictions = rows(folder / "predictions.csv")
    assert ",".join(predictions[0]) == HEADER
    assert len(predictions) == 12
    by_model = rows(folder / "predictions-by-model.csv")
    assert list(by_model[0])[-2:] == ["store", "seed"]
    assert len(by_model) == 24
    assert list(rows(folder / "folds.csv")[0]) == ["image_id", "label", "group", "fold"]
    assert (boosted / "report.html").is_file()


def test_every_prediction_equals_plain_lightgbm_by_hand(boosted):
    """Train each model again with lightgbm alone, on the rows that folds.csv leaves for training."""
    import lightgbm

    fold_of = {row["image_id"]: int(row["fold"]) for row in rows(boosted / PAIR / "folds.csv")}
    with open_store(boosted / "features" / "tiny-1.0-64.h5") as store:
        features, ids = store.features(), store.image_ids
        labels = np.array([["benign", "malignant"].index(label) for label in store.labels])
    total = np.zeros((12, 2))
    for seed in (0, 1):
        for position, fold in enumerate((1, 2, 3)):
            test = np.array([fold_of[image] == fold for image in ids])
            params = {
                "objective": "multiclass",
                "num_class": 2,
                "learning_rate": 0.1,
                "num_leaves": 191,
                "max_depth": 7,
                "feature_fraction": 0.46,
                "bagging_fraction": 0.69,
                "bagging_freq": 0,
                "min_data_in_leaf": 2,
                "feature_fraction_seed": 1 + 10 * seed + position,
                "bagging_seed": 2 + 10 * seed + position,
                "num_threads": 1,
                "deterministic": True,
                "force_row_wise": True,
                "verbosity": -1,
            }
            data = lightgbm.Dataset(
                features[~test].reshape(-1, 16), np.repeat(labels[~test], 2), params=params
            )
            model = lightgbm.train(params, data, 8)
            total[test] += (
                model.predict(features[test].reshape(-1, 16)).reshape(-1, 2, 2).mean(axis=1)
            )
    found = {
        row["image_id"]: [float(row["p_benign"]), float(row["p_malignant"])]
        for row in rows(boosted / PAIR / "predictions.csv")
    }
    np.testing.assert_allclose([found[image] for image in ids], total / 2, rtol=1e-12)


def test_more_seeds_extend_a_run(boosted, run_copy):
    run = run_copy(boosted)
    before = texts(run)
    (result,) = train_small(run, seeds=3)
    assert result.models == 9
    assert {name: text for name, text in texts(run).items() if name in before} == before


def test_other_folds_and_features_are_refused(boosted, run_copy):
    run = run_copy(boosted)
    with pytest.raises(SettingsConflictError, match="other folds; .* or another `name` or `out`"):
        train(out=run, folds=["3"], settings=BoostSettings(seeds=2, params=PARAMS, seed=1))
    (beside,) = train_small(run, settings={"seed": 1, "name": "b"})
    assert (beside.folder.name, beside.finished) == ("3-lightgbm-b", True)
    (result,) = train_small(run, settings={"seed": 1}, overwrite=True)
    assert result.finished
    with h5py.File(run / "features" / "tiny-1.0-64.h5", "a") as file:
        file.attrs["settings"] = json.dumps({**json.loads(file.attrs["settings"]), "crops": 9})
    with pytest.raises(
        SettingsConflictError, match=r"other settings: tiny-1\.0-64: crops 3 -> 9; use the same"
    ):
        train(out=run, folds=["3"], settings=BoostSettings(seeds=1, params=PARAMS, seed=1))


def test_numbers_say_where_they_come_from(boosted):
    metrics = read_json(boosted / PAIR / "metrics.json")
    assert set(metrics["tables"]) == {"fusion", "tiny-1.0-64"}
    assert metrics["run"]["protocol"] == "3 stratified image-level folds (seed 0)"
    assert banners_of(metrics["run"])[0].startswith("RANDOM WEIGHTS: tiny ran untrained")
    fusion = metrics["tables"]["fusion"]
    assert fusion["accuracy_mean"] == pytest.approx(np.mean(fusion["accuracy_per_fold"]))
    assert fusion["two_class"]["positive"] == ["malignant"]
    report = (boosted / PAIR / "report.html").read_text()
    assert len(visible(report.partition("<body>")[2]).split()) <= 2200
    assert "RANDOM WEIGHTS" in report
    assert "weights random (sha256" in report
    assert "benign/benign0" not in report  # a report that is passed on numbers its pictures
    pictures = rows(boosted / PAIR / "pictures.csv")
    assert [row["number"] for row in pictures] == [str(k + 1) for k in range(len(pictures))]
    assert {row["image_id"] for row in pictures} <= {
        row["image_id"] for row in rows(boosted / PAIR / "predictions.csv")
    }
    assert report.count("Image ") == 2 * len(pictures)  # each with a text for who cannot see it


def test_grouped_folds_and_leaks(described, run_copy):
    run = run_copy(described)
    with h5py.File(run / "features" / "tiny-1.0-64.h5", "a") as file:
        for row, image in enumerate(file["image_id"][:]):
            file["group"][row] = f"patient{int(image.decode()[-6:-4]) // 2}-{image.decode()[:1]}"
    (grouped,) = train_small(run)
    assert grouped.folder.name == "3-grouped-lightgbm"
    assert grouped.banners[1:] == ()
    assert grouped.metrics["units"]["kind"] == "group"
    settings, choice = BoostSettings(seeds=1, params=PARAMS), FoldChoice(["3"], group_by="none")
    (leaking,) = train(out=run, folds=choice, settings=settings, work=ONE_JOB)
    assert leaking.folder.name == "3-lightgbm"
    assert "IMAGE-LEVEL FOLDS" in leaking.banners[-1]
    assert "IMAGE-LEVEL FOLDS" in (leaking.folder / "report.html").read_text()


def test_no_run_and_no_stores(tmp_path):
    refuses(InputError, "no such run folder; run bchisto featurize", train, out=tmp_path / "none")
    (tmp_path / "run" / "features").mkdir(parents=True)
    with pytest.raises(
        MissingInputError, match=r"no feature file \(\*\.h5\) in it; `bchisto featurize"
    ):
        train(out=tmp_path / "run")
    with pytest.raises(MissingInputError, match="no such feature file or folder"):
        train(out=tmp_path / "run", features=[tmp_path / "gone"])


def test_features_that_cannot_train(described, run_copy):
    run = run_copy(described)
    # by default
    refuses(InputError, "class benign has 6 images, fewer than the 10 folds", train, out=run)
    parts, store, other = (
        run / "features" / name for name in ("x-1.0-64.parts", "tiny-1.0-64.h5", "other.h5")
    )
    parts.mkdir()
    with pytest.raises(
        StoreError, match="not finished; run the same bchisto featurize again, without `shard`"
    ):
        train(out=run, folds=["3"])
    parts.rmdir()
    shutil.copy(store, other)
    with h5py.File(other, "a") as file:
        file["label"][0:2] = "malignant"
    with pytest.raises(
        InputError, match=r"the second: 1 label changed \(benign/benign00\.png\); run bchisto"
    ):
        train(out=run, features=[store, other], folds=["3"])
    other.unlink()
    with h5py.File(store, "a") as file:
        file["label"][:] = ""
    with pytest.raises(
        InputError, match="none of the 12 images has a label; boost needs labels to train on"
    ):
        train(out=run, folds=["3"])


@pytest.mark.filterwarnings("ignore:The groups parameter is ignored by KFold")
def test_folds_of_scikit_learn(described, run_copy):
    """A splitter, or its positions, give the folds that they say; patients in two parts are warned of."""
    from sklearn.model_selection import KFold, StratifiedGroupKFold

    run = run_copy(described)
    with h5py.File(run / "features" / "tiny-1.0-64.h5", "a") as file:
        for row, image in enumerate(file["image_id"][:]):
            file["group"][row] = f"patient{int(image.decode()[-6:-4]) // 2}-{image.decode()[:1]}"

    def trained(folds, **settings):
        settings = BoostSettings(seeds=1, params=PARAMS, **settings)
        (result,) = train(out=run, folds=folds, settings=settings, work=ONE_JOB)
        return result

    X, y, groups, names = load_features(run)
    splitter = KFold(3, shuffle=True, random_state=1)
    expected = list(splitter.split(X, y))
    for folds, folder in ((splitter, "KFold-3-lightgbm"), (expected, "list-3-lightgbm")):
        result = trained(folds)
        assert result.folder.name == folder
        assert any("IMAGE-LEVEL FOLDS" in banner for banner in result.banners)
        splits = read_splits(result.folder, names)
        for parts, given in zip(splits, expected, strict=True):
            for positions, those in zip(parts, given, strict=True):
                assert positions.tolist() == those.tolist()
    iterated = trained(iter(expected[:2]), name="iterated")
    assert len(read_splits(iterated.folder, names)) == 2
    grouped = trained(StratifiedGroupKFold(2))
    for train_rows, test_rows in read_splits(grouped.folder, names):
        assert not {*groups[train_rows]} & {*groups[test_rows]}
    assert not any("IMAGE-LEVEL FOLDS" in banner for banner in grouped.banners)
    refuses(IndexError, "99", trained, [([0, 1], [99])])
