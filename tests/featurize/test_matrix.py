"""`load_features`: the features of a run as scikit-learn and pandas take them."""

import shutil

import h5py
import numpy as np
import pytest
from bchisto.core import InputError, MissingInputError
from bchisto.data import read_splits
from bchisto.featurize import load_features, only_store, open_store
from numpy.testing import assert_allclose, assert_array_equal
from written_tables import rows_of


def test_arrays_are_those_of_the_feature_file(boosted):
    (path,) = (boosted / "features").glob("*.h5")
    X, y, groups, names = load_features(boosted)
    with open_store(path) as store:
        assert names.tolist() == store.image_ids
        assert y.tolist() == store.labels
        assert_allclose(X, store.features().mean(axis=1))
        known = [group or name for group, name in zip(store.groups, store.image_ids, strict=True)]
    assert groups.tolist() == known
    for first, second in zip(load_features(path), (X, y, groups, names), strict=True):
        assert_array_equal(first, second)


def test_a_data_frame_has_a_row_for_each_image(boosted):
    pytest.importorskip("pandas")
    matrix = load_features(boosted)
    frame = matrix.to_pandas()
    assert frame.columns[:4].tolist() == ["image_id", "label", "group", "f0"]
    assert frame.shape == (len(matrix.names), 3 + matrix.X.shape[1])


def test_several_feature_files_side_by_side(boosted, tmp_path):
    with pytest.raises(InputError, match="no feature file in this folder; run bchisto featurize"):
        load_features(tmp_path)
    (path,) = (boosted / "features").glob("*.h5")
    for name in ("a ü.h5", "b.h5"):
        shutil.copy(path, tmp_path / name)
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        file["features"][:] = 2 * file["features"][:]
    X, *others = load_features(tmp_path)
    single, *expected = load_features(path)
    assert_allclose(X, np.hstack([single, 2 * single]), rtol=1e-6)
    for values, those in zip(others, expected, strict=True):
        assert_array_equal(values, those)
    with pytest.raises(InputError, match=r"several feature files: .*a ü\.h5, .*; give one of them"):
        only_store(tmp_path)
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        ids = file["images/image_id"][:]
        file["images/image_id"][:] = ids[::-1]
    with pytest.raises(InputError, match="feature files of different images; give one of them"):
        load_features(tmp_path)


@pytest.mark.parametrize(("unknown", "text"), [(12, "PATIENTS UNKNOWN: no"), (5, "5 of 12 images")])
def test_unknown_patients_are_told(boosted, tmp_path, caplog, unknown, text):
    """Whoever mistypes the column of patients learns it before `GroupKFold` takes images for them."""
    (path,) = (boosted / "features").glob("*.h5")
    shutil.copy(path, tmp_path)
    with h5py.File(tmp_path / path.name, "r+") as file:
        groups = np.array([b""] * unknown + [b"p", b"q"] * 6, object)[:12]
        file["group"][:] = np.repeat(groups, len(file["group"]) // 12)
    matrix = load_features(tmp_path)
    assert matrix.groups[:unknown].tolist() == matrix.names[:unknown].tolist()
    (message,) = caplog.messages
    assert f"{tmp_path}: {text}" in message


def test_features_of_new_images(boosted, tmp_path, caplog):
    """Without labels all images are there, as a pipeline predicts them; of some with labels only these."""
    (path,) = (boosted / "features").glob("*.h5")
    labelled = load_features(boosted)
    new = tmp_path / "new.h5"
    shutil.copy(path, new)
    with h5py.File(new, "r+") as file:
        labels = file["label"][:]
        file["label"][:] = ""
    caplog.clear()
    X, y, groups, names = matrix = load_features(new)
    assert_array_equal(X, labelled.X)
    assert y.tolist() == [""] * 12
    assert y.dtype.kind == labelled.y.dtype.kind
    assert (groups.tolist(), names.tolist()) == (labelled.groups.tolist(), labelled.names.tolist())
    assert repr(matrix) == f"FeatureMatrix(12 x {X.shape[1]}, 0 classes, 12 groups)"
    assert caplog.messages == []
    with h5py.File(new, "r+") as file:
        rows = len(labels) // 12
        file["label"][:rows] = labels[:rows]
    assert load_features(new).names.tolist() == names[:1].tolist()
    assert caplog.messages[0] == f"{new}: 11 of 12 images have no label, and are left out"


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"gone: no such run folder; run bchisto featurize first"):
        load_features(tmp_path / "gone")


def test_the_folds_of_a_run(boosted, tmp_path):
    """As scikit-learn takes them: the rows that train, and those that test."""
    names = load_features(boosted).names
    folder = boosted / "boost" / "3-lightgbm"
    fold_of = {row["image_id"]: int(row["fold"]) for row in rows_of(folder / "predictions.csv")}
    folds = np.array([fold_of[name] for name in names])
    splits = read_splits(folder, names)
    assert len(splits) == 3
    for fold, (train, test) in enumerate(splits, start=1):
        assert test.tolist() == np.flatnonzero(folds == fold).tolist()
        assert train.tolist() == np.flatnonzero(folds != fold).tolist()
    first, second, third, *_ = names
    rows = [f"{first},1,train", f"{second},1,val", f"{third},1,test"]
    (tmp_path / "folds.csv").write_text("\n".join(["image_id,fold,part", *rows]))
    ((train, test),) = read_splits(tmp_path, names)
    assert (train.tolist(), test.tolist()) == ([0], [2])
    with pytest.raises(
        InputError, match=f"{third} is not among these images; give those of its run"
    ):
        read_splits(tmp_path, names[:2])
    with pytest.raises(MissingInputError, match=r"gone/folds\.csv: no such file; give the folder"):
        read_splits(tmp_path / "gone", names)


def test_what_a_notebook_shows_is_short(tissue, boosted, boosted_model):
    """Not every array and record of it."""
    from bchisto.data import ImageSelection
    from bchisto.predict import Predictor

    dataset = ImageSelection(tissue).read()
    assert repr(dataset) == f"Dataset('folder', {str(tissue)!r}, {{'benign': 6, 'malignant': 6}})"
    matrix = load_features(boosted)
    assert repr(matrix) == f"FeatureMatrix(12 x {matrix.X.shape[1]}, 2 classes, 12 groups)"
    predictions = Predictor(boosted_model).predict(sorted(tissue.rglob("*.png"))[:3])
    assert repr(predictions).startswith("Predictions(3 images, {")
    assert len(repr(predictions)) < 80
