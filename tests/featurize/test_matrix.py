"""`load_features`: the features of a run as scikit-learn and pandas take them."""

import shutil

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.featurize import load_features, open_store


def test_arrays_are_those_of_the_feature_file(boosted):
    (path,) = (boosted / "features").glob("*.h5")
    X, y, groups, names = load_features(boosted)
    with open_store(path) as store:
        assert names.tolist() == store.image_ids
        assert y.tolist() == store.labels
        np.testing.assert_allclose(X, store.features().mean(axis=1))
        known = [group or name for group, name in zip(store.groups, store.image_ids, strict=True)]
    assert groups.tolist() == known
    for first, second in zip(load_features(path), (X, y, groups, names), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_data_frame_has_a_row_for_each_image(boosted):
    pytest.importorskip("pandas")
    matrix = load_features(boosted)
    frame = matrix.to_pandas()
    assert frame.columns[:4].tolist() == ["image_id", "label", "group", "f0"]
    assert frame.shape == (len(matrix.names), 3 + matrix.X.shape[1])


def test_one_feature_file_is_needed(boosted, tmp_path):
    with pytest.raises(InputError, match="no feature file in this folder; run bchisto featurize"):
        load_features(tmp_path)
    (path,) = (boosted / "features").glob("*.h5")
    for name in ("a ü.h5", "b.h5"):
        shutil.copy(path, tmp_path / name)
    with pytest.raises(InputError, match=r"several feature files: .*a ü\.h5, .*; give one of them"):
        load_features(tmp_path)


def test_what_a_notebook_shows_is_short(tissue, boosted):
    """Not every array and record of it."""
    from bchisto.data import ImageSelection
    from bchisto.predict import Predictor

    dataset = ImageSelection(tissue).read()
    assert repr(dataset) == f"Dataset('folder', {str(tissue)!r}, {{'benign': 6, 'malignant': 6}})"
    matrix = load_features(boosted)
    assert repr(matrix) == f"FeatureMatrix(12 x {matrix.X.shape[1]}, 2 classes, 12 groups)"
    predictions = Predictor(boosted).predict(sorted(tissue.rglob("*.png"))[:3])
    assert repr(predictions).startswith("Predictions(3 images, {")
    assert len(repr(predictions)) < 80
