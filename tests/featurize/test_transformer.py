"""`ImageFeatures`: images to features as scikit-learn takes transformers."""

import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from bchisto.core import ImageError, InputError, MissingInputError
from bchisto.core.jobs import Ticker
from bchisto.data import ImageRecord, decode_image
from bchisto.featurize import FeaturizeSettings, ImageFeatures, load_features
from bchisto.predict import Predictor
from numpy.testing import assert_allclose, assert_array_equal
from packs import featurize_here
from refusals import refuses


@pytest.fixture(scope="module")
def fixed(tiny_settings):
    """Settings in which nothing is drawn."""
    return replace(tiny_settings, views=("1.0:64", "0.9:48"), crops="grid", color_range=(1, 1))


@pytest.fixture(scope="module")
def files(tissue):
    return sorted(tissue.rglob("*.png"))


def test_features_are_those_of_files(fixed, tissue, tmp_path):
    """Of paths, arrays and pictures, as `featurize` stores them of files; side by side in the same order."""
    from PIL import Image

    featurize_here(tissue, tmp_path / "run", fixed)
    stored = load_features(tmp_path / "run")
    paths = [tissue / name for name in stored.names]
    arrays = [decode_image(path) for path in paths]
    pictures = [Image.open(path) for path in paths]
    transformer = ImageFeatures(fixed)
    for images in (paths, list(map(str, paths)), arrays, np.stack(arrays), pictures):
        features = transformer.fit(images).transform(images)
        assert features.dtype == np.float32
        assert_allclose(features, stored.X, rtol=1e-6)


def test_crops_follow_from_pixels(tiny_settings, boosted_model, files):
    """As in prediction: the same of a file and of its array, whatever its name; and what the models are given."""
    features = ImageFeatures(tiny_settings).transform(files[:3])
    arrays = [decode_image(file) for file in files[:3]]
    assert_array_equal(ImageFeatures(tiny_settings).transform(arrays), features)
    records = [ImageRecord(file.name, file, None) for file in files[:3]]
    model = Predictor(boosted_model)._model
    described = model.describe(records, ticker=Ticker(None), skip_errors=False)
    for row, (_, by_store, *_) in zip(features, described, strict=True):
        ((crops,),) = by_store.values()
        assert_array_equal(row, crops.mean(axis=0))


def test_scikit_learn_takes_it(fixed, files):
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline

    labels = [file.parent.name for file in files]
    arrays = [decode_image(file) for file in files]
    pipeline = make_pipeline(ImageFeatures(fixed), LogisticRegression())
    scores = cross_val_score(pipeline, files, labels, cv=3)
    assert scores.shape == (3,)
    assert_array_equal(cross_val_score(clone(pipeline), arrays, labels, cv=3), scores)
    pipeline.fit(files, labels)
    names = pipeline[:-1].get_feature_names_out()
    assert len(names) == pipeline[-1].n_features_in_ == pipeline[:-1].transform(files[:1]).shape[1]
    assert set(pipeline.predict(arrays[:2])) <= set(labels)
    fewer = replace(fixed, views=("1.0:64",))
    search = GridSearchCV(pipeline, {"imagefeatures__settings": [fixed, fewer]}, cv=2)
    assert search.fit(files, labels).best_params_["imagefeatures__settings"] in (fixed, fewer)
    again = pickle.loads(pickle.dumps(ImageFeatures(fewer, mpp=0.5)))
    assert again.get_params() == {"settings": fewer, "mpp": 0.5}
    with pytest.raises(ValueError, match="foo"):
        again.set_params(foo=1)


def test_data_frames_of_features(fixed, files):
    pandas = pytest.importorskip("pandas")
    transformer = ImageFeatures(fixed).set_output(transform="pandas")
    frame = transformer.fit_transform(pandas.Series(files[:2]))
    assert list(frame) == list(transformer.get_feature_names_out())
    assert_array_equal(frame, ImageFeatures(fixed).transform(files[:2]))
    table = pandas.DataFrame({"file": files[:2], "age": [50, 60]})
    for images in (table[["file"]], table.rename(columns={"file": "path"})):
        assert_array_equal(ImageFeatures(fixed).transform(images), frame)
    with pytest.raises(
        InputError, match="`images`: no column `path` in the data frame; there are file, age"
    ):
        transformer.transform(table)


def test_micrometres_of_arrays(fixed, files):
    """A view in micrometres sees an array at the scale that is given for it."""
    in_micrometres = replace(fixed, views=("0.5um:64",))
    array = decode_image(files[0])
    features = ImageFeatures(in_micrometres, mpp=0.5).transform(array)
    expected = ImageFeatures(replace(fixed, views=("1.0:64",))).transform(array)
    assert_allclose(features, expected, rtol=1e-6)
    with pytest.raises(ImageError, match="array0: its micrometres per pixel are not known"):
        ImageFeatures(in_micrometres).transform(array)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "`images`: there is none"),
        ([3], "^images=3: give a path"),
        (np.zeros((40, 40), np.uint8), r"^array0: an array of uint8 and shape \(40, 40\)"),
        (np.zeros((40, 40, 3), np.uint8), "^array0: 36x36 at scale 0.9 is smaller than the crop"),
    ],
)
def test_what_is_refused(fixed, images, message):
    refuses((InputError, ImageError), message, ImageFeatures(fixed).transform, images)


def test_a_missing_file_is_a_missing_input(fixed):
    with pytest.raises(MissingInputError, match="^gone.png: no such image"):
        ImageFeatures(fixed).transform("gone.png")


def test_two_encoders_of_one_name(tmp_path):
    """Their features would be told apart by nothing."""
    from onnx_files import write_onnx

    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(write_onnx(tmp_path / folder))
    settings = FeaturizeSettings(encoders=paths, views="1.0:64")
    with pytest.raises(InputError, match="two of them are named .*; rename the folder or file"):
        ImageFeatures(settings).transform(np.zeros((64, 64, 3), np.uint8))


def test_scikit_learn_is_loaded_only_for_it():
    code = (
        "import sys, bchisto.featurize as f; assert 'sklearn' not in sys.modules; f.ImageFeatures"
    )
    subprocess.run([sys.executable, "-c", code + "; assert 'sklearn' in sys.modules"], check=True)
